"""A disk that is full is so for all that is on it: the daemon's state, temporary files, the engine's containers."""

from pathlib import Path

from netns_labs import require_netns

import lab

WRITES = "dd if=/dev/zero of=/tmp/filler bs=4k count=64"
HEAD = {
    "version": 1,
    "underlay": {"hosts": {"a": {}, "b": {}}},
    "services": {"web": {"image": "ksahnine/dummy-http", "args": ["web"], "replicas": 2}},
}
BEGIN = [{"launch": "all"}, {"connect": "all"}, {"run": "all"}, {"expect": {"reachable": "all", "within": "60s"}}]


def on(host: str, command: str, *, code: int = 0, **expect: object) -> dict[str, object]:
    return {"exec": {"host": host, "command": command, "expect": {"code": code, **expect}}}


def played(name: str, steps: list[object], tmp_path: Path, **more: object) -> lab.PlayedRun:
    require_netns()
    run = lab.play({"name": name, **HEAD, **more, "timeline": [*BEGIN, *steps]}, out=tmp_path)
    assert run.verdict == "valid", run.reason
    return run


def test_everything_on_it_gets_enospc_and_what_is_there_goes_on(tmp_path: Path) -> None:
    engine = "docker create --name new ksahnine/dummy-http 2>&1"
    steps = [
        {"slow_disk": {"host": "a", "full": True, "latency": "0s"}},
        on("a", f"! {WRITES} 2>&1", stdout="No space left"),
        on("a", f"rm /tmp/filler; until ! {WRITES} 2>/dev/null; do rm /tmp/filler; done"),  # what is freed is filled
        on("a", engine, code=1, stdout="no space left on device"),
        on("a", "weave run ksahnine/dummy-http 2>&1", code=1, stdout="space|full"),
        on("a", "weave status", stdout="is full"),
        on("b", WRITES),
        {"expect": {"reachable": "all", "within": "60s"}},
        {"slow_disk": {"host": "b", "full": True, "latency": "0s"}, "for": "1s"},
        {"kill": {"host": "b"}, "for": "2s"},
        {"wait": "3s"},
        on("b", f"until {WRITES}; do sleep 0.1; done 2>/dev/null"),
        {"expect": {"converged": "all", "within": "60s"}},
    ]
    run = played("full", steps, tmp_path)
    assert "slow_disk a full" in {one.detail.get("label") for one in run.events}
    assert "/lab/h/" not in Path("/proc/self/mountinfo").read_text(), "nothing is mounted on the machine"


def test_a_host_boots_while_its_disk_is_full_and_starts_its_containers_when_it_has_room(tmp_path: Path) -> None:
    steps = [
        {"slow_disk": {"host": "a", "full": True, "latency": "0s"}, "for": "4s"},
        {"kill": {"host": "a"}, "for": "1s"},
        {"wait": "2s"},
        on("a", f"! {WRITES} 2>&1", stdout="No space left"),
        {"wait": "3s"},
        on("a", f"until {WRITES}; do sleep 0.1; done 2>/dev/null"),
        {"expect": {"reachable": "all", "within": "60s"}},
    ]
    played("boots", steps, tmp_path)

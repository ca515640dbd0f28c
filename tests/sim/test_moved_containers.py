"""The step `move`: a container is on another host afterwards, with its address, and is reached there."""

from pathlib import Path
from typing import Any

import lab

TIMELINE: list[dict[str, Any]] = [
    {"launch": "all"},
    {"connect": "all"},
    {"run": "all"},
    {"expect": {"reachable": "all", "within": "10s"}},
    {"move": {"service": "mobile", "to": "c"}},
    {"expect": {"reachable": "all", "within": "10s", "for": "1s"}},
]


def moved(tmp_path: Path, **more: Any) -> lab.PlayedRun:
    image = {"image": "ksahnine/dummy-http", "args": ["x"]}
    scenario = {
        "version": 1,
        "name": "moved",
        "underlay": {"hosts": {"a": {}, "b": {}, "c": {}}},
        "services": {
            "asker": {**image, "host": "a", "address": "10.32.1.1/24"},
            "mobile": {**image, "host": "b", "address": "10.32.1.2/24"},
        },
        "probes": [{"kind": "icmp", "every": "100ms"}],
        "timeline": TIMELINE,
    } | more
    return lab.play(scenario, backend="sim", out=tmp_path)


def test_a_container_moves_with_its_address(tmp_path: Path) -> None:
    run = moved(tmp_path)
    assert run.verdict == "valid", run.reason
    (after,) = (event.detail for event in run.events if event.what == "move" and event.phase == "end")
    assert after["replicas"] == {"asker": "a", "mobile": "c"}
    assert after["addresses"]["mobile"] == "10.32.1.2"


def test_what_cannot_move_is_told(tmp_path: Path) -> None:
    again = moved(tmp_path, timeline=[*TIMELINE[:4], {"move": {"service": "mobile", "to": "b"}}])
    assert again.verdict == "invalid" and "move mobile: it is on b already" in again.reason


def test_a_container_stays_if_no_daemon_runs_where_it_is_to_go(tmp_path: Path) -> None:
    run = moved(tmp_path, timeline=[*TIMELINE[:4], {"kill": {"daemon": "c"}}, TIMELINE[4]])
    assert run.verdict == "invalid" and "move mobile: found no daemon on c, expected one" in run.reason
    assert not [event for event in run.events if event.what == "remove"]
    last = max(sample.t for sample in run.samples)
    assert {s.ok for s in run.samples if s.target == "mobile" and s.t > last - 10**9} == {True}


def test_a_container_that_cannot_start_elsewhere_is_put_back(tmp_path: Path) -> None:
    taken = {"exec": {"host": "c", "command": ["weave", "run", "--name", "mobile", "ksahnine/dummy-http", "x"]}}
    run = moved(tmp_path, timeline=[*TIMELINE[:4], taken, TIMELINE[4]])
    assert run.verdict == "invalid" and run.reason.endswith("it is on b again"), run.reason
    last = max(sample.t for sample in run.samples)
    assert {s.ok for s in run.samples if s.target == "mobile" and s.t > last - 2 * 10**8} == {True}


def test_a_step_that_fails_says_which_containers_it_has_started(tmp_path: Path) -> None:
    taken = {"exec": {"host": "c", "command": ["weave", "run", "--name", "mobile-3", "ksahnine/dummy-http", "x"]}}
    service = {"image": "ksahnine/dummy-http", "args": ["x"], "hosts": ["a", "b", "c"], "replicas": 2}
    steps = [*TIMELINE[:3], taken, {"scale": {"service": "mobile", "to": 5}}]
    run = moved(tmp_path, services={"mobile": service}, timeline=steps)
    assert run.verdict == "invalid" and run.reason.endswith("; started before that: mobile-4, mobile-5")

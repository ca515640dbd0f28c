"""The condition `status`: a driver whose overlay claims what is not true, or leaves processes behind, is judged so."""

import asyncio
from pathlib import Path

import pytest
from netns_labs import in_lab, require_netns, scenario

from lab.api.play import play
from lab.api.played import PlayedRun
from lab.backends.netns.backend import NetnsLab
from lab.driven.leftovers import launch_mark, started_since

SHELL = Path(__file__).resolve().parents[1] / "support" / "shell_overlay.sh"


def _played(folder: Path, text: str, *steps: object) -> PlayedRun:
    program = folder / "theirs.sh"
    program.write_text(text)
    program.chmod(0o755)
    return play(
        {
            "version": 1,
            "name": "claims",
            "overlay": {"kind": "exec", "options": {"command": str(program)}},
            "underlay": {"hosts": {"host1": {}, "host2": {}}},
            "timeline": [{"launch": "all"}, *steps],
        },
        backend="netns",
        out=folder / "runs",
    )


def _failure(run: PlayedRun) -> str:
    """Its failed expectation."""
    (found,) = [check for check in run.checks if check.checker == "expectations"]
    assert found.verdict == run.verdict == "invalid", run.reason
    return str(found.findings)


def test_claims_that_are_not_true_fail(tmp_path: Path) -> None:
    require_netns()
    text = SHELL.read_text()
    daemon = text.replace('"daemon":false', '"daemon":true')
    leaves = daemon.replace("launch() {", "launch() {\n    setsid sleep 1000000 >/dev/null 2>&1 </dev/null &", 1)
    lies = leaves.replace("""answer ',"running":true'""", """answer ',"running":true,"peers":["host2","x"]'""")
    assert text != daemon != leaves != lies != text
    status = {"expect": {"status": "all", "within": "1s"}}
    said = _failure(_played(tmp_path, lies, status))
    assert "host1: it names the peer 'host2', to which the lab has not connected it" in said
    assert "it names the peer 'x'" in said
    said = _failure(_played(tmp_path, leaves, {"kill": {"daemon": "host1", "farewell": True}}, status))
    assert "host1: stopped, but its processes still run: sleep (pid" in said


def test_claims_that_are_true_pass(tmp_path: Path) -> None:
    require_netns()
    status = {"expect": {"status": "all", "within": "60s"}}
    text = SHELL.read_text().replace('"daemon":false', '"daemon":true')
    stop = {"kill": {"daemon": "host1", "farewell": True}}
    run = _played(tmp_path, text, status, {"connect": "all"}, status, stop, status, {"restart": {"daemon": "host1"}})
    assert [one.verdict for one in run.checks if one.checker == "expectations"] == ["valid"], run.reason


@pytest.mark.parametrize("disguise", ["agent", "lab-engine"])
def test_no_name_hides_a_process(disguise: str) -> None:
    require_netns()

    async def check(lab: NetnsLab) -> None:
        host = lab.hosts["h1"]
        await host.exec(["sh", "-c", "setsid sleep 1000000 >/dev/null 2>&1 </dev/null &"])
        mark = await launch_mark(host)
        while await launch_mark(host) == mark:  # noqa: ASYNC110  # until the kernel's clock has ticked
            await asyncio.sleep(0.01)
        assert mark is not None and await started_since(host, mark) == ()
        copy = f"cp /bin/sleep /root/{disguise}; LAB_DIRECTORY=/ setsid /root/{disguise} 1000000 >/dev/null 2>&1 &"
        await host.exec(["sh", "-c", copy])
        async with asyncio.timeout(60):
            while not (found := await started_since(host, mark)):  # noqa: ASYNC110  # it starts by itself
                await asyncio.sleep(0.05)
        assert found[0].startswith(f"{disguise} (pid ")

    in_lab(scenario(1), check, name="test-leftovers", within=240)

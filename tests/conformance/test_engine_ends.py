"""The end of a host's container engine, in the simulator and on real packets: who notices what, and what is back."""

from pathlib import Path

import pytest
from both_backends import BACKENDS, Played, played

from lab.backends.simulated.host import SimHost
from lab.errors import LabError
from lab.kinds.backends import backend
from lab.records.history import Event, View
from lab.scenario.load import parse
from lab.scenario.resolve import resolve

SCENARIO = """
version: 1
underlay: {hosts: {a: {}, b: {}}}
services:
  one: {image: ksahnine/dummy-http, args: [one], host: a, address: 10.0.1.1/24}
  web: {image: ksahnine/dummy-http, args: [web], hosts: [a, b], replicas: 2}
probes:
  - {kind: http}
  - {kind: dns, name: web.weave.local}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {converged: all, within: 90s}
"""
BACK = """
  - expect: {converged: all, within: 90s}
  - expect: {reachable: all, dns: {name: web.weave.local, answers: 2}, within: 90s}
"""


def valid(steps: str, name: str, tmp_path: Path) -> Played:
    run = played(SCENARIO + steps.lstrip("\n") + BACK.lstrip("\n"), name, tmp_path)
    assert run.verdict == "valid", run.reason
    return run


def named(event: Event) -> set[str]:
    return set(event.detail["replicas"])


@pytest.mark.parametrize("name", BACKENDS)
def test_the_overlay_goes_on_and_containers_are_back_with_their_engine(name: str, tmp_path: Path) -> None:
    run = valid("  - kill: {engine: a, for: 1s}\n  - wait: 1s\n", name, tmp_path)
    (begun,), (ended,) = run.events("kill", "start"), run.events("kill", "end")
    assert named(begun) == {"web-2"}, "nothing is demanded of containers without an engine"
    assert named(ended) == {"one", "web-1", "web-2"}
    addresses = run.events("run", "end")[0].detail["addresses"]
    assert ended.detail["addresses"] == addresses, "each has the address that it had"
    views = [one for one in run.records if isinstance(one, View) and begun.t < one.t < ended.t]
    assert all(one.neighbours for one in views if one.host == "b"), "the peers stay connected"


@pytest.mark.parametrize("name", BACKENDS)
def test_an_engine_that_runs_is_restarted(name: str, tmp_path: Path) -> None:
    steps = "  - restart: {engine: a}\n  - kill: {engine: b}\n  - restart: {engine: b}\n"
    run = valid(steps, name, tmp_path)
    assert [len(named(one)) for one in run.events("restart", "end")] == [3, 3]


def test_with_live_restore_nothing_stops(tmp_path: Path) -> None:
    """In the simulator; `tests/system/test_dind_engine_ends.py` asks a Docker Engine."""
    steps = "  - kill: {engine: a, live_restore: true, for: 5s}\n  - expect: {reachable: all, within: 3s, for: 4s}\n"
    run = valid(steps, "sim", tmp_path)
    assert named(run.events("kill", "start")[0]) == {"one", "web-1", "web-2"}


def test_what_needs_the_engine_fails_without_it_and_says_so(tmp_path: Path) -> None:
    steps = "  - kill: {engine: a}\n  - scale: {service: one, to: 2}\n"
    run = played(SCENARIO + steps, "sim", tmp_path)
    assert run.verdict == "invalid" and "the container engine does not answer" in run.reason


def test_live_restore_is_refused_where_containers_end_with_their_engine() -> None:
    steps = "  - kill: {engine: a, live_restore: true}\n  - restart: {engine: a, live_restore: true}\n"
    reasons = backend("netns").refuse(resolve(parse(SCENARIO + steps)))
    assert [reason.partition(":")[0] for reason in reasons] == ["timeline[4].kill", "timeline[5].restart"]
    assert "use dind or sim" in reasons[0]


def test_a_pause_and_an_engine_that_is_back_while_its_host_is_off_leave_nothing_behind(tmp_path: Path) -> None:
    """A container that is paused, without engine and without power in turn runs at the end, and gets turns."""
    steps = """
  - kill: {engine: a, for: 1s}
  - kill: {host: a, for: 3s}
  - wait: 4s
  - pause: {service: one, for: 1s}
  - wait: 2s
"""
    run = valid(steps, "sim", tmp_path)
    assert named(run.events("pause", "end")[0]) == {"one", "web-1", "web-2"}


def test_an_engine_that_cannot_start_is_started_when_another_fault_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that is full."""
    start, full = SimHost.start_engine, [True]

    async def fails_first(host: SimHost, *, live_restore: bool) -> None:
        if full.pop():
            full.append(False)
            raise LabError("no space left on device")
        full.append(False)
        await start(host, live_restore=live_restore)

    monkeypatch.setattr(SimHost, "start_engine", fails_first)
    steps = "  - slow_disk: {host: a, latency: 1ms, for: 3s}\n  - kill: {engine: a, for: 1s}\n  - wait: 4s\n"
    run = valid(steps, "sim", tmp_path)
    (ended,) = run.events("kill", "end")
    assert ended.detail["waiting"] == {"a": "no space left on device"} and named(ended) == {"web-2"}

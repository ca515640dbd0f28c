"""What `lab explore` has found in the lab itself: each stays a scenario that must be valid."""

from pathlib import Path

import pytest

from lab.records.history import Event
from lab.sweep.play import Task, play_recorded

HOSTS = "version: 1\nunderlay: {hosts: {a: {}, b: {}, c: {}}}\n"
SERVICE = "services: {web: {image: ksahnine/dummy-http, args: [web], host: b}}\n"


def played(text: str) -> tuple[str, str, list[Event]]:
    point, records = play_recorded(
        Task(key="", assignment=(), seed=1, backend="sim", text=text, file="found.yaml", question="", replay="",
             folder=str(Path()))
    )  # fmt: skip
    return point.verdict, point.reason, [record for record in records if isinstance(record, Event)]


def test_hosts_that_join_later_are_not_awaited_before() -> None:
    """The start of a `launch` does not say yet which hosts it is about: it counted as one of all of them."""
    verdict, reason, _ = played(
        HOSTS
        + """\
timeline:
  - launch: [a, b]
  - connect: {from: a, to: b}
  - expect: {converged: all, within: 10s}
  - launch: [c]
  - connect: {from: c, to: a}
  - expect: {converged: all, within: 10s}
"""
    )
    assert verdict == "valid", reason


def test_a_restart_brings_back_what_it_names_only() -> None:
    """The same with `restart`: one of a took c for running again, which nobody had started."""
    verdict, reason, _ = played(
        HOSTS
        + """\
timeline:
  - launch: all
  - connect: all
  - expect: {converged: all, within: 10s}
  - kill: {daemon: a}
  - kill: {daemon: c}
  - wait: 8s
  - restart: {daemon: a}
  - expect: {converged: all, within: 20s}
"""
    )
    assert verdict == "valid", reason


@pytest.mark.parametrize("victim", ["host", "daemon"])
def test_a_pause_ends_in_time_though_a_step_waits_for_its_host(victim: str) -> None:
    """A container that is started on a paused host waits; the end of the pause waited for the container in turn."""
    verdict, reason, events = played(
        HOSTS
        + SERVICE
        + f"""\
timeline:
  - launch: all
  - connect: all
  - expect: {{converged: all, within: 10s}}
  - pause: {{{victim}: b, for: 9s}}
  - run: all
  - expect: {{converged: all, within: 20s}}
"""
    )
    assert verdict == "valid", reason
    start, end = (next(event.t for event in events if event.what == "pause" and event.phase == phase)
                  for phase in ("start", "end"))  # fmt: skip
    assert end - start == 9_000_000_000


def test_beliefs_of_a_paused_peer_are_not_compared() -> None:
    """A minute without any change is not enough for a peer that gets no turns."""
    verdict, reason, _ = played(
        HOSTS
        + """\
timeline:
  - launch: all
  - connect: all
  - expect: {converged: all, within: 10s}
  - pause: {daemon: b, for: 80s}
  - wait: 80s
  - expect: {converged: all, within: 20s}
"""
    )
    assert verdict == "valid", reason


def test_a_name_that_is_asked_for_while_the_disk_is_busy_is_answered_later() -> None:
    """The answer waits for a write before it. It was taken for a refusal, for as long as no name changed."""
    verdict, reason, _ = played(
        HOSTS
        + SERVICE
        + """\
probes: [{kind: dns, name: web.weave.local, from: all, every: 100ms, timeout: 2s}]
timeline:
  - launch: all
  - connect: all
  - expect: {converged: all, within: 10s}
  - slow_disk: {host: b, latency: 900ms, for: 20s}
  - run: all
  - wait: 22s
  - expect: {converged: all, within: 10s}
"""
    )
    assert verdict == "valid", reason

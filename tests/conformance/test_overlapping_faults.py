"""Faults that overlap: each heals on its own time, and what cannot be healed then is healed when its victim is back.

Every scenario is played in the simulator and on real packets, which must come to the same.
"""

from pathlib import Path

import pytest
from both_backends import BACKENDS, played

HEAD = """
version: 1
underlay: {hosts: {a: {}, b: {}, c: {}}}
services:
  one: {image: ksahnine/dummy-http, args: [one], host: a, address: 10.0.1.1/24}
  two: {image: ksahnine/dummy-http, args: [two], host: b, address: 10.0.1.2/24}
  web: {image: ksahnine/dummy-http, args: [web], hosts: [b, c], replicas: 2}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {converged: all, within: 90s}
"""
TAIL = "  - expect: {converged: all, within: 90s}\n  - expect: {reachable: all, within: 90s}\n"
SCHEDULES = {
    # The host's end is behind the daemon's; then the other way round.
    "a daemon and its host": """
  - kill: {daemon: b, for: 600ms}
  - kill: {host: b, for: 1200ms}
  - kill: {daemon: b, for: 1800ms}
""",
    "a host twice, and both ends of one kill within the other": """
  - kill: {host: b, for: 1500ms}
  - kill: {host: b, for: 500ms}
  - kill: {host: b, for: 1s}
""",
    "a service, its daemon and its host": """
  - kill: {service: two, for: 400ms}
  - kill: {service: web, for: 2s}
  - kill: {service: web-1, for: 300ms}
  - kill: {daemon: b, for: 1s}
  - wait: 500ms
  - kill: {host: b, for: 800ms}
  - kill: {service: two, for: 1200ms}
""",
    "obstacles and partitions on the way to a host that is off": """
  - mtu: {to: 1400, for: 600ms}
  - block: {udp: 6784, for: 700ms}
  - kill: {host: b, for: 1200ms}
  - mtu: {to: 1300, for: 300ms}
  - mtu: {to: 1200, hosts: [a, b], for: 2s}
  - partition: {isolate: b, for: 800ms}
""",
    "churn of hosts and of daemons with kills of the same": """
  - churn: {every: 400ms, kind: fixed, target: host, downtime: 600ms, hosts: [b, c], keep: 0, for: 2s}
  - churn: {every: 300ms, kind: fixed, hosts: [b, c], keep: 0, for: 2s}
  - wait: 300ms
  - kill: {host: b, for: 900ms}
  - kill: {service: web, for: 600ms}
""",
    "an engine, its host, its daemon and a container": """
  - kill: {engine: b, for: 1500ms}
  - kill: {engine: b, for: 500ms}
  - kill: {daemon: b, for: 1s}
  - wait: 200ms
  - kill: {host: b, for: 600ms}
  - pause: {service: one, for: 900ms}
  - kill: {engine: a, for: 400ms}
""",
    "what was removed and restarted meanwhile": """
  - kill: {host: b}
  - scale: {service: web, to: 0}
  - restart: {daemon: b}
  - kill: {service: two}
  - restart: {host: b}
  - scale: {service: web, to: 2}
  - restart: {service: two}
""",
}


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("what", SCHEDULES)
def test_each_heals_on_its_own_time(what: str, name: str, tmp_path: Path) -> None:
    run = played(HEAD + SCHEDULES[what].lstrip("\n") + TAIL, name, tmp_path)
    assert run.verdict == "valid", run.reason
    begun = [one for verb in ("kill", "mtu", "block", "partition", "churn") for one in run.events(verb, "start")]
    ended = {one.step for verb in ("kill", "mtu", "block", "partition", "churn") for one in run.events(verb, "end")}
    assert begun and (ended == {one.step for one in begun} or run.events("restart", "end"))


def test_what_a_fault_still_holds_stays_down(tmp_path: Path) -> None:
    """The end of one kill says nothing about what another one keeps down."""
    steps = "  - kill: {host: b, for: 2s}\n  - kill: {host: b, for: 500ms}\n  - kill: {daemon: b, for: 3s}\n"
    run = played(HEAD + steps + TAIL, "sim", tmp_path)
    first, second, third = run.events("kill", "end")
    assert (first.detail["hosts"], first.groups) == ([], (("a", "c"),))
    assert (second.detail["hosts"], second.groups) == ([], (("a", "b", "c"),)), "the host is back, its daemon is not"
    assert "two" not in second.detail["replicas"], "a container without its daemon would not be on the overlay"
    assert third.detail["hosts"] == ["b"] and third.detail["replicas"]["two"] == "b"
    assert third.t - first.t >= 2_500_000_000


def test_the_disturbances_of_one_device_overlap(tmp_path: Path) -> None:
    """Disks and clocks, also of a host that is off. Only the simulator can disturb them for one host."""
    steps = """
  - slow_disk: {host: b, latency: 900ms, for: 1s}
  - slow_disk: {host: b, full: true, for: 2s}
  - clock: {host: b, offset: 5s, drift_ppm: 500, for: 1s}
  - kill: {host: b, for: 1500ms}
  - clock: {host: b, offset: 9s, drift_ppm: -500, for: 3s}
  - slow_disk: {host: b, latency: 20ms, for: 4s}
""".lstrip("\n")
    run = played(HEAD + steps + TAIL, "sim", tmp_path)
    assert run.verdict == "valid", run.reason


@pytest.mark.parametrize("victim", ["daemon: b", "host: b", "service: two"])
def test_nothing_is_restarted_that_runs_and_nothing_killed_that_is_not_there(victim: str, tmp_path: Path) -> None:
    if not victim.startswith("service"):
        run = played(HEAD + f"  - restart: {{{victim}}}\n", "sim", tmp_path)
        assert run.verdict == "invalid" and "is running already" in run.reason
        return
    run = played(HEAD + f"  - remove: two\n  - kill: {{{victim}}}\n", "sim", tmp_path)
    assert run.verdict == "invalid" and "there is no container of two" in run.reason

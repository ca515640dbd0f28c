"""Links that change, follow a file or lose their carrier while a simulated lab runs: what probes see."""

import io
from itertools import pairwise
from pathlib import Path

import pytest

from lab.backends.simulated.backend import SimBackend
from lab.links import Link, Links, QueueLimit
from lab.links.changes import LinkChange
from lab.records.history import AnyRecord, Event, Sample, Writer, decode
from lab.runner.runner import Runner
from lab.scenario.load import load_resolved
from lab.sim.world import World
from overlay.config import Address
from overlay.env import MILLISECOND as MS
from overlay.env import SECOND

HEAD = """
version: 1
underlay: {hosts: {a: {}, b: {}, c: {}}, links: {default: {delay: 5ms}}}
services:
  one: {image: ksahnine/dummy-http, args: [one], host: a}
  two: {image: ksahnine/dummy-http, args: [two], host: b}
  three: {image: ksahnine/dummy-http, args: [three], host: c}
probes: [{kind: icmp, every: 50ms, timeout: 900ms}]
timeline:
  - launch: all
  - connect: all
  - run: {services: all, ipam: true}
  - expect: {converged: all, within: 20s}
"""


def played(tmp_path: Path, steps: str, head: str = HEAD) -> list[AnyRecord]:
    file = tmp_path / "scenario.yaml"
    file.write_text(head + steps)
    scenario = load_resolved(file, 1)
    backend, history = SimBackend(), io.BytesIO()
    outcome = backend.run(Runner(scenario, backend, Writer(history)).run())
    assert (outcome.verdict, outcome.reason) == ("valid", "")
    return [decode(line) for line in history.getvalue().splitlines()]


def spans(records: list[AnyRecord], what: str) -> list[tuple[int, int]]:
    """(start, end) of the faults of a verb, in order of their steps."""
    events = [one for one in records if isinstance(one, Event) and one.what == what]
    return [
        (one.t, next(other.t for other in events if other.step == one.step and other.phase == "end"))
        for one in events
        if one.phase == "start"
    ]


def tries(records: list[AnyRecord], source: str, target: str, start: int, end: int) -> list[Sample]:
    """From 50 ms after `start`, and over before `end`."""
    found = (one for one in records if isinstance(one, Sample) and (one.source, one.target) == (source, target))
    return [one for one in found if start + 50 * MS <= one.t < end - 900 * MS]


def latencies(found: list[Sample]) -> list[float]:
    """Of those that succeeded, in milliseconds."""
    assert found
    return [one.latency / MS for one in found if one.latency is not None]


def test_a_link_changes_and_is_as_before(tmp_path: Path) -> None:
    steps = """
  - link: {from: a, to: b, delay: 40ms, jitter: 10ms, for: 10s}
  - wait: 10s
  - wait: 3s
"""
    records = played(tmp_path, steps)
    ((start, end),) = spans(records, "link")
    for source, target in (("one", "two"), ("two", "one")):
        found = latencies(tries(records, source, target, start, end))
        assert min(found) > 34 and max(found) < 57 and max(found) - min(found) > 15, "one of two directions"
        after = latencies(tries(records, source, target, end, end + 3 * SECOND))
        assert max(after) < 12 and max(latencies(tries(records, "one", "three", start, end))) < 12


def test_several_changes_hold_parameter_by_parameter(tmp_path: Path) -> None:
    steps = """
  - link: {from: a, to: b, delay: 60ms, loss: 100%}
  - link: {from: a, to: b, loss: 0%, for: 6s}
  - link: {from: a, to: b, delay: 20ms, for: 3s}
  - wait: 3s
  - wait: 3s
  - wait: 3s
  - heal: all
  - wait: 3s
  - expect: {converged: all, within: 30s}
"""
    records = played(tmp_path, steps)
    (first, _), (start, _), _ = spans(records, "link")
    healed = next(one.t for one in records if isinstance(one, Event) and one.what == "heal" and one.phase == "end")
    assert first <= start
    assert min(latencies(tries(records, "one", "two", start, start + 3 * SECOND))) > 24
    assert max(latencies(tries(records, "one", "two", start, start + 3 * SECOND))) < 32
    assert min(latencies(tries(records, "one", "two", start + 3 * SECOND, start + 6 * SECOND))) > 64
    assert not any(one.ok for one in tries(records, "one", "two", start + 6 * SECOND, healed))
    assert all(one.ok for one in tries(records, "one", "two", healed + SECOND, healed + 3 * SECOND))


def test_loss_in_bursts_is_what_was_asked(tmp_path: Path) -> None:
    steps = """
  - link: {from: a, to: b, burst: {enter: 5%, leave: 20%}, for: 60s}
  - wait: 60s
  - expect: {converged: all, within: 60s}
"""
    records = played(tmp_path, steps)
    ((start, end),) = spans(records, "link")
    found = tries(records, "one", "two", start, end)
    assert sum(not one.ok for one in found) / len(found) == pytest.approx(0.2, abs=0.07)


def test_connections_break_on_a_link_that_loses_all_and_come_back(tmp_path: Path) -> None:
    steps = """
  - link: {from: a, both: true, loss: 100%, for: 30s}
  - wait: 29s
  - exec: {host: a, command: weave status connections, expect: {stdout: '^(?!.*established)'}}
  - wait: 1s
  - expect: {converged: all, within: 30s}
"""
    records = played(tmp_path, steps)
    ((start, end),) = spans(records, "link")
    assert not any(one.ok for one in tries(records, "one", "two", start, end))


def test_a_link_follows_columns_and_begins_again(tmp_path: Path) -> None:
    (tmp_path / "day.csv").write_text("time,delay\n0,10ms\n2,50ms\n4s,100ms\n")
    steps = """
  - trace: {file: day.csv, from: a, to: b, loop: true, for: 12s}
  - wait: 12s
  - wait: 2s
"""
    records = played(tmp_path, steps)
    ((start, end),) = spans(records, "trace")
    for begun, delay in ((0, 10), (2, 50), (4, 100), (6, 10), (8, 50), (10, 100)):
        found = latencies(tries(records, "one", "two", start + begun * SECOND, start + (begun + 2) * SECOND))
        assert all(delay + 5 <= each < delay + 7 for each in found), (begun, found)
    assert max(latencies(tries(records, "one", "two", end, end + 2 * SECOND))) < 12


def test_a_link_carries_what_a_mahimahi_trace_lets_it(tmp_path: Path) -> None:
    (tmp_path / "cell.trace").write_text("100\n250\n")
    steps = """
  - trace: {file: cell.trace, from: a, to: b, for: 10s}
  - wait: 10s
  - expect: {converged: all, within: 30s}
"""
    records = played(tmp_path, steps)
    ((start, end),) = spans(records, "trace")
    arrived = {
        (one.t + one.latency - start) // MS % 250
        for one in tries(records, "one", "two", start, end)
        if one.latency is not None
    }
    # Out at an opportunity, 100 or 250 ms into each period, and 10 ms under way there and back.
    assert arrived == {10, 110}


@pytest.mark.parametrize("body", ["host: b", "between: [a, b]"])
def test_a_flap_is_down_and_up_with_its_period(tmp_path: Path, body: str) -> None:
    steps = f"""
  - flap: {{{body}, every: 5s, down: 1s, for: 15s}}
  - wait: 15s
  - wait: 1s
  - expect: {{converged: all, within: 30s}}
"""
    records = played(tmp_path, steps)
    ((start, _),) = spans(records, "flap")
    probed = [one for one in records if isinstance(one, Sample)]
    seen = [one for one in probed if (one.source, one.target) == ("one", "two")]
    for turn in range(3):
        down = start + turn * 5 * SECOND
        assert not any(one.ok for one in seen if down <= one.t < down + SECOND - 10 * MS)
        back = [one for one in seen if down + 2 * SECOND <= one.t < down + 5 * SECOND - 10 * MS]
        # The try that is under way when the overlay takes the direct way again may be lost.
        assert len(back) > 50 and sum(not one.ok for one in back) <= 1
    other = [one for one in probed if (one.source, one.target) == ("one", "three") and one.t >= start]
    assert other and all(one.ok for one in other)


ROUTED = """
version: 1
underlay:
  networks: {home: {subnet: 10.1.0.0/24}, wan: {subnet: 192.168.0.0/24}}
  hosts: {a: {network: home}, b: {network: wan}, c: {networks: {home: null, wan: null}}}
  routers: {gw: {networks: [home, wan]}}
services:
  one: {image: ksahnine/dummy-http, args: [one], host: a}
  two: {image: ksahnine/dummy-http, args: [two], host: b}
  three: {image: ksahnine/dummy-http, args: [three], host: c}
probes: [{kind: icmp, every: 50ms, timeout: 900ms}]
timeline:
  - launch: all
  - connect: all
  - run: {services: all, ipam: true}
  - expect: {converged: all, within: 30s}
"""


def test_links_and_flaps_hold_over_routers(tmp_path: Path) -> None:
    steps = """
  - link: {from: a, to: b, delay: 70ms, for: 5s}
  - wait: 5s
  - flap: {host: c, network: home, for: 20s}
  - wait: 20s
  - expect: {converged: all, within: 40s}
"""
    records = played(tmp_path, steps, ROUTED)
    ((start, end),) = spans(records, "link")
    assert min(latencies(tries(records, "one", "two", start, end))) > 70
    ((start, end),) = spans(records, "flap")
    # Its other cable is in: b is in the same network there, a has its way over the router.
    assert all(one.ok for one in tries(records, "two", "three", start + 18 * SECOND, end + SECOND))


def test_a_cable_that_several_pull_is_in_when_none_does() -> None:
    world = World(1, Links())
    for name in ("a", "b"):
        world.add(name, f"192.168.0.{ord(name)}")
    network = world.network

    def passes() -> bool:
        return network.reached("a", "udp", Address("192.168.0.98", 1)) is not None

    plug = frozenset({("b", "lan")})
    network.unplug(1, plug)
    network.unplug(2, plug)
    network.set_cut(frozenset())
    assert not passes()
    network.unplug(1, frozenset())
    assert not passes()
    network.unplug(2, frozenset())
    assert passes()


def test_a_way_that_was_used_before_takes_a_change_and_its_end() -> None:
    world = World(1, Links(Link(delay=5 * MS)))
    for name in ("a", "b"):
        world.add(name, f"192.168.0.{ord(name)}")
    way = world.network.way("a", "b")
    assert way.plain
    world.network.change_links(
        1, LinkChange((("a", "b"),), {"rate": 8_000, "queue": QueueLimit(bytes=3000), "mtu": 1000})
    )
    assert not way.plain and way.limit == 1000
    assert [len(way.arrivals(0, 1000)) for _ in range(5)] == [1, 1, 1, 0, 0]
    assert way.arrivals(0, 1001) == []
    world.network.change_links(1, None)
    assert not way.plain, "what waits must not be overtaken"
    times = [way.arrivals(number * SECOND, 100)[0] for number in range(6)]
    assert all(one <= other for one, other in pairwise(times)) and times[-1] == 5 * SECOND + way.delay

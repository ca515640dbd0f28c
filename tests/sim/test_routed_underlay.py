"""A topology on simulated hosts: delays of paths, a bottleneck that is shared, cables that break, a real backbone."""

import io
from pathlib import Path

import networkx
import pytest

from lab.backends.simulated.backend import SimBackend
from lab.checkers.run import RecordedRun
from lab.figures.underlay import underlay
from lab.records.history import AnyRecord, Event, Sample, Writer, decode
from lab.runner.runner import Runner
from lab.scenario.load import ScenarioError, load_resolved
from overlay.env import MILLISECOND, SECOND

RING = """
version: 1
underlay:
  topology:
    cables:
      - {from: A, to: B, delay: 5ms}
      - {from: B, to: C, delay: 5ms}
      - {from: C, to: D, delay: 5ms}
      - {from: A, to: D, delay: 40ms}
  hosts: {a: {at: A}, b: {at: B}, d: {at: D}}
services:
  one: {image: ksahnine/dummy-http, host: a}
  two: {image: ksahnine/dummy-http, host: d}
probes: [{kind: icmp, every: 50ms}]
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {converged: all, within: 30s}
"""


def history(tmp_path: Path, text: str) -> bytes:
    file = tmp_path / "scenario.yaml"
    file.write_text(text)
    scenario = load_resolved(file, 1)
    backend, written = SimBackend(), io.BytesIO()
    outcome = backend.run(Runner(scenario, backend, Writer(written)).run())
    assert (outcome.verdict, outcome.reason) == ("valid", "")
    return written.getvalue()


def played(tmp_path: Path, text: str) -> list[AnyRecord]:
    return [decode(line) for line in history(tmp_path, text).splitlines()]


def span(records: list[AnyRecord], what: str) -> tuple[int, int]:
    """(start, end) of the one fault of a verb."""
    events = {one.phase: one.t for one in records if isinstance(one, Event) and one.what == what}
    return events["start"], events["end"]


def good(records: list[AnyRecord], kind: str, start: int, end: int) -> list[float]:
    """Milliseconds of the tries from one to two between these times; of failed ones -1."""
    found = (one for one in records if isinstance(one, Sample) and (one.probe, one.source) == (kind, "one"))
    return [one.latency / MILLISECOND if one.latency else -1 for one in found if start <= one.t < end]


def test_routes_go_around_a_cable_that_breaks_or_do_not(tmp_path: Path) -> None:
    steps = """
  - cable: {between: [B, C], down: true, for: 8s}
  - wait: 8s
  - expect: {converged: all, within: 30s}
"""
    records = played(tmp_path, RING + steps)
    start, end = span(records, "cable")
    assert all(30 < one < 31 for one in good(records, "icmp", start - SECOND // 2, start - SECOND // 10)), "3 hops"
    assert all(80 < one < 81 for one in good(records, "icmp", start + SECOND, end - SECOND)), "the long way"
    records = played(tmp_path, RING + steps.replace("down: true", "down: true, routes: static"))
    start, end = span(records, "cable")
    assert set(good(records, "icmp", start + SECOND, end - SECOND)) == {-1}
    figure = underlay(RecordedRun(records))
    assert figure is not None and figure.title == "3 hosts on 4 nodes with 4 cables"
    assert "A,D,40,,0" in figure.csv.splitlines()
    assert all(30 < one < 31 for one in good(records, "icmp", end + 2 * SECOND, end + 10 * SECOND))


def test_what_crosses_a_full_cable_waits_for_its_turn(tmp_path: Path) -> None:
    """Downloads of one pair of hosts delay the pings of another one where both cross the same cable."""
    text = """
version: 1
seed: 1
underlay:
  topology:
    cables:
      - {from: A, to: B, delay: 2ms}
      - {from: B, to: C, delay: 2ms, rate: 4mbit, queue: 200ms}
      - {from: B, to: D, delay: 2ms}
  hosts: {a: {at: A}, c: {at: C}, d: {at: D}, e: {at: C}}
services:
  one: {image: ksahnine/dummy-http, host: a}
  near: {image: ksahnine/dummy-http, host: d}
  two: {image: ksahnine/dummy-http, host: c}
  bulk: {image: ksahnine/dummy-http, host: e}
probes:
  - {kind: icmp, from: [one], to: [two, near], every: 50ms}
  - {kind: throughput, from: [near], to: [bulk], every: 5s, timeout: 4s, options: {size_kb: 1000}}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {converged: all, within: 30s}
  - wait: 30s
"""
    records = played(tmp_path, text)
    assert history(tmp_path, text) == history(tmp_path, text)
    samples = [one for one in records if isinstance(one, Sample) and one.ok]
    rates = [one.measured["throughput"] for one in samples if one.probe == "throughput"]
    assert rates and all(3_000_000 < rate < 4_000_000 for rate in rates)
    across = [one.latency or 0 for one in samples if (one.source, one.target, one.probe) == ("one", "two", "icmp")]
    aside = [one.latency or 0 for one in samples if (one.source, one.target, one.probe) == ("one", "near", "icmp")]
    assert max(across) > 60 * MILLISECOND and min(across) < 10 * MILLISECOND and max(aside) < 10 * MILLISECOND


def test_a_backbone_of_fifty_nodes(tmp_path: Path) -> None:
    """Fifty peers that know their neighbours agree, also of a broken cable; two hosts have the delay of the fibre."""
    topohub = pytest.importorskip("topohub")
    text = """
version: 1
underlay: {generate: {kind: topohub, name: sndlib/germany50}, links: {default: {rate: 1gbit}}}
services:
  one: {image: ksahnine/dummy-http, host: Kiel}
  two: {image: ksahnine/dummy-http, host: Konstanz}
probes: [{kind: icmp, every: 500ms}]
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {converged: all, within: 60s}
"""
    cut = (
        "  - cable: {between: [Frankfurt, Giessen], down: true, for: 8s}\n  - wait: 10s\n  - expect: {converged: all}\n"
    )
    graph = networkx.node_link_graph(topohub.get("sndlib/germany50", use_names=True), edges="edges")
    fibre = 2 * networkx.shortest_path_length(graph, "Kiel", "Konstanz", weight="dist") / 199.861639
    far = good(played(tmp_path, text + cut), "icmp", 0, 100 * SECOND)
    # The overlay forwards from neighbour to neighbour, by the fewest peers.
    assert len(far) > 15 and fibre < min(one for one in far if one > 0) < 2 * fibre
    two = text.replace("}, links", "}, hosts: {a: {at: Kiel}, b: {at: Konstanz}}, links")
    two = two.replace("host: Kiel", "host: a").replace("host: Konstanz", "host: b")
    near = good(played(tmp_path, two), "icmp", 0, 100 * SECOND)
    assert near and all(fibre < one < fibre + 1 for one in near if one > 0)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("{between: [A, X], down: true}", "found 'X', expected a node: A, B, C, D"),
        ("{between: [A, C], down: true}", "expected two nodes that a cable joins"),
        ("{between: [A, B]}", "expected `down: true`, or at least one of delay"),
        ("{between: [A, B], delay: 1ms, routes: static}", "`routes` alone"),
        ("{between: [A, B], queue: 5ms}", "queue needs a rate"),
    ],
)
def test_what_is_wrong_with_a_cable_is_said(tmp_path: Path, step: str, words: str) -> None:
    (tmp_path / "x.yaml").write_text(f"{RING}  - cable: {step}\n")
    with pytest.raises(ScenarioError) as raised:
        load_resolved(tmp_path / "x.yaml")
    assert words in str(raised.value)

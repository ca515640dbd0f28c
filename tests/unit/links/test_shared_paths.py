"""Paths over shared cables, by properties: order, conservation, capacity that is shared, and routes."""

from collections import Counter
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from lab.links import Link, Links, QueueLimit
from lab.links.changed_topology import ChangedTopology
from lab.links.topology import EdgeChange, PathFinder, RoutedTopology, TopologyEdge, spread
from lab.sim.network import SimNetwork
from lab.sim.paths import RoutedPaths
from lab.sim.scheduler import Scheduler
from lab.sim.spread import Spread
from overlay.env import MILLISECOND, SECOND, Random

MBIT = 1_000_000


def edges(*cables: tuple[str, str, int], **link: object) -> tuple[TopologyEdge, ...]:
    """Cables in both directions; the number is the delay in milliseconds."""
    found = []
    for one, other, ms in cables:
        made = Link(delay=ms * MILLISECOND, **link)  # type: ignore[arg-type]
        found += [TopologyEdge(*ends, made, made.delay) for ends in ((one, other), (other, one))]
    return tuple(found)


class Field:
    """Hosts a, b, c … of which each sits at the node of the same letter in capitals."""

    def __init__(self, made: tuple[TopologyEdge, ...], seed: int = 1) -> None:
        nodes = tuple(dict.fromkeys(end for edge in made for end in (edge.sender, edge.receiver)))
        self.scheduler = Scheduler()
        self.network = SimNetwork(self.scheduler, Links(), Random(seed), Spread(seed))
        places = {node.lower(): node for node in nodes}
        self.paths = self.network.paths = RoutedPaths(RoutedTopology(nodes, made, places), Random(seed))
        self.arrived: list[tuple[int, int]] = []
        """(packet, when)."""

    def send(self, at: int, ends: str, number: int, size: int) -> None:
        way = self.network.way(ends[0], ends[1])
        self.scheduler.at(at, self.network.transit, way, size, self._arrives, number)

    def _arrives(self, number: int) -> None:
        self.arrived.append((number, self.scheduler.now))


packets = st.lists(
    st.tuples(st.integers(0, 50 * MILLISECOND), st.sampled_from(["ad", "bd", "cd", "ac"]), st.integers(40, 1500)),
    max_size=60,
)


@settings(deadline=None, max_examples=60)
@given(packets, st.integers(1, 20), st.sampled_from([None, 3000, 9000]))
def test_queues_keep_the_order_and_the_rate_and_lose_nothing_else(
    sent: list[tuple[int, str, int]], rate: int, limit: int | None
) -> None:
    queue = QueueLimit(bytes=limit) if limit else QueueLimit(time=10 * SECOND)
    made = edges(("A", "B", 3), ("B", "C", 0), ("C", "D", 7), rate=rate * MBIT, queue=queue)
    field = Field(made)
    for number, (at, ends, size) in enumerate(sent):
        field.send(at, ends, number, size)
    field.scheduler.run(100 * SECOND)
    times = dict(field.arrived)
    assert len(times) == len(field.arrived), "no packet arrives twice"
    dropped = sum(edge.dropped for edge in field.paths.edges)
    assert len(times) + dropped == len(sent) and (limit is not None or not dropped)
    # Of one pair none overtakes another.
    for pair in ("ad", "bd", "cd", "ac"):
        order = sorted((at, number) for number, (at, ends, _) in enumerate(sent) if ends == pair and number in times)
        got = [times[number] for _, number in order]
        assert got == sorted(got)
    # The last cable, which three pairs share, sends no faster than its rate, but for the packet that ends first.
    last = sorted((when, number) for number, when in times.items() if sent[number][1][1] == "d")
    for first in range(len(last)):
        received = 0
        for when, number in last[first + 1 :]:
            received += sent[number][2]
            assert received * 8 * SECOND <= (when - last[first][0] + 1) * rate * MBIT


def test_two_flows_share_a_cable_and_a_third_one_elsewhere_does_not() -> None:
    shared = edges(("C", "D", 1), ("E", "F", 1), rate=8 * MBIT)
    field = Field((*edges(("A", "C", 1), ("B", "C", 1)), *shared))
    rng = Random(5)
    for number in range(1000):
        for offset, ends in enumerate(("ad", "bd", "ef")):
            field.send(number * MILLISECOND + rng.randrange(MILLISECOND), ends, 3 * number + offset, 1000)
    field.scheduler.run(SECOND)
    counts = Counter(number % 3 for number, _ in field.arrived)
    # Eight megabits a second are a thousand of these packets; two flows of as many each get half.
    assert 950 <= counts[0] + counts[1] <= 1000 and min(counts[0], counts[1]) >= 350 and counts[2] >= 990
    assert field.paths.edges[4].dropped >= 850


def test_shortest_paths_by_weight_with_ties_as_documented() -> None:
    made = edges(("A", "B", 5), ("B", "D", 5), ("A", "C", 5), ("C", "D", 5), ("A", "D", 10), ("A", "D", 10))
    finder = PathFinder("ABCD", made)
    path = finder.path("A", "D")
    assert path is not None and [made[n].receiver for n in path] == ["D"], "of equal costs the fewest edges"
    assert path == (8,), "of parallel edges the first"
    around = PathFinder("ABCD", made, (8, 10)).path("A", "D")
    assert around is not None and [made[n].receiver for n in around] == ["B", "D"], "then the node that stands first"
    back = PathFinder("ABCD", made, (8, 10)).path("D", "A")
    assert back is not None and len(back) == 1, "the way back has its own cables"


def test_a_directed_edge_leads_one_way() -> None:
    one_way = (TopologyEdge("A", "B", Link(), 1), TopologyEdge("B", "C", Link(), 1), TopologyEdge("C", "A", Link(), 1))
    finder = PathFinder("ABC", one_way)
    assert finder.path("A", "C") == (0, 1) and finder.path("C", "A") == (2,)
    assert PathFinder("ABC", one_way[:2]).path("C", "A") is None


@given(st.integers(2, 9), st.data())
@settings(deadline=None, max_examples=40)
def test_routes_agree_hop_by_hop_with_the_whole_path(count: int, data: st.DataObject) -> None:
    """What a packet takes is what each node on its way would choose, and no other path is cheaper."""
    nodes = [f"n{number}" for number in range(count)]
    pairs = st.tuples(st.sampled_from(nodes), st.sampled_from(nodes), st.integers(0, 3))
    made = tuple(TopologyEdge(one, other, Link(), cost) for one, other, cost in data.draw(st.lists(pairs, max_size=25)))
    finder = PathFinder(nodes, made)
    for sender in nodes:
        for receiver in nodes:
            path = finder.path(sender, receiver)
            if path is None:
                assert sender not in finder.costs(receiver)
                continue
            assert sum(made[number].weight for number in path) == finder.costs(receiver)[sender][0]
            for place, number in enumerate(path):
                assert finder.path(made[number].sender, receiver) == path[place:]


def test_cables_that_break_and_come_back() -> None:
    topology = RoutedTopology(tuple("ABC"), edges(("A", "B", 1), ("B", "C", 1), ("A", "C", 9)), {"a": "A", "c": "C"})
    cables = ChangedTopology(topology)
    pairs = (("B", "C"), ("C", "B"))
    assert cables.path("a", "c") == (0, 2)
    cables.set(1, EdgeChange(pairs, down=True))
    assert cables.path("a", "c") == (4,)
    cables.set(1, EdgeChange(pairs, down=True, reroute=False))
    assert cables.path("a", "c") == (0, 2) and 2 in cables.down, "static routes lead into it"
    cables.set(2, EdgeChange(pairs, {"loss": 0.5}))
    assert cables.set(1, None) == [] and not cables.down and cables.links[2].loss == 0.5
    assert cables.set(2, None) == [2, 3] and cables.links[2] == topology.edges[2].link


def test_hosts_are_spread_evenly_and_always_alike() -> None:
    line = edges(*((f"n{number}", f"n{number + 1}", 1) for number in range(8)))
    nodes = [f"n{number}" for number in range(9)]
    assert spread(3, nodes, line) == ["n4", "n0", "n8"]
    assert spread(5, nodes, line) == ["n4", "n0", "n8", "n2", "n6"]
    assert spread(9, nodes, line) == nodes and spread(11, nodes, line) == [*nodes, "n4", "n0"]
    assert spread(2, nodes, line, ["n0"]) == ["n8", "n4"]
    many = [f"n{number}" for number in range(2000)]
    long = edges(*((one, other, 1) for one, other in pairwise(many)))
    assert spread(3, many, long) == ["n1000", "n0", "n1999"] and len(set(spread(500, many, long))) == 500

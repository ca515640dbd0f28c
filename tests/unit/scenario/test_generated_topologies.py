"""Topologies by rule and from files: shapes, seeds, regions, what is refused and in which words."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.scenario.generators import KINDS, faults
from lab.scenario.load import ScenarioError, load_resolved, parse
from lab.scenario.model import Generate
from lab.scenario.resolve import Resolved, resolve


def generated(spec: str, *, seed: int = 0, links: str = "{}", overlay: str = "weave") -> Resolved:
    text = f"version: 1\nunderlay: {{generate: {{{spec}}}, links: {links}}}\noverlay: {overlay}\ntimeline: [wait: 1s]\n"
    return resolve(parse(text), name="x", seed=seed)


def graph(scenario: Resolved) -> "networkx.Graph[str]":
    assert scenario.edges is not None
    found: networkx.Graph[str] = networkx.Graph()
    found.add_nodes_from(scenario.hosts)
    found.add_edges_from(scenario.edges)
    assert found.number_of_edges() == len(scenario.edges), "an edge is said twice"
    return found


@pytest.mark.parametrize(
    ("spec", "edges", "degrees"),
    [
        ("kind: ring, hosts: 7", 7, {2: 7}),
        ("kind: line, hosts: 5", 4, {1: 2, 2: 3}),
        ("kind: star, hosts: 6", 5, {1: 5, 5: 1}),
        ("kind: tree, hosts: 7", 6, {1: 4, 2: 1, 3: 2}),
        ("kind: tree, hosts: 5, branching: 4", 4, {1: 4, 4: 1}),
        ("kind: random_regular, hosts: 20, degree: 3", 30, {3: 20}),
        ("kind: random_regular, hosts: 30, degree: 2", 30, {2: 30}),
        ("kind: small_world, hosts: 20, rewire: 0%", 40, {4: 20}),
    ],
)
def test_shapes(spec: str, edges: int, degrees: dict[int, int]) -> None:
    found = graph(generated(spec))
    assert networkx.is_connected(found) and found.number_of_edges() == edges
    assert Counter(degree for _, degree in found.degree) == degrees


def test_scale_free_has_hubs() -> None:
    degrees = sorted((degree for _, degree in graph(generated("kind: scale_free, hosts: 300")).degree), reverse=True)
    assert degrees[0] > 20 and degrees[-1] == 2


@given(
    kind=st.sampled_from(sorted(KINDS)), hosts=st.integers(1, 40), degree=st.none() | st.integers(1, 12),
    branching=st.none() | st.integers(1, 5), attach=st.none() | st.integers(1, 5), seed=st.integers(0, 2**63 - 1),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_what_is_not_refused_is_one_connected_graph(
    kind: str, hosts: int, degree: int | None, branching: int | None, attach: int | None, seed: int
) -> None:
    spec = Generate(kind=kind, hosts=hosts, degree=degree, branching=branching, attach=attach)
    if list(faults(spec)) or kind == "full_mesh":
        return
    own = {"degree": degree, "branching": branching, "attach": attach}
    more = "".join(f", {key}: {value}" for key, value in own.items() if value is not None)
    assert networkx.is_connected(graph(generated(f"kind: {kind}, hosts: {hosts}{more}", seed=seed)))


def test_the_seed_makes_the_graph_whatever_the_hash_seed() -> None:
    spec = "kind: scale_free, hosts: 60"
    assert generated(spec, seed=1).edges == generated(spec, seed=1).edges != generated(spec, seed=2).edges
    code = (
        "from lab.scenario.load import parse; from lab.scenario.resolve import resolve\n"
        "for kind in ('scale_free', 'small_world', 'random_regular, degree: 6'):\n"
        "    text = 'version: 1\\nunderlay: {generate: {kind: %s, hosts: 60}}\\ntimeline: [wait: 1s]' % kind\n"
        "    print(resolve(parse(text), seed=5).edges)\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": number}, capture_output=True, check=True
        ).stdout
        for number in ("1", "2")
    ]
    assert said[0] == said[1] and said[0]


def test_a_graph_switches_discovery_off_unless_the_scenario_says_otherwise() -> None:
    assert generated("kind: ring, hosts: 5").options == {"discovery": False}
    said = generated("kind: ring, hosts: 5", overlay="{kind: weave, options: {discovery: true}}")
    assert said.options == {"discovery": True}
    assert generated("kind: full_mesh, hosts: 5").options == {}
    assert generated("kind: star, hosts: 300").options == {"discovery": False, "conn-limit": 299}


def test_regions_have_links_of_their_own() -> None:
    links = generated(
        "kind: ring, hosts: 6, regions: [eu, us]",
        links="{default: {loss: 1%}, region:eu <-> region:us: {delay: 40ms}, host1 -> host6: {delay: 50ms},"
        " region:us -> host2: {rate: 1mbit}}",
    ).links
    assert (links.between("host3", "host4").delay, links.between("host4", "host3").loss) == (40_000_000, 0.01)
    assert (links.between("host1", "host2").delay, links.between("host1", "host2").loss) == (0, 0.01)
    assert links.between("host1", "host6").delay == 50_000_000
    assert (links.between("host6", "host2").delay, links.between("host6", "host2").rate) == (40_000_000, 1_000_000)


def test_hosts_by_hand_have_regions_and_edges_too() -> None:
    text = (
        "version: 1\nunderlay:\n  hosts: {a: {region: x}, b: {region: y}, c: {}}\n  edges: [[a, b], [b, c]]\n"
        "  links: {region:x -> region:y: {delay: 9ms}}\ntimeline: [wait: 1s]\n"
    )
    scenario = resolve(parse(text), name="x")
    assert scenario.edges == (("a", "b"), ("b", "c")) and scenario.links.between("a", "b").delay == 9_000_000
    assert scenario.to_json()["underlay"]["edges"] == [["a", "b"], ["b", "c"]]


@pytest.mark.parametrize(
    ("underlay", "message"),
    [
        ("{generate: {kind: rings, hosts: 5}}", "did you mean 'ring'?"),
        ("{generate: {kind: ring, hosts: 5, degree: 2}}", "found `degree` of a ring"),
        ("{generate: {kind: random_regular, hosts: 5}}", "expected `degree`"),
        ("{generate: {kind: random_regular, hosts: 5, degree: 3}}", "an even product"),
        ("{generate: {kind: small_world, hosts: 9, rewrie: 3%}}", "did you mean 'rewire'?"),
        ("{hosts: {a: {}, b: {}}, edges: [[a, bb]]}", "did you mean 'b'?"),
        ("{hosts: {a: {}, b: {}}, edges: [[a, b], [b, a]]}", "expected each edge once"),
        ("{hosts: {a: {region: eu}}, links: {region:eu <-> region:us: {delay: 1ms}}}", "found 'us', expected a region"),
        ("{file: nowhere.graphml}", "expected a file that can be read (No such file or directory)"),
        ("{file: x.txt}", "expected a file named *.graphml or *.gml or *.json"),
    ],
)
def test_what_is_wrong_is_said(underlay: str, message: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        parse(f"version: 1\nunderlay: {underlay}\ntimeline: [wait: 1s]\n")
    assert message in str(raised.value)


@pytest.mark.parametrize("suffix", ["graphml", "gml"])
def test_files(tmp_path: Path, suffix: str) -> None:
    drawn: networkx.Graph[int] = networkx.Graph()
    drawn.add_node(0, name="Frankfurt am Main", region="eu")
    drawn.add_node(1, name="NYC", region="us", address="192.168.0.77")
    drawn.add_node(2)
    drawn.add_edge(0, 1, delay="40ms", loss="1%", weight=3.5)
    drawn.add_edge(1, 2)
    drawn.add_edge(2, 2)
    getattr(networkx, f"write_{suffix}")(drawn, tmp_path / f"net.{suffix}")
    file = tmp_path / "x.yaml"
    file.write_text(
        f"version: 1\nunderlay: {{file: net.{suffix}, links: {{default: {{delay: 2ms}}}}}}\ntimeline: [wait: 1s]\n"
    )
    scenario = load_resolved(file)
    assert list(scenario.hosts) == ["Frankfurt-am-Main", "NYC", "host2"]
    assert scenario.edges == (("Frankfurt-am-Main", "NYC"), ("NYC", "host2"))
    assert scenario.hosts["NYC"].address == "192.168.0.77" and scenario.options == {"discovery": False}
    assert scenario.topology is not None and scenario.links.default.perfect
    links = {(edge.sender, edge.receiver): edge.link for edge in scenario.topology.edges}
    assert [links[pair].delay for pair in scenario.edges] == [40_000_000, 2_000_000], "`default` is of all cables"
    assert links["NYC", "Frankfurt-am-Main"].loss == 0.01 and len(links) == 4


def test_broken_files_are_refused_with_their_place(tmp_path: Path) -> None:
    (tmp_path / "net.graphml").write_text("<graphml><graph")
    (tmp_path / "bad.gml").write_text(
        'graph [ node [ id 1 name "a" ] node [ id 2 ] edge [ source 1 target 2 delay "x" ] ]'
    )
    for name, message in (("net.graphml", "expected a graph ("), ("bad.gml", "expected a duration")):
        file = tmp_path / "x.yaml"
        file.write_text(f"version: 1\nunderlay: {{file: {name}}}\ntimeline: [wait: 1s]\n")
        with pytest.raises(ScenarioError) as raised:
            load_resolved(file)
        assert message in str(raised.value) and f"{file}:2:" in str(raised.value)

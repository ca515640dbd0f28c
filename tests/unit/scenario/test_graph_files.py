"""Graphs from files as other programs write them: other words for a link, other scripts, parallel edges, pieces."""

import json
import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import networkx
import pytest

from lab.links.changed_topology import ChangedTopology
from lab.links.topology import RoutedTopology
from lab.scenario import graph_files
from lab.scenario.from_json import from_json
from lab.scenario.graph_words import link_of
from lab.scenario.load import Reading, read


def reading(folder: Path, graph: Any = None, *, gml: bytes = b"") -> Reading:
    if gml:
        (folder / "net.gml").write_bytes(gml)
    else:
        networkx.write_graphml(graph, folder / "net.graphml")
    file = folder / "x.yaml"
    name = "net.gml" if gml else "net.graphml"
    file.write_text(f"version: 1\nunderlay: {{file: {name}}}\ntimeline: [wait: 1s]\n")
    return read(file)


def notes(found: Reading) -> str:
    assert not found.problems, found.problems
    return "\n".join(note.text for note in found.notes)


@pytest.mark.parametrize(
    ("attributes", "link", "words"),
    [
        ({"latency": 50.0}, {"delay": "50ms"}, "`latency` is taken as `delay`, in milliseconds"),
        ({"latency": "10 us"}, {"delay": "10us"}, ""),
        ({"latency": "0.5 seconds"}, {"delay": "0.5s"}, ""),
        ({"packetloss": 0.05}, {"loss": "5%"}, "`packetloss` is taken as `loss`, in a fraction of 1"),
        ({"packet_loss": "0.5%"}, {"loss": "0.5%"}, ""),
        ({"packet_loss": 0.0}, {"loss": "0%"}, "a fraction of 1"),
        ({"bandwidth": "1 Gbit"}, {"rate": "1gbit"}, ""),
        ({"bandwidth": "10 Mbps"}, {"rate": "10mbit"}, ""),
        ({"LinkSpeedRaw": 10000000000.0}, {"rate": "10000000000bit"}, ""),
        ({"LinkSpeed": "2.5", "LinkSpeedUnits": "G"}, {"rate": "2500000000bit"}, ""),
        ({"latency": 50.0, "delay": "20ms"}, {"delay": "20ms"}, "`latency` is ignored where `delay` says it too"),
        ({"weight": 3, "LinkLabel": "x", "id": "e1"}, {}, ""),
    ],
)
def test_a_links_words_are_read_with_their_units_or_named(
    attributes: dict[str, Any], link: dict[str, Any], words: str
) -> None:
    found, told = link_of(attributes)
    assert found == link
    assert (words in "".join(told.values())) if words else not told


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"latency": "fast"}, "`latency` can be read (found 'fast'): write `delay: 40ms`"),
        ({"packet_loss": 5}, "`packet_loss` can be read"),
        ({"LinkSpeedRaw": float("inf")}, "`LinkSpeedRaw` can be read (found inf)"),
        ({"bandwidth": 100}, "(found 100): write `rate: 10mbit` on them, or `units: {bandwidth: mbit}` next to `file`"),
    ],
)
def test_what_cannot_be_read_for_sure_is_refused(tmp_path: Path, attributes: dict[str, Any], words: str) -> None:
    graph = networkx.Graph()
    graph.add_edge("a", "b", **attributes)
    (problem,) = reading(tmp_path, graph).problems
    assert words in problem.text


def test_a_unit_that_the_scenario_gives(tmp_path: Path) -> None:
    assert link_of({"capacity": 2.5}, {"capacity": "gbit"}) == ({"rate": "2500000000bit"}, {})


def topology(found: Reading) -> RoutedTopology:
    assert found.resolved is not None and found.resolved.topology is not None, found.problems
    return found.resolved.topology


def test_links_of_other_programs_reach_the_scenario(tmp_path: Path) -> None:
    graph = networkx.Graph()
    graph.add_edge("a", "b", latency=50.0, packetloss=0.05)
    graph.add_edge("b", "c", latency=20.0, packetloss=0.0)
    found = reading(tmp_path, graph)
    link = topology(found).edges[0].link
    assert (link.delay, link.loss) == (50_000_000, 0.05)
    assert notes(found).count("`latency`") == 1


def test_other_scripts_become_names_that_can_be_read(tmp_path: Path) -> None:
    graph = networkx.Graph()
    for number, label in enumerate(("Zürich", "東京", "大阪", "Москва", "München-Ost", "Zurich", "São Paulo")):
        graph.add_node(number, label=label)
        graph.add_edge(0, number)
    found = reading(tmp_path, graph)
    assert found.resolved is not None
    names = list(found.resolved.hosts)
    assert names == ["Zurich", "DongJing", "DaBan", "Moskva", "Munchen-Ost", "Zurich-2", "Sao-Paulo"]
    assert "Zürich is Zurich" in notes(found)


def test_names_that_mean_something_else_are_changed(tmp_path: Path) -> None:
    graph = networkx.path_graph(["12.83.46.1", "localhost", "all", "x", "X", "0x7f000001"])
    found = reading(tmp_path, graph)
    assert found.resolved is not None
    assert list(found.resolved.hosts) == ["host12.83.46.1", "hostlocalhost", "hostall", "x", "X-2", "host0x7f000001"]
    assert "12.83.46.1 is host12.83.46.1" in notes(found)


def test_a_region_of_two_words_is_a_name(tmp_path: Path) -> None:
    graph = networkx.path_graph(["a", "b", "c"])
    for node, region in (("a", "North America"), ("b", "North-America"), ("c", "Süd")):
        graph.nodes[node]["region"] = region
    found = reading(tmp_path, graph)
    assert found.scenario is not None
    regions = [host.region for host in found.scenario.underlay.hosts.values()]
    assert regions == ["North-America", "North-America-2", "Sud"]
    assert "North America is North-America" in notes(found)


GML = b"""Creator "somebody"
graph [
  directed 0
  node [ id 0 label "Gen\xc3\xa8ve" ]
  node [ id 1 label "Bern" ]
  node [ id 2 label "Chur" ]
  node [ id 3 label "Sion" ]
  edge [ source 0 target 1 LinkLabel "one" ]
  edge [ source 0 target 1 LinkLabel "two" ]
  edge [ source 2 target 3 ]
]
"""


@pytest.mark.parametrize("text", [GML, GML.replace(b"\xc3\xa8", b"\xe8"), GML.replace(b"\xc3\xa8", b"&#232;")])
def test_gml_as_it_is_found(tmp_path: Path, text: bytes) -> None:
    found = reading(tmp_path, gml=text)
    assert found.resolved is not None
    assert list(found.resolved.hosts) == ["Geneve", "Bern", "Chur", "Sion"]
    assert found.resolved.edges == (("Geneve", "Bern"), ("Chur", "Sion"))
    assert "the graph is in 2 pieces" in notes(found)


def test_gml_that_says_what_it_is_stays_so(tmp_path: Path) -> None:
    text = GML.replace(b"  directed 0", b"  directed 1\n  multigraph 1").replace(
        b"edge [ source 2", b"edge [ source 1 target 2 ] edge [ source 1"
    )
    found = reading(tmp_path, gml=text)
    assert found.resolved is not None and len(found.resolved.edges or ()) == 3
    assert "pieces" not in notes(found)


def test_a_graph_by_hand_in_pieces_is_named(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("version: 1\nunderlay: {hosts: {a: {}, b: {}, c: {}}, edges: [[a, b]]}\ntimeline: [wait: 1s]\n")
    found = read(file)
    assert [(note.line, note.path) for note in found.notes] == [(2, "underlay.edges")]
    assert "the graph is in 2 pieces" in notes(found)


BOMB = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa">%s]>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><key id="d" for="node" attr.name="label" attr.type="string"/>
<graph edgedefault="undirected"><node id="n"><data key="d">&%s;</data></node></graph></graphml>
"""


def test_hostile_graph_files_are_one_problem_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entities that multiply, entities that read other files, what is no file, and files and graphs without end."""
    names = "abcdefghijk"
    more = "".join(f'<!ENTITY {new} "{f"&{old};" * 10}">' for old, new in pairwise(names))
    (tmp_path / "secret").write_text("a secret")
    (tmp_path / "bomb.graphml").write_text(BOMB % (more, names[-1]))
    (tmp_path / "outside.graphml").write_text(BOMB % ('<!ENTITY b SYSTEM "secret">', "b"))
    (tmp_path / "folder.gml").mkdir()
    os.mkfifo(tmp_path / "pipe.gml")
    (tmp_path / "zero.gml").symlink_to("/dev/zero")
    (tmp_path / "large.gml").write_text("graph [\n node [ id 0 ]\n]\n" + " " * 2000)
    (tmp_path / "many.gml").write_text("graph [\n" + "".join(f" node [ id {n} ]\n" for n in range(20)) + "]\n")
    monkeypatch.setattr(graph_files, "_LARGEST", 1000)
    monkeypatch.setattr(graph_files, "_MOST", 19)
    file = tmp_path / "x.yaml"
    for name, words in {
        "bomb.graphml": "expected a graph (",
        "outside.graphml": "expected a graph (",
        "folder.gml": "expected a file",
        "pipe.gml": "expected a file",
        "zero.gml": "expected a file",
        "large.gml": "expected a file of at most",
        "many.gml": "expected a graph of 1 to 19 nodes",
        "none.gml": "No such file",
    }.items():
        if name == "bomb.graphml":
            monkeypatch.setattr(graph_files, "_LARGEST", 1 << 20)
        elif name == "large.gml":
            monkeypatch.setattr(graph_files, "_LARGEST", 1000)
        file.write_text(f"version: 1\nunderlay: {{file: {name}}}\ntimeline: [wait: 1s]\n")
        found = read(file)
        assert len(found.problems) == 1 and words in found.problems[0].text, (name, found.problems)
        assert "a secret" not in found.problems[0].text


def test_delays_from_coordinates_and_lengths(tmp_path: Path) -> None:
    """The Topology Zoo's words, and node-link JSON as topohub has it: New York to Chicago is 1,145 km."""
    zoo = networkx.Graph()
    zoo.add_node(0, label="New York", Latitude=40.71427, Longitude=-74.00597)
    zoo.add_node(1, label="Chicago", Latitude=41.85003, Longitude=-87.65005)
    zoo.add_node(2, label="Nowhere")
    zoo.add_edge(0, 1)
    zoo.add_edge(1, 2)
    found = reading(tmp_path, zoo)
    delays = [edge.link.delay for edge in topology(found).edges]
    assert delays[0] == delays[1] and abs(delays[0] - 5_727_000) < 20_000 and delays[2:] == [0, 0]
    assert "1 of 2 edges have neither delay, length nor" in notes(found) and "great circle" in notes(found)

    (tmp_path / "net.json").write_text(
        '{"nodes": [{"id": 0, "name": "Ulm", "pos": [9.99, 48.4]}, {"id": 1, "name": "Köln", "pos": [6.95, 50.94]}],'
        ' "edges": [{"source": 0, "target": 1, "dist": 199.861639}]}'
    )
    (tmp_path / "y.yaml").write_text("version: 1\nunderlay: {file: net.json}\ntimeline: [wait: 1s]\n")
    assert topology(read(tmp_path / "y.yaml")).edges[0].link.delay == 1_000_000


def test_directed_and_parallel_edges_are_all_there(tmp_path: Path) -> None:
    graph = networkx.MultiDiGraph()
    for one, other, delay in (("a", "b", "40ms"), ("a", "b", "10ms"), ("b", "a", "25ms")):
        graph.add_edge(one, other, delay=delay)
    made = topology(reading(tmp_path, graph))
    assert [(edge.sender, edge.receiver, edge.link.delay // 1_000_000) for edge in made.edges] == [
        ("a", "b", 40), ("a", "b", 10), ("b", "a", 25),
    ]  # fmt: skip
    finder = ChangedTopology(made)
    assert finder.path("a", "b") == (1,) and finder.path("b", "a") == (2,)


def test_hosts_have_places(tmp_path: Path) -> None:
    networkx.write_graphml(networkx.path_graph(["A", "B", "C"]), tmp_path / "net.graphml")

    def places(underlay: str) -> tuple[object, object]:
        (tmp_path / "x.yaml").write_text(f"version: 1\nunderlay: {{{underlay}}}\ntimeline: [wait: 1s]\n")
        found = read(tmp_path / "x.yaml")
        if found.problems:
            return found.problems[0].text, None
        assert found.resolved is not None
        return dict(topology(found).places), found.resolved.edges

    assert places("file: net.graphml") == ({"A": "A", "B": "B", "C": "C"}, (("A", "B"), ("B", "C")))
    assert places("file: net.graphml, peers: all")[1] is None
    assert places("file: net.graphml, hosts: {x: {at: B}, y: {}, z: {}}") == ({"x": "B", "y": "A", "z": "C"}, None)
    assert places("file: net.graphml, peers: topology, hosts: {x: {at: B}, y: {at: A}, z: {at: B}}")[1] == (
        ("x", "y"), ("x", "z"), ("y", "z"),
    )  # fmt: skip
    assert places("file: net.graphml, edges: [[A, C]]")[1] == (("A", "C"),)
    assert "found 'D', expected a node: A, B, C" in str(places("file: net.graphml, hosts: {x: {at: D}}")[0])
    assert "found 'A', expected no node: there is no topology" in str(places("hosts: {x: {at: A}}")[0])


def test_a_topology_of_the_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(rule: str) -> Reading:
        (tmp_path / "x.yaml").write_text(f"version: 1\nunderlay: {{generate: {{{rule}}}}}\ntimeline: [wait: 1s]\n")
        return read(tmp_path / "x.yaml")

    pytest.importorskip("topohub")
    whole = found("kind: topohub, name: sndlib/germany50")
    assert whole.resolved is not None and len(whole.resolved.hosts) == 50 and len(topology(whole).edges) == 176
    assert from_json(json.loads(json.dumps(whole.resolved.to_json()))).topology == topology(whole)
    few = found("kind: topohub, name: sndlib/germany50, hosts: 3")
    assert list(topology(few).places) == ["host1", "host2", "host3"] and few.resolved is not None
    assert few.resolved.edges is None, "three hosts are no graph: the first one connects to all"
    for rule, words in (
        ("kind: topohub", "found no `name`"),
        ("kind: topohub, name: ../../etc/passwd", "a name of topohub as sndlib/germany50"),
        ("kind: topohub, name: sndlib/atlantis", "and it has none called so"),
        ("kind: topohub, name: sndlib/polska, degree: 3", "found `degree` of topohub"),
        ("kind: topohub, name: sndlib/polska, hosts: 0", "a number of hosts"),
    ):
        assert words in found(rule).problems[0].text
    monkeypatch.setitem(sys.modules, "topohub", None)
    missing = found("kind: topohub, name: sndlib/germany50").problems
    assert [problem.text for problem in missing if "pip install 'overlay-lab[topohub]'" in problem.text]

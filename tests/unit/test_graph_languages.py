"""`weave graph`: what one peer knows of the mesh, in two languages; no name of a peer is more than a label."""

import re
import shutil
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.daemon.graph import FORMATS, graph

A, B, C, D = (f"02:00:00:00:00:0{number}" for number in range(1, 5))
DOT_STRING = r'"(?:[^"\\\n]|\\.)*"'
DOT_ATTRIBUTES = rf"\[(?:\w+=(?:\w+|{DOT_STRING})(?:, )?)*\]"
DOT = re.compile(
    rf"graph weave \{{\n  node \[shape=box\];\n(?:  \w+ {DOT_ATTRIBUTES};\n|  \w+ -- \w+ {DOT_ATTRIBUTES};\n)*\}}\n?"
)
MERMAID_WORDS = r"(?:[A-Za-z0-9 .,_/()-]|#\d+;|<br/>)*"
MERMAID = re.compile(
    r"graph LR\n(?:"
    rf'  \w+[\[(]"{MERMAID_WORDS}"[\])]\n|'
    rf'  \w+ (?:---|-\.-)(?:\|"{MERMAID_WORDS}"\|)? \w+\n|'
    r"  classDef \w+ [\w:-]+\n|  class [\w,]+ \w+\n)*"
)


def link(peer: str, *, established: bool = True) -> dict[str, Any]:
    return {"peer": peer, "established": established}


def report(nickname: str = "two", name: str = "web.weave.local.") -> dict[str, Any]:
    half = link(B, established=False)
    peers = [
        {"name": A, "nickname": "one", "reachable": True, "gone": False, "links": [link(B), link(C)]},
        {"name": B, "nickname": nickname, "reachable": True, "gone": False, "links": [link(A), link(C)]},
        {
            "name": C,
            "nickname": "three",
            "reachable": True,
            "gone": False,
            "links": [link(A), half],
        },
        {"name": D, "nickname": "four", "reachable": False, "gone": True, "links": [link("unknown")]},
    ]
    connections = [
        {"peer": B, "state": "established"},
        {"peer": C, "state": "established"},
        {"peer": D, "state": "greeting"},
        {"peer": "", "state": "greeting"},
    ]
    entry = {"peer": B, "container": "c" * 64, "addresses": ["10.32.0.1/12"], "state": "forwarded"}
    return {
        "mesh": {"name": A, "peers": peers, "connections": connections},
        "paths": {B: {"path": "fastdp", "encrypted": False}, C: {"path": "sleeve", "encrypted": True}},
        "endpoints": {"entries": [entry, {**entry, "peer": "unknown"}]},
        "dns": {"entries": [{"peer": B, "container": "c" * 64, "name": name}]},
    }


def test_peers_connections_and_their_kind_are_there() -> None:
    drawn = graph(report())
    assert [(node.id, node.kind) for node in drawn.nodes] == [
        ("p0", "own"),
        ("p1", "reachable"),
        ("p2", "reachable"),
        ("p3", "left"),
    ]
    assert [(edge.source, edge.target, edge.label, edge.up) for edge in drawn.edges] == [
        ("p0", "p1", "fastdp", True),
        ("p0", "p2", "sleeve encrypted", True),
        ("p0", "p3", "greeting", False),
        ("p1", "p2", "pending", False),
    ]


def test_containers_are_drawn_where_asked_with_their_names() -> None:
    drawn = graph(report(), containers=True)
    assert drawn.nodes[-1].label == ("web.weave.local", "10.32.0.1/12")
    assert (drawn.edges[-1].source, drawn.edges[-1].target) == ("p1", "c0")
    assert len(drawn.nodes) == 5  # one of a peer that nobody knows has no place


HOSTILE = [
    'a"]; p9 [label="forged',
    "back\\",
    'quote\\" -- p0',
    "\x1b[31mred",
    "new\nline",
    "<img src=x onerror=alert(1)>",
    "`markdown`",
    "#quot;",
    "end\nclass p0 x",
    "‮txet",
    "%%{init: {}}%%",
    "東京",
]


@pytest.mark.parametrize("word", HOSTILE)
def test_no_name_becomes_a_word_of_the_language(word: str) -> None:
    drawn = graph(report(nickname=word, name=word), containers=True)
    assert DOT.fullmatch(FORMATS["dot"](drawn) + "\n")
    assert MERMAID.fullmatch(FORMATS["mermaid"](drawn) + "\n")
    for told in (FORMATS["dot"](drawn), FORMATS["mermaid"](drawn)):
        assert all(line.isprintable() for line in told.splitlines())
        assert len(told.splitlines()) == len(FORMATS["dot" if told.startswith("graph weave") else "mermaid"](
            graph(report(), containers=True)).splitlines())  # fmt: skip


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_name_is_a_label(nickname: str, name: str) -> None:
    drawn = graph(report(nickname=nickname, name=name), containers=True)
    assert DOT.fullmatch(FORMATS["dot"](drawn) + "\n")
    assert MERMAID.fullmatch(FORMATS["mermaid"](drawn) + "\n")


@pytest.mark.skipif(shutil.which("dot") is None, reason="no Graphviz: apt-get install graphviz")
@pytest.mark.parametrize("word", HOSTILE)
def test_graphviz_draws_it(word: str) -> None:
    told = FORMATS["dot"](graph(report(nickname=word), containers=True))
    done = subprocess.run(["dot", "-Tplain"], input=told, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert sum(line.startswith("node ") for line in done.stdout.splitlines()) == 5

"""The figure `underlay`: names hide no node and no other name, few cables cross one, the legend says widths."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure as Canvas
from matplotlib.path import Path
from matplotlib.transforms import Bbox
from synthetic_history import S, Story

from lab.checkers import RecordedRun
from lab.plots import _DRAW
from lab.plots.style import context

SMALL: list[dict[str, Any]] = [
    {"from": "A", "to": "B", "rate": 100_000_000}, {"from": "B", "to": "C", "rate": 10_000_000},
    {"from": "C", "to": "D"}, {"from": "D", "to": "A"},
]  # fmt: skip


def germany50() -> list[dict[str, Any]]:
    graph = pytest.importorskip("topohub").get("sndlib/germany50", use_names=True)
    return [{"from": edge["source"], "to": edge["target"], "rate": 10**9} for edge in graph["edges"]]


def drawn(edges: list[dict[str, Any]], hosts: dict[str, str], style: str) -> Canvas:
    story = Story(tuple(hosts), {})
    nodes = list(dict.fromkeys(end for edge in edges for end in (edge["from"], edge["to"])))
    story.meta.scenario["underlay"]["topology"] = {
        "nodes": nodes,
        "edges": [{"weight": 1} | edge for edge in edges],
        "places": hosts,
    }
    story.event(S, "cable", "start", label="cable", cable=[edges[0]["to"], edges[0]["from"]], down=True)
    story.event(2 * S, "down")
    with context(style):
        canvas = _DRAW["underlay"](RecordedRun(story.finish()))
        assert canvas is not None
        canvas.draw_without_rendering()
    return canvas


def mark_box(axes: Axes, mark: PathCollection) -> Bbox:
    x, y = axes.transData.transform(np.asarray(mark.get_offsets())[0])
    figure = axes.get_figure(root=True)
    assert figure is not None
    half = mark.get_sizes()[0] ** 0.5 / 2 * figure.dpi / 72
    return Bbox([(x - half, y - half), (x + half, y + half)])


@pytest.mark.parametrize("style", ["screen", "paper"])
@pytest.mark.parametrize("large", [False, True])
def test_names_stand_free(large: bool, style: str) -> None:
    if large:
        edges = germany50()
        places = {f"host{n}": node for n, node in enumerate(("Kiel", "Berlin", "Koblenz", "Passau"), 1)}
    else:
        edges, places = SMALL, {"h1": "A", "h2": "A", "h3": "C"}
    canvas = drawn(edges, places, style)
    (axes,) = canvas.axes
    names = {text.get_text(): text.get_window_extent() for text in axes.texts}
    nodes = {end for edge in edges for end in (edge["from"], edge["to"])}
    assert {name.split(":")[0] for name in names} == nodes, "all have a name, and nothing else is said"
    assert "Kiel: host1" in names if large else "A: h1, h2" in names
    assert not [pair for pair in combinations(names, 2) if names[pair[0]].overlaps(names[pair[1]])]
    marks = [mark_box(axes, each) for each in axes.collections if isinstance(each, PathCollection)]
    assert len(marks) == len(nodes)
    assert not [name for name, box in names.items() for mark in marks if box.overlaps(mark.padded(-1))]
    (legend,) = canvas.legends
    below = legend.get_window_extent()
    assert not [name for name, box in names.items() if box.overlaps(below) or box.x0 < 0 or box.x1 > canvas.bbox.x1]
    cables = [
        Path(axes.transData.transform(each.get_segments()[0]))
        for each in axes.collections
        if isinstance(each, LineCollection)
    ]
    assert len(cables) == len(edges)
    crossed = [name for name, box in names.items() if any(cable.intersects_bbox(box, filled=False) for cable in cables)]
    assert len(crossed) <= len(nodes) // 4, crossed


def test_the_legend_says_rates_and_what_was_down() -> None:
    canvas = drawn(SMALL, {"h1": "A", "h3": "C"}, "screen")
    said = [text.get_text() for text in canvas.legends[0].get_texts()]
    assert said == [
        "node with hosts", "node without", "cable, 10 Mbit/s", "cable, 100 Mbit/s", "cable, no limit",
        "down at some time",
    ]  # fmt: skip
    lines = [each for each in canvas.axes[0].collections if isinstance(each, LineCollection)]
    fast, slow, unlimited, _ = (float(np.asarray(each.get_linewidth())[0]) for each in lines)
    assert slow < fast < unlimited
    all_alike = drawn([edge | {"rate": 10**9} for edge in SMALL], {node: node for node in "ABCD"}, "screen")
    assert [text.get_text() for text in all_alike.legends[0].get_texts()] == [
        "node with hosts", "cable, 1 Gbit/s", "down at some time",
    ]  # fmt: skip

"""A picture of the topology under the hosts: nodes, cables, and where hosts sit."""

import math
from collections.abc import Collection

import networkx as nx
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from lab.checkers.run import RecordedRun
from lab.figures.underlay import cables_of, places_of
from lab.plots.labels import place_labels
from lab.plots.style import FAIL, GROUPS, INK, MUTED, canvas, points
from lab.words import count

__all__ = ["underlay"]

_NAMED = 64
"""Maximum number of nodes with names; above it only those with hosts have names."""
_DASHES = (0, (3, 2))


def underlay(run: RecordedRun) -> Canvas | None:
    """Nodes in a spring layout, cables as wide as their rate is large, hosts in colour."""
    places, cables = places_of(run), cables_of(run)
    if not cables:
        return None
    graph = nx.Graph()
    graph.add_nodes_from(places)
    graph.add_edges_from(cables)
    start = {
        node: (math.sin(6.28 * n / len(places)), math.cos(6.28 * n / len(places))) for n, node in enumerate(places)
    }
    spots = nx.spring_layout(graph, pos=start, seed=1, iterations=200, k=1.6 / math.sqrt(len(places)))
    broken = {frozenset(event.detail["cable"]) for event in run.events if event.detail.get("down")}
    widths = _widths({edge.get("rate") or 0 for edge in cables.values()})
    figure = canvas(6.2, wide=True)
    axes = figure.subplots()
    for (one, other), edge in cables.items():
        down = frozenset((one, other)) in broken
        width = points(widths[edge.get("rate") or 0])
        line = [(tuple(spots[one]), tuple(spots[other]))]
        style, colour = (_DASHES, FAIL) if down else ("-", MUTED)
        axes.add_collection(LineCollection(line, colors=colour, linewidths=width, linestyles=style, zorder=1))
    for node, hosts in places.items():
        x, y = spots[node]
        size = points(points(110 if hosts else 45))
        axes.scatter([x], [y], s=size, color=GROUPS[0] if hosts else "white", edgecolor=INK, zorder=3)
    axes.set_axis_off()
    axes.margins(0.1)
    axes.autoscale_view()
    shown = _legend(widths, all(places.values()), any(frozenset(ends) in broken for ends in cables))
    figure.legend(handles=shown, loc="outside lower right", ncols=len(shown))
    names = {node: _words(node, hosts) for node, hosts in places.items() if hosts or len(places) <= _NAMED}
    first = sorted(names, key=lambda node: not places[node])  # hosts get a place before others
    marks = {node: tuple(spots[node]) for node in places}
    left = place_labels(axes, marks, {node: names[node] for node in first}, cables)
    if left:
        axes.text(1, 0, f"{count(left, 'name')} left out", transform=axes.transAxes, ha="right", fontsize="x-small",
                  color=MUTED)  # fmt: skip
    return figure


def _widths(rates: Collection[int]) -> dict[int, float]:
    """Rate -> points; 0: no limit, the widest."""
    if len(rates) == 1:
        return dict.fromkeys(rates, 1.4)
    most = max(rates)
    return {rate: 0.8 + 2 * math.log10(1 + 9 * rate / most) if rate else 3.4 for rate in rates}


def _legend(widths: dict[int, float], only_hosts: bool, broken: bool) -> list[Line2D]:
    def node(face: str, size: float, label: str) -> Line2D:
        return Line2D([], [], marker="o", ls="", ms=points(size), mfc=face, mec=INK, label=label)

    limited = sorted(rate for rate in widths if rate)
    shown = sorted({*limited[:1], *limited[-1:]})
    rates = {rate: EngFormatter("bit/s", sep=" ")(rate) for rate in shown} | ({0: "no limit"} if 0 in widths else {})
    if not shown:
        rates = {0: ""}
    return [
        node(GROUPS[0], 10, "node with hosts"),
        *(() if only_hosts else (node("white", 6.5, "node without"),)),
        *(
            Line2D([], [], color=MUTED, lw=points(widths[rate]), label=f"cable{', ' if words else ''}{words}")
            for rate, words in rates.items()
        ),
        *((Line2D([], [], color=FAIL, lw=points(1.4), ls=_DASHES, label="down at some time"),) if broken else ()),
    ]


def _words(node: str, hosts: list[str]) -> str:
    named = hosts if hosts != [node] else []
    return f"{node}: {', '.join(named[:3])}{' …' if len(named) > 3 else ''}" if named else node

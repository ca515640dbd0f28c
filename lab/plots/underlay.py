"""A picture of the topology under the hosts: nodes, cables, and where hosts sit."""

import math

import networkx as nx
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure as Canvas

from lab.checkers.run import RecordedRun
from lab.figures.underlay import cables_of, places_of
from lab.plots.labels import place_labels
from lab.plots.style import FAIL, GROUPS, INK, MUTED, canvas, points
from lab.words import count

__all__ = ["underlay"]

_NAMED = 64
"""Maximum number of nodes with names; above it only those with hosts have names."""


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
    rates = [edge.get("rate") or 0 for edge in cables.values()]
    figure = canvas(6.2, wide=True)
    axes = figure.subplots()
    for (one, other), rate in zip(cables, rates, strict=True):
        down = frozenset((one, other)) in broken
        width = 1.4 if min(rates) == max(rates) else 0.8 + 2 * math.log10(1 + 9 * rate / max(rates))
        line = [(tuple(spots[one]), tuple(spots[other]))]
        style = (0, (3, 2)) if down else "-"
        colour = FAIL if down else MUTED
        axes.add_collection(LineCollection(line, colors=colour, linewidths=points(width), linestyles=style, zorder=1))
    for node, hosts in places.items():
        x, y = spots[node]
        size = points(points(110 if hosts else 45))
        axes.scatter([x], [y], s=size, color=GROUPS[0] if hosts else "white", edgecolor=INK, zorder=3)
    axes.set_axis_off()
    axes.margins(0.1)
    axes.autoscale_view()
    names = {node: _words(node, hosts) for node, hosts in places.items() if hosts or len(places) <= _NAMED}
    first = sorted(names, key=lambda node: not places[node])  # hosts get a place before others
    left = place_labels(axes, {node: tuple(spots[node]) for node in places}, {node: names[node] for node in first})
    if left:
        axes.text(1, 0, f"{count(left, 'name')} left out", transform=axes.transAxes, ha="right", fontsize="x-small",
                  color=MUTED)  # fmt: skip
    return figure


def _words(node: str, hosts: list[str]) -> str:
    named = hosts if hosts != [node] else []
    return f"{node}: {', '.join(named[:3])}{' …' if len(named) > 3 else ''}" if named else node

"""The overlay's mesh in the peers' views, before, during and after the first fault (or at the end)."""

import math

import networkx as nx
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from lab.checkers.run import RecordedRun
from lab.figures.topology import mesh_edges, mesh_moments, views_at
from lab.plots.style import BAND, GROUPS, INK, MUTED, canvas

__all__ = ["topology"]

_NAMED = 24
"""Maximum number of hosts with names."""


def _layout(run: RecordedRun, hosts: list[str], edges: dict[tuple[str, str], int]) -> dict[str, tuple[float, float]]:
    """One layout for all moments: a circle for few hosts, a spring layout for many."""
    if len(hosts) == 1:
        return {hosts[0]: (0.0, 0.0)}
    if len(hosts) == 2:
        return {hosts[0]: (-0.5, 0.0), hosts[1]: (0.5, 0.0)}
    graph = nx.Graph()
    graph.add_nodes_from(hosts)
    graph.add_edges_from(edges)
    if len(hosts) <= _NAMED:
        order = {host: 2 * math.pi * index / len(hosts) for index, host in enumerate(hosts)}
        return {host: (math.sin(angle), math.cos(angle)) for host, angle in order.items()}
    placed = nx.spring_layout(graph, seed=1, iterations=80, k=2.2 / math.sqrt(len(hosts)))
    return {host: (float(x), float(y)) for host, (x, y) in placed.items()}


def _draw(axes: Axes, run: RecordedRun, t: int, places: dict[str, tuple[float, float]]) -> None:
    views = views_at(run, t)
    edges = {pair: count for pair, count in mesh_edges(views).items() if pair[0] in places and pair[1] in places}
    epoch = run.epoch(t)
    groups = epoch.groups if epoch else ()
    colour = {host: GROUPS[index % len(GROUPS)] for index, group in enumerate(groups) for host in group}
    few = len(places) <= _NAMED
    size = max(0.03, min(0.12, 0.62 / len(places)))
    for both in (True, False):
        lines = [(places[one], places[other]) for (one, other), seen in sorted(edges.items()) if (seen == 2) == both]
        if lines:
            axes.add_collection(
                LineCollection(
                    lines,
                    colors=INK if both else BAND,
                    linewidths=1.8 if few else 0.6,
                    linestyles="-" if both else (0, (3, 2)),
                    alpha=0.75 if few else 0.4,
                    zorder=1,
                ),
                autolim=False,
            )
    replicas: dict[str, list[str]] = {}
    for name, host in sorted((epoch.replicas if epoch else {}).items()):
        replicas.setdefault(host, []).append(name)
    for host, (x, y) in places.items():
        alive = host in views or not run.views
        face = colour.get(host, "#b5bdc5") if alive else "white"
        for index, name in enumerate(replicas.get(host, [])[:12]):
            # Containers are on a small arc on the outer side of their host.
            outward = math.atan2(y, x) if (x, y) != (0.0, 0.0) else math.pi / 2
            spread = math.pi / 3.4 if few else math.pi / 8
            angle = outward + (index - (min(len(replicas[host]), 12) - 1) / 2) * spread
            cx, cy = x + 2.35 * size * math.cos(angle), y + 2.35 * size * math.sin(angle)
            axes.plot((x, cx), (y, cy), color=MUTED, lw=0.8, zorder=1)
            axes.scatter([cx], [cy], s=(38 if few else 6), color=face, edgecolor="white", lw=0.8, zorder=3)
            if few and len(places) <= 8:
                right = math.cos(angle) >= -0.01
                axes.annotate(
                    name,
                    (cx, cy),
                    xytext=(6 if right else -6, 0),
                    textcoords="offset points",
                    ha="left" if right else "right",
                    va="center",
                    fontsize=8,
                    color=MUTED,
                )
        axes.scatter(
            [x],
            [y],
            s=(560 if few else 40),
            color=face,
            edgecolor=face if alive else "#b5bdc5",
            lw=1.5,
            zorder=4,
            linestyle="-" if alive else "--",
        )
        if few:
            label = host.split(".")[0]
            # Towards the middle, because the containers are on the outer side.
            inward = y < -0.3
            axes.annotate(
                label if alive else f"{label} (down)",
                (x, y),
                xytext=(0, 17 if inward else -17),
                textcoords="offset points",
                ha="center",
                va="bottom" if inward else "top",
                fontsize=9,
                color=INK,
                zorder=5,
                bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.85},
            )


def topology(run: RecordedRun) -> Canvas | None:
    """Hosts, their connections and containers; hosts that can reach each other have one colour."""
    hosts = [host for host in run.hosts if run.views or host]
    if not hosts:
        return None
    moments = mesh_moments(run)
    everything: dict[tuple[str, str], int] = {}
    for _, t in moments:
        everything.update(mesh_edges(views_at(run, t)))
    places = _layout(run, hosts, everything)
    figure = canvas(11, 2.5 if len(hosts) <= 2 else 4.3)
    panels = figure.subplots(1, max(len(moments), 1), squeeze=False)[0]
    for axes, (title, t) in zip(panels, moments, strict=True):
        _draw(axes, run, t, places)
        axes.set_title(title, fontsize=9.5, color=MUTED)
        axes.set_axis_off()
        axes.set_xlim(*((-1.15, 1.15) if len(hosts) <= 2 else (-1.55, 1.55)))
        axes.set_ylim((-0.55, 0.5) if len(hosts) <= 2 else (-1.5, 1.5))
        axes.set_aspect("equal")
    figure.legend(
        handles=[
            Line2D([], [], color=INK, lw=1.8, label="connection, both peers agree"),
            Line2D([], [], color=BAND, lw=1.8, ls=(0, (3, 2)), label="only one peer says so"),
            Line2D([], [], color=MUTED, marker="o", ls="", ms=12, label="host"),
            Line2D([], [], color=MUTED, marker="o", ls="", ms=6, label="container"),
        ],
        loc="outside lower right",
        ncols=4,
    )
    return figure

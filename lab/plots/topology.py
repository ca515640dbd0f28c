"""The overlay's mesh in the peers' views, before, during and after the first fault (or at the end): each host and each
connection, or groups of hosts if there are many (`lab.plots.mesh_groups`)."""

import math

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from lab.checkers.run import RecordedRun
from lab.figures.mesh_groups import GROUPED_ABOVE
from lab.figures.topology import mesh_edges, mesh_moments, views_at
from lab.plots.mesh_groups import by_groups
from lab.plots.style import BAND, GROUPS, INK, MUTED, canvas, points

__all__ = ["topology"]

_WITH_NAMES = 8
"""Maximum number of hosts with names of their containers."""
_LONGEST = 16
_DOWN = "#b5bdc5"
Places = dict[str, tuple[float, float]]


def topology(run: RecordedRun) -> Canvas | None:
    """Hosts, their connections and containers; hosts that can reach each other have one colour."""
    hosts = [host for host in run.hosts if run.views or host]
    if not hosts:
        return None
    if len(hosts) > GROUPED_ABOVE:
        return by_groups(run)
    moments = mesh_moments(run)
    places = _layout(hosts)
    low = len(hosts) <= 2
    figure = canvas(2.5 if low else 4.4, wide=True)
    panels = figure.subplots(1, len(moments), squeeze=False)[0]
    for axes, (title, t) in zip(panels, moments, strict=True):
        axes.set_xlim(*((-1.15, 1.15) if low else (-1.95, 1.95)))
        axes.set_ylim((-0.55, 0.5) if low else (-1.95, 1.95))
        axes.set_aspect("equal")
        _draw(axes, run, t, places)
        axes.set_title(title, fontsize="medium", color=MUTED)
        axes.set_axis_off()
    figure.legend(
        handles=[
            Line2D([], [], color=INK, lw=points(1.8), label="connection, both peers agree"),
            Line2D([], [], color=BAND, lw=points(1.8), ls=(0, (3, 2)), label="only one peer says so"),
            Line2D([], [], color=MUTED, marker="o", ls="", ms=points(12), label="host"),
            Line2D([], [], color=MUTED, marker="o", ls="", ms=points(6), label="container"),
        ],
        loc="outside lower right",
        ncols=4,
    )
    return figure


def _layout(hosts: list[str]) -> Places:
    """One layout for all moments: a circle."""
    if len(hosts) == 1:
        return {hosts[0]: (0.0, 0.0)}
    if len(hosts) == 2:
        return {hosts[0]: (-0.5, 0.0), hosts[1]: (0.5, 0.0)}
    order = {host: 2 * math.pi * index / len(hosts) for index, host in enumerate(hosts)}
    return {host: (math.sin(angle), math.cos(angle)) for host, angle in order.items()}


def _draw(axes: Axes, run: RecordedRun, t: int, places: Places) -> None:
    views = views_at(run, t)
    edges = {pair: count for pair, count in mesh_edges(views).items() if pair[0] in places and pair[1] in places}
    epoch = run.epoch(t)
    groups = epoch.groups if epoch else ()
    colour = {host: GROUPS[index % len(GROUPS)] for index, group in enumerate(groups) for host in group}
    # Neighbours on the circle never touch.
    size = 0.11 if len(places) <= 2 else min(0.17, 0.62 * math.sin(math.pi / len(places)))
    for both in (True, False):
        lines = [(places[one], places[other]) for (one, other), seen in sorted(edges.items()) if (seen == 2) == both]
        if lines:
            axes.add_collection(
                LineCollection(
                    lines,
                    colors=INK if both else BAND,
                    linewidths=points(1.8 if len(places) <= _WITH_NAMES else 0.9),
                    linestyles="-" if both else (0, (3, 2)),
                    alpha=0.75 if len(places) <= _WITH_NAMES else 0.5,
                    zorder=1,
                ),
                autolim=False,
            )
    replicas: dict[str, list[str]] = {}
    for name, host in sorted((epoch.replicas if epoch else {}).items()):
        replicas.setdefault(host, []).append(name)
    for host, place in places.items():
        alive = host in views or not run.views
        face = colour.get(host, _DOWN) if alive else "white"
        axes.add_patch(
            Circle(place, size, fc=face, ec=face if alive else _DOWN, lw=points(1.5), ls="-" if alive else "--",
                   zorder=4)
        )  # fmt: skip
        outward = math.atan2(place[1], place[0]) if place != (0.0, 0.0) else math.pi / 2
        _containers(axes, place, outward, size, face, replicas.get(host, []), few=len(places) <= _WITH_NAMES)
        label = _short(host.split(".")[0]) + ("" if alive else " (down)")
        if len(places) <= _WITH_NAMES:
            _name_inside(axes, place, size, label, ring=len(places) > 2)
        else:
            _name_outside(axes, place, outward, size, label)


def _containers(
    axes: Axes, place: tuple[float, float], outward: float, size: float, face: str, names: list[str], *, few: bool
) -> None:
    """Dots on a small arc on the outer side of the host; with names where there is room."""
    shown = names[:12]
    distance = 2.35 * size if few else 1.75 * size
    spread = math.pi / 3.4 if few else min(math.pi / 4, math.pi / max(len(shown), 1))
    for index, name in enumerate(shown):
        angle = outward + (index - (len(shown) - 1) / 2) * spread
        x, y = place[0] + distance * math.cos(angle), place[1] + distance * math.sin(angle)
        axes.plot((place[0], x), (place[1], y), color=MUTED, lw=points(0.8), zorder=1)
        axes.add_patch(Circle((x, y), (0.3 if few else 0.24) * size, fc=face, ec="white", lw=points(0.8), zorder=3))
        if not few:
            continue
        right = math.cos(angle) >= -0.01
        axes.annotate(
            _short(name),
            (x, y),
            xytext=(points(7 if right else -7), 0),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            fontsize="small",
            color=MUTED,
        )


def _name_inside(axes: Axes, place: tuple[float, float], size: float, label: str, *, ring: bool) -> None:
    """On the inner side of the host, because the containers are on the outer one."""
    below = not ring or place[1] > 0.3
    beside = ring and abs(place[1]) <= 0.3
    x = place[0] + (0 if not beside else (-1.35 if place[0] > 0 else 1.35) * size)
    y = place[1] + (0 if beside else (-1.35 if below else 1.35) * size)
    axes.text(
        x, y, label, ha="center" if not beside else "right" if place[0] > 0 else "left",
        va="center" if beside else "top" if below else "bottom", fontsize="small", color=INK, zorder=5,
        bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.85},
    )  # fmt: skip


def _name_outside(axes: Axes, place: tuple[float, float], outward: float, size: float, label: str) -> None:
    """Along the radius, so that names of neighbours never meet."""
    distance = 1 + 2.2 * size
    degrees = math.degrees(outward)
    left = abs(degrees) > 90.01
    axes.text(
        distance * math.cos(outward), distance * math.sin(outward), label, rotation=degrees + 180 if left else degrees,
        rotation_mode="anchor", ha="right" if left else "left", va="center", fontsize="small", color=INK, zorder=5,
    )  # fmt: skip


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"

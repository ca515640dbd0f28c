"""The overlay's mesh in the peers' views, before, during and after the first fault (or at the end): as text and as a
table.
"""

from typing import Any

from lab.checkers.run import RecordedRun
from lab.figures.told import Told, seconds, table
from lab.records.history import View
from lab.words import count, natural

__all__ = ["mesh_edges", "mesh_moments", "topology", "views_at"]


def views_at(run: RecordedRun, t: int) -> dict[str, View]:
    """The view of each live peer at a time."""
    views: dict[str, View] = {}
    for host, history in run.views.items():
        last = next((entry for entry in reversed(history) if entry.t <= t), None)
        if isinstance(last, View):
            views[host] = last
    return views


def mesh_edges(views: dict[str, View]) -> dict[tuple[str, str], int]:
    """(host, host), sorted -> 2 if both report the connection as established, 1 if only one does."""
    edges: dict[tuple[str, str], int] = {}
    for host in sorted(views):
        for other in views[host].neighbours:
            pair = (min(host, other), max(host, other))
            edges[pair] = edges.get(pair, 0) + 1
    return edges


def mesh_moments(run: RecordedRun) -> list[tuple[str, int]]:
    """(title, time): just before the first fault, just before it was healed, and at the end."""
    last = min(run.end, run.stop - 1)
    if not run.bands:
        return [(f"at the end · {seconds(last):.1f} s", last)]
    band = run.bands[0]
    moments = [
        (f"before · {seconds(band.start):.1f} s", band.start - 1),
        (f"during · {seconds(band.end):.1f} s", band.end - 1),
    ]
    if band.healed:
        moments.append((f"after · {seconds(last):.1f} s", last))
    return moments


def topology(run: RecordedRun) -> Told | None:
    """The number of connections, and the connections."""
    hosts = set(run.hosts)
    if not hosts:
        return None
    data: list[tuple[Any, ...]] = []
    counts: list[int] = []
    for when, t in mesh_moments(run):
        edges = {pair: seen for pair, seen in mesh_edges(views_at(run, t)).items() if hosts.issuperset(pair)}
        counts.append(sum(seen == 2 for seen in edges.values()))
        data += [
            (when.split(" · ")[0], f"{seconds(t):.3f}", *pair, "both" if seen == 2 else "one")
            for pair, seen in sorted(edges.items(), key=lambda edge: [natural(host) for host in edge[0]])
        ]
    if not run.views:
        title = f"{count(len(hosts), 'host')}; this overlay has no peers that connect"
    elif len(counts) == 1:
        title = f"{count(counts[0], 'connection')} between {count(len(hosts), 'host')}"
    else:
        healed = run.bands[0].healed
        words = ("before the fault", "just before it was healed" if healed else "when the record ends", "at the end")
        title = "Connections: " + ", ".join(f"{n} {word}" for n, word in zip(counts, words, strict=False))
    return Told(
        name="topology",
        title=title,
        caption="The mesh as the peers themselves reported it; hosts of one colour could reach each other at that "
        "moment, small dots are their containers; a mesh of more than 24 hosts is drawn by groups that were never cut "
        "apart, with the number of connections between them.",
        csv=table(("when", "t_s", "host", "other", "seen_by"), data),
    )

"""A mesh of many hosts as a few cells: hosts that could always reach each other, and the connections counted. Pure.

Two hosts share a cell if at every moment of the figure they are in the same group of hosts that can reach each other,
or both are down. So cells stay the same from moment to moment, and a picture has room for them where it has none for
each host and each connection.
"""

from collections import Counter

from msgspec import Struct

from lab.checkers.run import RecordedRun
from lab.figures.topology import mesh_edges, mesh_moments, views_at
from lab.words import count

__all__ = ["GROUPED_ABOVE", "MeshCell", "MeshMoment", "mesh_cells", "mesh_counts"]

GROUPED_ABOVE = 24
"""Number of hosts above which a mesh is drawn by groups."""
_MOST = 12
"""Maximum number of cells; the smallest ones are put together into one."""


class MeshCell(Struct, frozen=True):
    """Hosts that were always together."""

    hosts: tuple[str, ...]
    mixed: bool = False
    """They were not together, only too small to be shown one by one."""

    @property
    def name(self) -> str:
        """Its hosts in a few words."""
        if self.mixed:
            return count(len(self.hosts), "other host")
        if len(self.hosts) <= 2:
            return ", ".join(self.hosts)
        return f"{self.hosts[0]} … {self.hosts[-1]}"


class MeshMoment(Struct, frozen=True):
    """The counts of one moment."""

    title: str
    group: tuple[int | None, ...]
    """Cell -> the group that it was in; None: down, or its hosts were not together."""
    inside: tuple[int, ...]
    """Cell -> connections between its hosts."""
    between: dict[tuple[int, int], int]
    """Two cells -> connections between their hosts."""
    onesided: dict[tuple[int, int], int]
    """Two cells, or one twice -> connections of which only one peer knows."""
    containers: tuple[int, ...]


def mesh_cells(run: RecordedRun) -> list[MeshCell]:
    """The cells of a run, in the order of their first hosts."""
    found: dict[tuple[int | None, ...], list[str]] = {}
    places = [_group_of(run, t) for _, t in mesh_moments(run)]
    for host in run.hosts:
        found.setdefault(tuple(group.get(host) for group in places), []).append(host)
    cells = [MeshCell(tuple(hosts)) for hosts in found.values()]
    if len(cells) <= _MOST:
        return cells
    kept = set(sorted(range(len(cells)), key=lambda index: -len(cells[index].hosts))[: _MOST - 1])
    rest = tuple(host for index, cell in enumerate(cells) if index not in kept for host in cell.hosts)
    return [*(cell for index, cell in enumerate(cells) if index in kept), MeshCell(rest, mixed=True)]


def mesh_counts(run: RecordedRun, cells: list[MeshCell]) -> list[MeshMoment]:
    """The counts of each moment of the figure."""
    cell_of = {host: index for index, cell in enumerate(cells) for host in cell.hosts}
    return [_counts(run, cells, cell_of, title, t) for title, t in mesh_moments(run)]


def _counts(run: RecordedRun, cells: list[MeshCell], cell_of: dict[str, int], title: str, t: int) -> MeshMoment:
    groups, epoch = _group_of(run, t), run.epoch(t)
    both: Counter[tuple[int, int]] = Counter()
    one: Counter[tuple[int, int]] = Counter()
    for pair, seen in mesh_edges(views_at(run, t)).items():
        if pair[0] in cell_of and pair[1] in cell_of:
            ends = sorted(cell_of[host] for host in pair)
            (both if seen == 2 else one)[ends[0], ends[1]] += 1
    running = Counter(cell_of.get(host) for host in (epoch.replicas if epoch else {}).values())
    return MeshMoment(
        title=title,
        group=tuple(None if cell.mixed else groups.get(cell.hosts[0]) for cell in cells),
        inside=tuple(both[index, index] for index in range(len(cells))),
        between={ends: number for ends, number in sorted(both.items()) if ends[0] != ends[1]},
        onesided=dict(sorted(one.items())),
        containers=tuple(running[index] for index in range(len(cells))),
    )


def _group_of(run: RecordedRun, t: int) -> dict[str, int]:
    """Host -> index of its group, for hosts that are up."""
    views, epoch = views_at(run, t), run.epoch(t)
    groups = epoch.groups if epoch else ()
    return {host: index for index, group in enumerate(groups) for host in group if host in views or not run.views}

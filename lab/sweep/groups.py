"""The points of a sweep grouped by assignment: the input of figures, page and comparison. Pure.

Owns how a metric of runs becomes a `CensoredSample`, and the display order of events, metrics and assignments.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from lab.checkers.world import HEAL
from lab.kinds.verbs import verb_of
from lab.sweep.grid import Assignment
from lab.sweep.measure import BACK, TIMES, Point
from lab.sweep.statistics import CensoredSample

__all__ = [
    "FIGURE_OF",
    "TRAFFIC",
    "Group",
    "events_of",
    "figures_of",
    "floor_of",
    "grouped",
    "headline",
    "metrics_of",
    "number",
    "principal",
    "sample_of",
    "settling",
    "short",
    "varying",
    "waited",
]

FIGURE_OF = "figure"
"""In place of an event: the figures of a protocol, such as `figure:rmr_mean`."""
TRAFFIC = ("bytes_per_peer", "messages_per_peer")
"""Traffic counters, for each run and after each event."""


class Group(Struct, frozen=True, kw_only=True):
    """All runs of one assignment, in the order of their seeds."""

    assignment: Assignment
    points: tuple[Point, ...]

    @property
    def label(self) -> str:
        """The assignment in words; empty without parameters."""
        return ", ".join(f"{short(path)} {value}" for path, value in self.assignment)


def short(path: str) -> str:
    """A parameter's name without its prefix, for legends: `topology.hosts` becomes `hosts`."""
    return path.rpartition(".")[2].replace("_", " ")


def grouped(points: Iterable[Point]) -> list[Group]:
    """Points of runs that were carried out, by assignment, in order of first occurrence."""
    found: dict[Assignment, list[Point]] = {}
    for point in points:
        if not point.failed:
            found.setdefault(tuple(point.parameters.items()), []).append(point)
    return [Group(assignment=key, points=tuple(mine)) for key, mine in found.items()]


def events_of(groups: Iterable[Group]) -> list[str]:
    """Names of all events, in the order of the runs."""
    longest: dict[str, None] = {}
    runs = sorted((point for group in groups for point in group.points), key=lambda point: -len(point.events))
    for point in runs:
        longest |= dict.fromkeys(event.name for event in point.events)
    return list(longest)


def settling(groups: Sequence[Group]) -> list[str]:
    """The events after which a metric ever settled, in order: an event that the next step always cuts short shows
    nothing."""
    return [
        event
        for event in events_of(groups)
        if any(
            sample_of(group.points, event, metric).reached.any()
            for group in groups
            for metric in metrics_of(groups, event)
        )
    ]


def headline(events: Sequence[str]) -> str:
    """The event that a sweep is most likely about: the first heal or return, otherwise the last change."""
    for name in (HEAL, BACK):
        if name in events:
            return name
    later = [name for name in events if name != "up" and verb_of(name).setup != "up"]
    return (later or list(events) or [""])[-1]


def sample_of(points: Iterable[Point], event: str, metric: str) -> CensoredSample:
    """A metric of an event (times in seconds; bytes and messages as counted) over runs; runs without it are left out.

    An empty `event` means the whole run, for which there are only traffic metrics; `figure` means a protocol's figures.
    """
    found = [each for point in points for each in _values(point, event, metric)]
    values, reached, after = ([each[part] for each in found] for part in range(3))
    return CensoredSample(values, [bool(each) for each in reached], after)


def _values(point: Point, event: str, metric: str) -> Iterable[tuple[float, bool, float]]:
    """(time or count, whether it was reached, its lower bound)."""
    if not event:
        counted = getattr(point, metric) if metric in TRAFFIC else None
        return [(float(counted), True, float(counted))] if counted is not None else []
    if event == FIGURE_OF:
        value = point.figures.get(metric)
        return [(value, True, value)] if value is not None else []
    found = next((one for one in point.events if one.name == event), None)
    if found is None:
        return []
    if metric in TRAFFIC:
        counted = getattr(found, metric)
        return [(float(counted), True, float(counted))] if counted is not None else []
    if metric not in found.times:
        return []
    took = found.times[metric]
    after = found.after.get(metric, found.window if took is None else took) / 1e9
    return [(after, False, after) if took is None else (took / 1e9, True, after)]


def principal(groups: Sequence[Group], event: str) -> str:
    """The representative time of an event: that of half of the disturbed pairs, or `overall` if no pair is probed.

    The latest of many probes depends more on the number of probes and their interval than on the overlay.
    """
    there = metrics_of(groups, event)
    return "half" if "half" in there else "overall"


def floor_of(groups: Iterable[Group], event: str, metric: str) -> float:
    """Seconds below which a time cannot be measured: the maximum over the runs; 0 if times are exact."""
    return max((one.floor.get(metric, 0) for group in groups for point in group.points for one in point.events
                if one.name == event), default=0) / 1e9  # fmt: skip


def waited(groups: Iterable[Group], event: str) -> bool:
    """Whether times after an event were cut short by a step that waited for them."""
    return any(
        one.waited and None in one.times.values()
        for group in groups for point in group.points for one in point.events if one.name == event
    )  # fmt: skip


def metrics_of(groups: Iterable[Group], event: str) -> list[str]:
    """The times that any run has for an event, the representative one first."""
    there = {metric for group in groups for point in group.points for one in point.events if one.name == event
             for metric in one.times}  # fmt: skip
    return [metric for metric in dict.fromkeys(("half", "overall", *TIMES)) if metric in there]


def figures_of(groups: Iterable[Group]) -> list[str]:
    """The figures of a protocol that any run has, in their order."""
    return list(dict.fromkeys(name for group in groups for point in group.points for name in point.figures))


def varying(groups: Sequence[Group]) -> dict[str, list[str]]:
    """Parameters with more than one value: path -> values in order."""
    values: dict[str, dict[str, None]] = {}
    for group in groups:
        for path, value in group.assignment:
            values.setdefault(path, {})[value] = None
    return {path: list(found) for path, found in values.items() if len(found) > 1}


_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SCALES = _UNITS | {"%": 0.01, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9, "bit": 1.0, "": 1.0}


def number(text: str) -> float | None:
    """A parameter's value as a number, for axes: `16`, `500ms` (seconds), `1%`, `10mbit`; None if it is
    not a number."""
    head = text.rstrip("abcdefghijklmnopqrstuvwxyzµ%")
    try:
        return float(head) * _SCALES[text[len(head) :]]
    except (ValueError, KeyError):
        return None

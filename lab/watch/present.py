"""The current state of the lab according to its history, record by record: hosts, pairs, events. Pure.

`lab.checkers.world` and `.convergence` decide what should be true, and judge tries, as in the runner; this module adds
data for viewers: the last try of each pair, the last events in words, recent latencies.
"""

from collections import deque
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from lab.checkers.convergence import ConvergenceTracker
from lab.checkers.run import nearest_rank
from lab.checkers.world import ExpectedState, SeriesKey, label_of, series_of
from lab.kinds.probes import asks_name
from lab.kinds.verbs import verb_of
from lab.records.history import AnyRecord, Event, Meta, Sample
from lab.words import natural

__all__ = ["CELLS", "Cell", "HostRow", "Present", "SeenEvent"]

Cell = Literal["ok", "cut", "bad", "leak", "none"]
CELLS: dict[Cell, tuple[str, str]] = {
    "ok": ("+", "answers"),
    "cut": ("-", "cannot answer, as expected"),
    "bad": ("!", "should answer, and does not"),
    "leak": ("?", "answers, and should not"),
    "none": (".", "not asked"),
}
"""State of a pair -> (sign that is readable without colour, explanation)."""
_EVENTS = 200
_LATENCIES = 200


class HostRow(Struct, frozen=True):
    """A host as one row."""

    name: str
    state: Literal["up", "down", "no peer"]
    group: int
    """Hosts with the same number can reach each other; -1: down."""
    neighbours: tuple[str, ...]
    share: float
    containers: tuple[str, ...]


class SeenEvent(Struct, frozen=True):
    """An event for display."""

    t: int
    text: str
    ok: bool | None
    by: str = ""


class Present:
    """The state, advanced by `feed`."""

    def __init__(self) -> None:
        self.tracker = ConvergenceTracker()
        self.meta: Meta | None = None
        self.now = 0
        self.events: deque[SeenEvent] = deque(maxlen=_EVENTS)
        self.happened = 0
        """Total number of events, including old ones that are no longer stored."""
        self.latest: dict[SeriesKey, Sample] = {}
        self._latencies: dict[str, deque[int]] = {}

    @property
    def world(self) -> ExpectedState:
        """The expected state now."""
        return self.tracker.world

    def feed(self, record: AnyRecord) -> None:
        """Take the next record of the history."""
        self.tracker.feed(record)
        self.now = max(self.now, record.t)
        match record:
            case Meta():
                self.meta = record
            case Sample() if record.error != "late":
                key = series_of(record)
                if key not in self.latest or self.latest[key].t <= record.t:
                    self.latest[key] = record
                if record.latency is not None:
                    self._latencies.setdefault(record.probe, deque(maxlen=_LATENCIES)).append(record.latency)
            case Event():
                self._event(record)

    def _event(self, event: Event) -> None:
        if event.phase == "start" and not verb_of(event.what).lasts:
            return  # its end event contains the result
        error = str(event.detail.get("error") or "")
        text = label_of(event) + (f": {error}" if error else "")
        self.happened += 1
        self.events.append(SeenEvent(event.t, text, event.ok, str(event.detail.get("by") or "")))

    def hosts(self) -> list[HostRow]:
        """All hosts, in the scenario's order."""
        world = self.world
        groups = {host: index for index, group in enumerate(world.groups) for host in group}
        placed: dict[str, list[str]] = {}
        for replica, host in world.replicas.items():
            placed.setdefault(host, []).append(replica)
        rows = []
        for host in dict.fromkeys((*world.hosts, *groups)):
            view = world.views.get(host)
            group = groups.get(host, -1)
            state: Literal["up", "down", "no peer"] = "up" if group >= 0 else "down"
            if state == "up" and world.has_views and view is None:
                state = "no peer"
            rows.append(
                HostRow(
                    host,
                    state,
                    group,
                    view.neighbours if view else (),
                    view.ring_share if view else 0.0,
                    tuple(sorted(placed.get(host, ()), key=natural)),
                )
            )
        return rows

    def matrix(self) -> tuple[list[str], dict[tuple[str, str], Cell]]:
        """(containers, state of each pair); the worst probe of a pair counts."""
        names = sorted({name for key in self.latest if not asks_name(key[0]) for name in key[1:]}, key=natural)
        names = [name for name in names if name in self.world.replicas] or names
        found: dict[tuple[str, str], Cell] = {}
        order: Sequence[Cell] = ("none", "ok", "cut", "leak", "bad")
        for key, sample in self.latest.items():
            probe, source, target = key
            if asks_name(probe) or source not in names or target not in names:
                continue
            should = self.world.should(key)
            cell: Cell = "none" if should is None else _CELL[sample.ok, should]
            found[source, target] = max(found.get((source, target), "none"), cell, key=order.index)
        return names, found

    def latencies(self) -> list[tuple[str, int, int]]:
        """(probe, median, 99th percentile) of the last tries of each kind, in nanoseconds."""
        rows = []
        for probe, taken in self._latencies.items():
            times = sorted(taken)
            rows.append((probe, nearest_rank(times, 50) or 0, nearest_rank(times, 99) or 0))
        return rows

    def agreement(self) -> str:
        """Whether all peers agree, or what is still missing."""
        state = self.tracker.state()
        return "converged" if state.converged else "; ".join(state.waiting[:2]) or "not converged"


_CELL: dict[tuple[bool, bool], Cell] = {
    (True, True): "ok",
    (False, False): "cut",
    (False, True): "bad",
    (True, False): "leak",
}

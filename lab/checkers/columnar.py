"""The checks of a long history, over columns (`lab.records.tries`): the same results as those over lists of samples.

Each function here is the fast form of one in another module, which names it and stays the reference; a test holds the
two equal. Imports numpy, so it is imported only for long histories.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lab.checkers.convergence import ConvergenceTracker
from lab.checkers.convergence.series import KEPT, JudgedSeries
from lab.checkers.outages import Outage
from lab.checkers.tries import CUT, LEAKED, MISSED, NOTHING, REACHED, WRONG
from lab.checkers.world import SeriesKey
from lab.kinds.probes import asks_name, is_open_loop
from lab.records.history import AnyRecord, Load, Sample, View
from lab.records.tries import PickedTries, SeriesTries, TryTable

if TYPE_CHECKING:
    from lab.checkers.run import RecordedRun

__all__ = [
    "duty_of", "follow", "interval_of", "measured_of", "outages_of", "outcomes_of", "rows_of", "sorted_latencies",
    "sorted_lateness", "sums_of", "suspicious_pairs", "wrong_tries",
]  # fmt: skip

_CHUNK = 4096
"""Tries that are looked at together."""
_NEVER = np.iinfo(np.int64).max
_UNKNOWN, _SILENT = -2, -1
"""A series that the tracker has not seen; one that is not judged."""


# Convergence


def follow(tracker: ConvergenceTracker, ordered: Sequence[tuple[int, AnyRecord]], table: TryTable, stop: int) -> None:
    """Feed a whole history to a tracker: what `ConvergenceTracker.feed` does record by record.

    A good try of a series that is good already changes nothing, so only the others are fed one by one. The good ones
    are remembered by their series before the next one that counts, and move the tracker's clock.
    """
    following = _Following(tracker, table, stop)
    before = 0
    for place, record in ordered:
        following.tries(before, place)
        before = place
        if record.t < stop:
            following.record(record)
    following.tries(before, len(table))


class _Following:
    """The state of `follow`."""

    def __init__(self, tracker: ConvergenceTracker, table: TryTable, stop: int) -> None:
        self._tracker, self._table, self._stop = tracker, table, stop
        self._done = table.done
        self._numbers = {key: number for number, key in enumerate(table.keys)}
        self._codes = {answer: code for code, answer in enumerate(table.answered)}
        self._expect = np.full(len(table.keys), _UNKNOWN, np.int8)
        self._since = np.full(len(table.keys), _NEVER, np.int64)
        """Series -> since when it has been good."""
        self._answer = np.full(len(table.keys), -1, np.int64)
        """Series of names -> code of the right answer; -1: any is right, -2: one that was never given."""
        self._stale = True
        self._objects: list[JudgedSeries | None] = [None] * len(table.keys)
        self._quiet = np.zeros(len(table), bool)
        """Good tries that were not fed, and may have to be remembered by their series."""
        self._bounds = np.searchsorted(table.series, np.arange(len(table.keys) + 1)).tolist()

    def record(self, record: AnyRecord) -> None:
        tracker = self._tracker
        world = tracker.world
        plain = isinstance(record, Load) or (
            isinstance(record, View) and record.host in world.launched and record.host not in world.gone
        )
        tracker.feed(record)
        self._stale = self._stale or not plain

    def tries(self, first: int, last: int) -> None:
        """The tries from `first` to `last` in written order."""
        for begin in range(first, last, _CHUNK):
            places = self._table.place[begin : min(begin + _CHUNK, last)]
            places = places[self._table.t[places] < self._stop]
            if len(places):
                self._chunk(places)

    def _chunk(self, places: NDArray[np.int32]) -> None:
        tracker, table = self._tracker, self._table
        done = self._done[places]
        since = tracker.since
        if since is None:
            tracker.pass_time(int(done.max()))
            return
        if self._stale:
            self._refresh()
        series = table.series[places]
        expect = self._expect[series]
        counts = (expect >= 0) & (table.t[places] >= since) & ~table.unsaid[places]
        ok, right = table.ok[places], self._answer[series]
        good = ok == (expect == 1)
        named = ok & (expect == 1) & (right != -1)
        good[named] = table.answers[places][named] == right[named]
        quiet = counts & good & (self._since[series] <= done)
        fed = (counts & ~quiet) | (expect == _UNKNOWN)
        if fed.any():
            # From the first try of a series that counts on, all of its tries in this chunk are fed one by one.
            begins = np.full(len(table.keys), len(places), np.int64)
            at = np.flatnonzero(fed)
            np.minimum.at(begins, series[at], at)
            slow = np.arange(len(places)) >= begins[series]
            quiet &= ~slow
            latest = np.maximum.accumulate(done)
            self._quiet[places[quiet]] = True
            fed_series = np.unique(series[slow]).tolist()
            for number in fed_series:
                self._recall(number)  # all of them are before the first one that is fed
            for position in np.flatnonzero(slow).tolist():
                if position:
                    tracker.pass_time(int(latest[position - 1]))
                tracker.feed(table.sample(int(places[position])))
            for number in fed_series:
                self._refresh_one(number)
        else:
            self._quiet[places[quiet]] = True
        tracker.pass_time(int(done.max()))

    def _recall(self, number: int) -> None:
        """Give a series the good tries that were not fed to it."""
        known = self._objects[number]
        first, last = self._bounds[number], self._bounds[number + 1]
        quiet = np.flatnonzero(self._quiet[first:last]) + first
        if known is None or not len(quiet):
            return
        self._quiet[first:last] = False
        quiet = quiet[np.argsort(self._table.order[quiet])][-KEPT:]
        known.goods.extend(zip(self._table.t[quiet].tolist(), self._done[quiet].tolist(), strict=True))

    def _refresh(self) -> None:
        for number in range(len(self._table.keys)):
            self._refresh_one(number)
        self._stale = False

    def _refresh_one(self, number: int) -> None:
        key = self._table.keys[number]
        found = self._tracker.known_series(key)
        if found is not self._objects[number]:
            # A series that begins again remembers nothing.
            self._objects[number] = found
            self._quiet[self._bounds[number] : self._bounds[number + 1]] = False
        if found is None:
            self._expect[number] = _UNKNOWN
            return
        self._expect[number] = _SILENT if found.should is None else int(found.should)
        self._since[number] = _NEVER if found.good_since is None else found.good_since
        if found.should and asks_name(key[0]):
            answer = self._tracker.world.should_answer(key[1], key[2])
            self._answer[number] = -1 if answer is None else self._codes.get(answer, -2)


# What each try was


def duty_of(run: "RecordedRun", key: SeriesKey, due: NDArray[np.int64]) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """(whether each try should have succeeded: 1, 0, -1 unknown; number of its epoch, -1 before the first)."""
    starts = np.array([epoch.start for epoch in run.epochs], np.int64)
    should = np.array([-1, *(_number(epoch.should.get(key)) for epoch in run.epochs)], np.int8)
    epochs = np.searchsorted(starts, due, side="right") - 1
    return should[epochs + 1], epochs


def _number(should: bool | None) -> int:
    return -1 if should is None else int(should)


def outcomes_of(run: "RecordedRun", key: SeriesKey, tries: SeriesTries) -> NDArray[np.int8]:
    """See `lab.checkers.tries.outcomes`."""
    should, epochs = duty_of(run, key, tries.t)
    table = tries.table
    ok = tries.ok
    states = np.where(ok, REACHED, MISSED).astype(np.int8)
    states[ok & (should == 0)] = LEAKED
    states[~ok & (should == 0)] = CUT
    if asks_name(key[0]):
        codes = {answer: code for code, answer in enumerate(table.answered)}
        expected = [epoch.answers.get(key) for epoch in run.epochs]
        rights = [-1, *(-1 if each is None else codes.get(each, -2) for each in expected)]
        right = np.array(rights, np.int64)[epochs + 1]
        answered = table.answers[tries.start : tries.stop]
        named = ok & (right != -1)
        states[named] = np.where(answered[named] == right[named], REACHED, WRONG)
    states[tries.unsaid] = NOTHING
    return states


# Rows of failures


def rows_of(wrong: NDArray[np.bool_], says: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.int64], int | None]]:
    """See `lab.checkers.outages.in_rows`: (places of the tries of a row, place of the try that ended it)."""
    said = np.flatnonzero(says)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], wrong[said], [False]]).astype(np.int8)))
    for first, last in edges.reshape(-1, 2).tolist():
        yield said[first:last], int(said[last]) if last < len(said) else None


def outages_of(series: SeriesKey, tries: SeriesTries, *, end: int, stop: int) -> list[Outage]:
    """See `lab.checkers.outages.outages`."""
    says = (tries.t < stop) & ~tries.unsaid
    found = []
    for row, back in rows_of(~tries.ok, says):
        ended = None if back is None else tries[back]
        found.append(
            Outage(
                series=series,
                start=int(tries.t[row[0]]),
                end=min(end, stop) if ended is None else ended.t + ended.late + (ended.latency or 0),
                tries=PickedTries(tries.table, row + tries.start),
                ended=ended is not None,
            )
        )
    return found


def wrong_tries(
    run: "RecordedRun",
    key: SeriesKey,
    tries: SeriesTries,
    under_way: list[tuple[int, int]],
    edges: list[int],
    lasting: list[tuple[int, int]],
) -> tuple[int, int, list[Sequence[Sample]], int]:
    """(judged, unjudged, rows of wrong tries, wrong) of a series; see `lab.checkers.reachability`."""
    due = tries.t
    should, _ = duty_of(run, key, due)
    known = (should >= 0) & ~tries.unsaid
    good = tries.ok == (should == 1)
    begins = np.array([start for start, _ in under_way], np.int64)
    ends = np.array([-1, *(end for _, end in under_way)], np.int64)
    place = np.searchsorted(begins, due, side="right")
    settled = known & ((place == 0) | (due > ends[place]))
    doubted = settled & ~good
    if doubted.any():
        at = np.flatnonzero(doubted)
        took = tries.late[at].astype(np.int64) + tries.latency[at]
        over = due[at] + np.where(tries.latency[at] < 0, run.timeout(key[0]), took)
        changes = np.array([*edges, _NEVER], np.int64)
        settled[at[changes[np.searchsorted(changes, due[at])] < over]] = False
    wrong = settled & ~good
    late = np.zeros(len(due), bool)
    for start, end in lasting:
        late |= (start < due) & (due < end)
    rows: list[Sequence[Sample]] = [
        PickedTries(tries.table, row + tries.start) for row, _ in rows_of(wrong, ~tries.unsaid)
    ]
    return int(settled.sum()), int((known & ~settled & late).sum()), rows, int(wrong.sum())


# Schedule


def interval_of(tries: SeriesTries) -> int:
    """See `lab.checkers.schedule.interval`."""
    distances, counts = np.unique(np.diff(tries.t), return_counts=True)
    return int(distances[np.argmax(counts)]) if len(distances) else 0


def suspicious_pairs(tries: SeriesTries, every: int, tolerance: int) -> Iterator[tuple[Sample, Sample]]:
    """Neighbouring tries that are not one interval apart."""
    distance = np.diff(tries.t)
    missing = np.rint(distance / every).astype(np.int64) - 1
    for place in np.flatnonzero((missing > 0) | (abs(distance - (missing + 1) * every) > tolerance)).tolist():
        yield tries[place], tries[place + 1]


# Sums


def sorted_latencies(series: Iterable[SeriesTries]) -> Any:
    """The latencies of all successful tries, sorted, as an `array` of integers."""
    parts = [each.latency[each.ok & (each.latency >= 0)] for each in series]
    joined = np.concatenate(parts) if parts else np.empty(0, np.int64)
    joined.sort()
    return array("q", joined.astype(np.int64).tobytes())


def sorted_lateness(series: Iterable[SeriesTries]) -> Any:
    """How late all tries were, sorted, as an `array` of integers."""
    parts = [each.late for each in series]
    joined = np.concatenate(parts) if parts else np.empty(0, np.int64)
    joined.sort()
    return array("q", joined.astype(np.int64).tobytes())


def _nearest_rank(values: Sequence[int], percentile: int) -> int | None:
    from lab.checkers.run import nearest_rank  # which imports this module when it needs it

    return nearest_rank(values, percentile)


def sums_of(run: "RecordedRun", kind: str) -> dict[str, Any]:
    """The numbers of `lab.report.summary` on all tries of a kind of probe."""
    series = [run.columns(key) for key in run.series if key[0] == kind]
    errors = series[0].table.errors
    times = run.latencies(kind)
    found: dict[str, Any] = {
        "series": len(series),
        "tries": sum(map(len, series)),
        "late": sum(int(each.unsaid.sum()) for each in series),
        "ok": sum(int(each.ok.sum()) for each in series),
        "p50": _nearest_rank(times, 50),
        "p95": _nearest_rank(times, 95),
        "p99": _nearest_rank(times, 99),
    }
    if is_open_loop(kind):
        found["late_p99"] = _nearest_rank(sorted_lateness(series), 99)
        unsent = errors.index("unsent") if "unsent" in errors else -1
        found["unsent"] = sum(int((each.table.error[each.start : each.stop] == unsent).sum()) for each in series)
    return found


def measured_of(run: "RecordedRun", kind: str) -> list[dict[str, int]]:
    """The further measurements of all tries of a kind, in the order of its series."""
    series = [run.columns(key) for key in run.series if key[0] == kind]
    if not series[0].table.measured:
        return []
    return [each.table.measured[place] for each in series for place in range(each.start, each.stop)
            if place in each.table.measured]  # fmt: skip

"""The tries of a stored run as columns, with a bounded size for any number of tries. Pure.

Up to `MOST` tries are listed one by one. With more, each series is cut where its state changes and at the edges of
equal intervals; one entry then covers all tries in between: their state, the median of their latencies, and their
number (`w`). States stay exact. If even these entries are too many, each interval of a series gets one entry with its
worst state.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from statistics import median_low
from typing import Any

from lab.checkers.run import RecordedRun
from lab.checkers.schedule import interval
from lab.checkers.tries import CUT, LEAKED, MISSED, NOTHING, REACHED, WRONG, outcomes
from lab.kinds.probes import asks_name
from lab.report.feed import Feed, microseconds

__all__ = ["MOST", "MOST_SERIES", "columns"]

MOST = 80_000
"""Maximum number of tries that are listed one by one."""
MOST_SERIES = 8_500
"""Maximum number of series on a page: all to all of 64 containers with two probes."""
_FEWEST = 8
RANK = {NOTHING: 0, REACHED: 1, CUT: 2, MISSED: 4, WRONG: 5, LEAKED: 6}

Entry = tuple[int, int, int, int, int]
"""(due, state, latency in µs, number of answers, number of tries)."""


def columns(run: RecordedRun, feed: Feed, most: int = MOST) -> tuple[list[dict[str, Any]], list[str]]:
    """(the series, notes for the reader about omitted data)."""
    keys = list(run.series)
    notes: list[str] = []
    if len(keys) > MOST_SERIES:
        notes.append(f"This page shows {MOST_SERIES} of {len(keys)} series of tries; the tables (CSV) have all.")
        keys = keys[:MOST_SERIES]
    tries = sum(len(run.series[key]) for key in keys)
    if run.long is not None:
        from lab.report.many_columns import MergedSeries

        merged = MergedSeries(run, keys)
    else:
        became = {key: outcomes(run, key) for key in keys}
    found: list[dict[str, Any]] = []
    width = 0
    coarse = False
    if tries > most:
        count = max(most // max(len(keys), 1), _FEWEST)
        width = max((min(run.end, run.stop) - run.start) // count, 1)
        changes = (
            sum(sum(a != b for a, b in pairwise(states)) for states in became.values())
            if run.long is None
            else merged.changes
        )
        coarse = changes > most
        notes.append(
            f"{tries:,} tries are aggregated for this page, over {width / 1e9:.3g} s each: a point covers all "
            "tries of one pair in that time"
            + (", with the worst of what became of them." if coarse else ", cut where what became of them changed.")
            + " The tables (CSV) and the history have each try."
        )
    for key in keys:
        if run.long is not None:
            entries = merged.entries(key, width, RANK if coarse else None)
        else:
            entries = [
                (sample.t, state, microseconds(sample), len(sample.answers), 1)
                for sample, state in zip(run.series[key], became[key], strict=True)
            ]
            entries = list(_merged(entries, width, coarse)) if width else entries
        every = interval(run.series[key])
        every = max(every, width) if width else every
        found.append(feed.series(key) | _columns(entries, every, named=asks_name(key[0]), whole=not width))
    return found, notes


def _merged(entries: Iterable[Entry], width: int, coarse: bool) -> Iterator[Entry]:
    for _, group in groupby(entries, lambda entry: (entry[0] // width, 0 if coarse else entry[1])):
        tries = list(group)
        answered = [latency for _, _, latency, _, _ in tries if latency]
        yield (
            tries[0][0],
            max((state for _, state, *_ in tries), key=RANK.__getitem__),
            median_low(answered) if answered else 0,
            tries[-1][3],
            len(tries),
        )


def _columns(entries: list[Entry], every: int, *, named: bool, whole: bool) -> dict[str, Any]:
    times = [entry[0] for entry in entries]
    steps = [later - earlier for earlier, later in pairwise(times)]
    regular = bool(steps) and whole and every > 0 and all(step == every for step in steps)
    made: dict[str, Any] = {
        "every": every,
        "t": times[:1] if regular else times[:1] + steps,
        "s": "".join([str(entry[1]) for entry in entries]),
        "l": [entry[2] for entry in entries],
    }
    if named:
        made["n"] = [entry[3] for entry in entries]
    if not whole:
        made["w"] = [entry[4] for entry in entries]
    return made

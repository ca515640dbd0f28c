"""Tables and numbers of figures for a long history, over columns (`lab.records.tries`): equal to those over samples.

Imports numpy, so it is imported only for long histories.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from lab.checkers.columnar import outcomes_of
from lab.checkers.run import RecordedRun
from lab.checkers.tries import CUT, MISSED
from lab.figures.latency import PERCENTILES, LatencyCurves, bin_width, percentile
from lab.figures.told import seconds, table
from lab.kinds.probes import ordered_probes
from lab.records.tries import PickedTries, SeriesTries

__all__ = ["latency_curves", "parts_of_table", "share_between"]

_PART = 20_000
"""Lines that are made at once."""


def parts_of_table(run: RecordedRun, head: str, words: dict[int, str]) -> Iterator[str]:
    """See `lab.figures.reachability`: a line per try of every pair, by due time and then by pair."""
    assert run.long is not None
    columns = run.long.table
    pairs = [run.columns(key) for key in run.pairs]
    places = np.concatenate([np.arange(each.start, each.stop, dtype=np.int32) for each in pairs])
    places = places[np.argsort(columns.t[places], kind="stable")]
    states = np.zeros(len(columns), np.int8)
    outage = np.zeros(len(columns), np.int64)
    for key, each in zip(run.pairs, pairs, strict=True):
        found = outcomes_of(run, key, each)
        states[each.start : each.stop] = np.where(found == CUT, MISSED, found)
        for lost in run.outages[key]:
            if isinstance(lost.tries, PickedTries):
                outage[lost.tries.places] = lost.start + 1
            else:
                at = np.searchsorted(each.t, [sample.t for sample in lost.tries])
                outage[at + each.start] = lost.start + 1
    names = ["," + table(key, ()).rstrip("\n") + "," for key in columns.keys]
    ends = [table(("", error, ""), ()).rstrip("\n") for error in columns.errors]
    yield head
    for begin in range(0, len(places), _PART):
        at = places[begin : begin + _PART]
        yield "".join(
            [
                f"{t / 1e9:.6f}{names[series]}{words[state]},{'' if took < 0 else took}{ends[error]}"
                f"{'' if not lost else f'{seconds(lost - 1):.6f}'}\n"
                for t, series, state, took, error, lost in zip(
                    columns.t[at].tolist(),
                    columns.series[at].tolist(),
                    states[at].tolist(),
                    columns.latency[at].tolist(),
                    columns.error[at].tolist(),
                    outage[at].tolist(),
                    strict=True,
                )
            ]
        )


def share_between(tries: SeriesTries, start: int, end: int) -> tuple[int, float] | None:
    """(tries in [start, end), share of them that succeeded); None without tries."""
    first, last = np.searchsorted(tries.t, (start, end)).tolist()
    says = ~tries.unsaid[first:last]
    number = int(says.sum())
    return (number, int(tries.ok[first:last][says].sum()) / number) if number else None


def latency_curves(run: RecordedRun) -> list[LatencyCurves]:
    """See `lab.figures.latency.curves`."""
    by_kind: dict[str, list[SeriesTries]] = {}
    for key in run.series:
        by_kind.setdefault(key[0], []).append(run.columns(key))
    kinds = [kind for kind in ordered_probes(by_kind) if any(each.ok.any() for each in by_kind[kind])]
    if not kinds:
        return []
    start = min(int(each.t[0]) for kind in kinds for each in by_kind[kind])
    end = max(min(run.end, run.stop), start + 1)
    return [_curves(kind, by_kind[kind], start, end) for kind in kinds]


def _curves(kind: str, series: list[SeriesTries], start: int, end: int) -> LatencyCurves:
    width = bin_width(end - start, sum(map(len, series)))
    count = (end - start) // width + 1
    index = (np.concatenate([each.t for each in series]) - start) // width
    latency = np.concatenate([each.latency for each in series])
    good = np.concatenate([each.ok for each in series]) & (latency >= 0)
    there = (index < count) & ~np.concatenate([each.unsaid for each in series])
    failed = np.bincount(index[there & ~good], minlength=count).tolist()
    index, latency = index[there & good], latency[there & good]
    order = np.lexsort((latency, index))
    index, latency = index[order], latency[order]
    edges = np.searchsorted(index, np.arange(count + 1)).tolist()
    answered, values = [], []
    for first, last in pairwise(edges):
        mine = latency[first:last].tolist()
        answered.append(len(mine))
        values.append(tuple(percentile(mine, p) for p in PERCENTILES) if mine else None)
    return LatencyCurves(
        kind=kind,
        width=width,
        middles=[seconds(start + place * width + width // 2) for place in range(count)],
        answered=answered,
        failed=failed,
        values=values,
    )

"""The tries of a long history merged for the page, over columns: equal to `lab.report.columns` over samples.

Imports numpy, so it is imported only for long histories.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from lab.checkers.columnar import outcomes_of
from lab.checkers.run import RecordedRun
from lab.checkers.world import SeriesKey

__all__ = ["MergedSeries"]

Entry = tuple[int, int, int, int, int]


class MergedSeries:
    """The outcomes of some series of a long history, and their entries on the page."""

    def __init__(self, run: RecordedRun, keys: Sequence[SeriesKey]) -> None:
        assert run.long is not None
        self._run = run
        self._states = {key: outcomes_of(run, key, run.columns(key)) for key in keys}
        self._answers = np.array([len(answers) for answers in run.long.table.answered], np.int64)
        self.changes = sum(int(np.count_nonzero(np.diff(states))) for states in self._states.values())
        """How often what became of tries changed."""

    def entries(self, key: SeriesKey, width: int, rank: Mapping[int, int] | None) -> list[Entry]:
        """One entry for all tries of an interval of `width` (0: of each try) with the same outcome; with `rank`, one
        entry for each interval, with its worst outcome."""
        tries, states = self._run.columns(key), self._states[key]
        due, ok = tries.t, tries.ok & (tries.latency >= 0)
        took = np.where(ok, np.maximum(1, np.rint(tries.latency / 1000)), 0).astype(np.int64)
        answers = self._answers[tries.table.answers[tries.start : tries.stop]]
        if not width:
            ones = [1] * len(due)
            return list(zip(due.tolist(), states.tolist(), took.tolist(), answers.tolist(), ones, strict=True))
        changed = np.diff(due // width) != 0
        if rank is None:
            changed |= np.diff(states) != 0
        begins = np.flatnonzero(np.concatenate([[True], changed]))
        sizes = np.diff(np.concatenate([begins, [len(due)]]))
        group = np.repeat(np.arange(len(begins)), sizes)
        order = np.lexsort((took, group))
        answered = np.bincount(group[took > 0], minlength=len(begins))
        # Sorted within each group, those without an answer come first.
        middle = begins + (sizes - answered) + (np.maximum(answered, 1) - 1) // 2
        medians = np.where(answered > 0, took[order][np.minimum(middle, len(due) - 1)], 0)
        shown = states[begins]
        if rank is not None:
            ranks = np.zeros(max(rank) + 1, np.int64)
            ranks[list(rank)] = list(rank.values())
            back = {place: state for state, place in rank.items()}
            shown = np.array([back[each] for each in np.maximum.reduceat(ranks[states], begins).tolist()])
        return list(
            zip(
                due[begins].tolist(),
                shown.tolist(),
                medians.tolist(),
                answers[begins + sizes - 1].tolist(),
                sizes.tolist(),
                strict=True,
            )
        )

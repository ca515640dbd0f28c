"""The tries of one series since a change: since when it has been good. Knows nothing of other series and of views."""

from collections import deque

__all__ = ["KEPT", "JudgedSeries"]

KEPT = 256
"""Good tries remembered per series, so that a failure that is reported late is still placed correctly."""


class JudgedSeries:
    """The judged tries of one series since the change."""

    __slots__ = ("bad", "disturbed", "duty", "failed", "good_since", "goods", "row", "should")

    def __init__(
        self, should: bool | None, row: int | None, *, duty: bool | None = None, disturbed: bool = False
    ) -> None:
        self.should = should
        self.duty = duty
        """The expected result: that from before the change, until that from after it is known."""
        self.disturbed = disturbed
        """Whether the change altered its expected result."""
        self.row = row
        """How many failures in a row are bad; None: failures say nothing."""
        self.bad = -1
        """Due time of the latest bad try."""
        self.failed: list[int] = []
        """Due times of the latest failed tries that are not bad so far; only for lossy links."""
        self.goods: deque[tuple[int, int]] = deque(maxlen=KEPT)
        """(due, answered) of good tries, in order of report."""
        self.good_since: int | None = None
        """When the first good try after the latest bad one was answered."""

    def judge(self, due: int, done: int, good: bool, *, failed: bool) -> bool:
        """Take a verdict; return True if `good_since` changed. `failed`: it is bad because there was no answer."""
        before = self.good_since
        if failed and self.row != 1:
            worst = self._end_of_row(due)
            if worst is None:
                return False
            due = worst
        if good:
            self.goods.append((due, done))
            if due > self.bad and (before is None or done < before):
                self.good_since = done
        elif due > self.bad:
            self.bad = due
            self.good_since = min((when for since, when in self.goods if since > due), default=None)
        return self.good_since != before

    def _end_of_row(self, due: int) -> int | None:
        """The last due time of the row of failures that this failed try makes bad; None if the row is too short."""
        self.failed = [*self.failed[-KEPT:], due]
        if self.row is None:
            return None
        after = max((since for since, _ in self.goods if since < due), default=-1)
        before = min((since for since, _ in self.goods if since > due), default=None)
        row = [since for since in self.failed if since > after and (before is None or since < before)]
        return max(row) if len(row) >= self.row else None

"""Delta debugging (Zeller and Hildebrandt 2002): the smallest case that still fails in the same way.

Owns the order of removals: faults first, in halves, quarters and so on; then hosts, services, probes and steps; then
the targets and duration of each fault; and again, until nothing more can be removed. Knows nothing of processes:
`fails` plays several candidates at once, and answers for each.
"""

from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from lab.explore.case import Case
from lab.explore.schedule import Schedule
from lab.explore.smaller import plainer, shorter, simpler_faults, without_hosts, without_services, without_setup

__all__ = ["Fails", "shrink"]

Fails = Callable[[Sequence[Case]], list[bool]]
"""Returns which of these cases fail in the same way as the original; plays all, in any order."""


class _Enough(Exception):
    """The budget of runs is used up."""


class _Shrinker:
    def __init__(self, case: Case, fails: Fails, width: int, runs: int, told: Callable[[Case, int], None]) -> None:
        self.case = case
        self.made = 0
        self._fails = fails
        self._width = width
        self._runs = runs
        self._told = told
        self._seen: set[str] = {case.text()}

    def try_all(self, candidates: Iterator[Case]) -> bool:
        """Take the first candidate that fails; return False if none does."""
        batch: list[Case] = []
        for candidate in candidates:
            text = candidate.text()
            if text not in self._seen:
                self._seen.add(text)
                batch.append(candidate)
            if len(batch) == self._width and self._try(batch):
                return True
            if len(batch) == self._width:
                batch = []
        return bool(batch) and self._try(batch)

    def _try(self, batch: list[Case]) -> bool:
        if self.made >= self._runs:
            raise _Enough
        self.made += len(batch)
        failed = self._fails(batch)
        for candidate, bad in zip(batch, failed, strict=True):
            if bad:
                self.case = candidate
                self._told(candidate, self.made)
                return True
        return False


def shrink(
    case: Case, fails: Fails, *, width: int = 1, runs: int = 400, told: Callable[[Case, int], None] = lambda c, n: None
) -> tuple[Case, int]:
    """The smallest case found with about `runs` runs at most, and the number of runs; `width` are played at once.

    `told` is called after each success with the case and the number of runs so far.
    """
    work = _Shrinker(case, fails, width, runs, told)
    try:
        while True:
            before = work.case
            _fewer_faults(work)
            for smaller in (plainer, without_hosts, without_services, without_setup, simpler_faults, shorter):
                while work.try_all(smaller(work.case)):
                    pass
            if work.case == before:
                break
    except _Enough:
        pass
    return work.case, work.made


def _fewer_faults(work: _Shrinker) -> None:
    """`ddmin` over the faults, by complements: the removed part becomes smaller, down to one fault at a time."""
    chunk = max(1, len(work.case.faults) // 2)
    while work.case.faults:
        faults = work.case.faults
        cuts = range(0, len(faults), chunk)
        left = (replace(work.case, faults=_begun(faults[:cut] + faults[cut + chunk :])) for cut in cuts)
        if work.try_all(left):
            chunk = min(chunk, max(1, len(work.case.faults) // 2))
        elif chunk == 1:
            return
        else:
            chunk = max(1, chunk // 2)


def _begun(faults: Schedule) -> Schedule:
    """The faults, shifted so that the first one begins at once."""
    first = faults[0].at if faults else 0
    return tuple(replace(fault, at=fault.at - first) for fault in faults)

"""The cases that reached something new, and mutations of them. Pure; a function of its seeds.

A case that reached new states or branches is kept and mutated later: one fault more or less, earlier, longer,
duplicated, or combined with the faults of another case. Owns the set of what was reached so far.
"""

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from lab.explore.case import Case
from lab.explore.schedule import ScheduledFault, collides
from lab.scenario.values import UNITS
from overlay.env import Random

__all__ = ["Corpus"]

_STEP = 100 * UNITS["ms"]
_SHARE = 45
"""Percentage of cases that are mutations, once the corpus is not empty."""
_KEPT = 64
"""Maximum size of the corpus; the case that was chosen most often is dropped first."""


class _Kept(Struct):
    case: Case
    news: int
    """Number of items that it was the first to reach."""
    chosen: int = 0


class Corpus:
    """Cases that reached something new."""

    def __init__(self) -> None:
        self.reached: set[int] = set()
        """States and branches of all runs."""
        self._kept: list[_Kept] = []

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, case: Case, reached: frozenset[int]) -> int:
        """Keep a case if it reached something new; returns the number of new items."""
        news = len(reached - self.reached)
        self.reached |= reached
        if news and not case.one_by_one:
            self._kept.append(_Kept(case, news))
            if len(self._kept) > _KEPT:
                self._kept.remove(max(self._kept, key=lambda kept: kept.chosen))
        return news

    def next(self, seed: int, most: int, fresh: Callable[[], Case]) -> Case:
        """The case to play for a seed: a fresh one, or a mutation of a kept one."""
        rng = Random(f"explore next {seed}")
        if not self._kept or rng.randrange(100) >= _SHARE:
            return fresh()
        # Prefer new and rarely chosen cases: the better of two random ones.
        pair = [rng.choice(self._kept), rng.choice(self._kept)]
        kept = min(pair, key=lambda one: (one.chosen, -one.news))
        kept.chosen += 1
        case = kept.case
        for _ in range(rng.randint(1, 3)):
            case = _changed(case, rng, most, fresh, rng.choice(self._kept).case)
        return replace(case, seed=seed)


def _changed(case: Case, rng: Random, most: int, fresh: Callable[[], Case], other: Case) -> Case:
    faults = list(case.faults)
    match rng.randrange(6):
        case 0 if faults:
            faults.pop(rng.randrange(len(faults)))
        case 1 if faults:
            index = rng.randrange(len(faults))
            faults[index] = replace(faults[index], at=rng.randrange(200) * _STEP)
        case 2 if faults:
            index = rng.randrange(len(faults))
            one = faults[index]
            faults[index] = one if one.undo else replace(one, lasts=rng.choice((1, 5, 20, 50, 120, 250)) * _STEP)
        case 3 if faults:
            again = rng.choice(faults)
            faults.append(replace(again, at=again.end + rng.randint(1, 40) * _STEP))
        case 4:
            faults += [fault for fault in other.faults if _fits(fault, case)]
        case _:
            faults += [fault for fault in fresh().faults[:2] if _fits(fault, case)]
    sound: list[ScheduledFault] = []
    for fault in faults:
        if not collides(fault, sound, case.bold) and len(sound) < most:
            sound.append(fault)
    return replace(case, faults=tuple(sorted(sound, key=lambda fault: fault.at)))


def _fits(fault: ScheduledFault, case: Case) -> bool:
    """Whether the case has all services that a fault names, and allows its verb."""
    services: dict[str, object] = {} if case.start else case.tree.get("services") or {}
    return fault.touched <= set(services) and case.bears(fault.verb)

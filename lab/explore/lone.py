"""Faults one by one, and the time that noticing each and recovering from each may take. Pure.

Owns what counts as one sort of fault (the verb, and what the verb says of its body: `kill daemon`, `block udp 6784`),
the cases from which limits are learned, and those that are held against them. In both, nothing else happens meanwhile.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from lab.explore.case import HELD, UNLIMITED, Case, with_faults
from lab.explore.limits import Limits
from lab.explore.schedule import ScheduledFault
from lab.kinds.overlays import OVERLAYS
from lab.kinds.verbs import verb_of, verbs
from lab.scenario.resolve import Resolved
from lab.scenario.values import UNITS
from overlay.env import Random

__all__ = ["learning_case", "lone_case", "measured", "shape_of"]

_S = UNITS["s"]
_TRIES = 16
_EACH = 4
"""Faults of a case."""
_LONGER = HELD + 2 * _S
"""A fault that must be noticed lasts so much longer than that may take."""


def shape_of(fault: ScheduledFault) -> str:
    """The sort of a fault, the key of limits."""
    return f"{fault.verb} {verb_of(fault.verb).shape(fault.body)}".strip()


def learning_case(case: Case, scenario: Resolved, seed: int) -> Case:
    """A case without limits. Every verb comes about as often."""
    rng = Random(f"explore learning {seed}")
    overlay = OVERLAYS.get(scenario.overlay)
    names = [verb.name for verb in verbs().values() if verb.odds and verb.lasts and verb.allowed(overlay)]
    faults = []
    for number in range(_EACH):
        fault = _drawn(case, scenario, rng.choice(names), "", seed * _EACH + number)
        if fault is None:
            continue
        if rng.randrange(2) and not verb_of(fault.verb).by_chance(fault.body):
            lasts = UNLIMITED + _LONGER
            faults.append(replace(fault, at=0, lasts=lasts, noticed_within=UNLIMITED, over_within=UNLIMITED))
        else:
            faults.append(replace(fault, at=0, lasts=_lasts(fault, rng), over_within=UNLIMITED))
    return replace(case, faults=tuple(faults), seed=seed, one_by_one=True)


def lone_case(case: Case, scenario: Resolved, seed: int, limits: Limits) -> Case:
    """A case that is held against limits. Every sort of fault comes about as often."""
    rng = Random(f"explore lone {seed}")
    sorts = [(shape, True) for shape in sorted(limits.notice)] + [(shape, False) for shape in sorted(limits.recover)]
    faults = []
    for number, (shape, notice) in enumerate(rng.sample(sorts, min(_EACH, len(sorts)))):
        fault = _drawn(case, scenario, shape.partition(" ")[0], shape, seed * _EACH + number)
        if fault is None:
            continue
        if notice:
            within = limits.notice[shape]
            faults.append(replace(fault, at=0, lasts=within + _LONGER, noticed_within=within))
        else:
            faults.append(replace(fault, at=0, lasts=_lasts(fault, rng), over_within=limits.recover[shape]))
    return replace(case, faults=tuple(faults), seed=seed, one_by_one=True)


def _lasts(fault: ScheduledFault, rng: Random) -> int:
    return max(rng.choice((1, 5, 15)) * _S, fault.lasts if verb_of(fault.verb).restless else 0)


def _drawn(case: Case, scenario: Resolved, verb: str, shape: str, seed: int) -> ScheduledFault | None:
    """A random fault of a verb, of this shape if one is given."""
    for attempt in range(_TRIES):
        for fault in with_faults(case, scenario, seed * _TRIES + attempt, most=1, only=verb).faults:
            if not fault.undo and shape in ("", shape_of(fault)):
                return fault
    return None


def measured(case: Case, took: tuple[int | None, ...]) -> Iterator[tuple[str, bool, int | None]]:
    """(sort of fault, whether noticing it was timed or recovering, time or None) of a learning case, from the times of
    all its expectations."""
    left = iter(took[sum("expect" in step for step in case.setup) :])
    for fault in case.faults:
        time = next(left, None)
        yield shape_of(fault), bool(fault.noticed_within), None if time is None else max(0, time - HELD)
        if fault.noticed_within:
            next(left, None)  # it had another life until then

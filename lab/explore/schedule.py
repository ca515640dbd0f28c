"""A random schedule of faults: what is broken, when, for how long. Pure; a function of its seed.

Owns when faults begin and end and which may overlap, while each verb draws its own: all of them may, with each other
and on one host, for each heals on its own time (`lab.runner.upkeep`). Changes of what runs (scaled, removed and run
again, one more address) are commands, which must be able to succeed: they begin and end while nothing is broken, but
perhaps a moment before something is; and nothing else is done to a service meanwhile, for what is not there cannot be
killed or removed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from lab.kinds.verbs import Chance, verb_of, verbs
from lab.scenario.values import UNITS, format_duration
from overlay.env import Random

__all__ = ["Schedule", "ScheduledFault", "draw", "hindered"]

_MS, _S = UNITS["ms"], UNITS["s"]
_STEP = 100 * _MS
"""Times are whole multiples of it: easier to read, and ties happen, where the bugs are."""
_MARGIN = 3 * _S
"""From the end of a fault until a command is given again."""
_TRIES = 40


class ScheduledFault(Struct, frozen=True, kw_only=True):
    """One fault that ends by itself. `at` counts from the first one (ns)."""

    at: int
    verb: str
    body: dict[str, Any]
    """Of the step, without `for`."""
    lasts: int
    undo: dict[str, Any] | None = None
    """The step that ends it: then it is a change of what runs, or which container may talk to which. None: it says
    itself for how long it lasts."""

    def step(self) -> dict[str, Any]:
        """The step of a timeline with which it begins."""
        return {self.verb: self.body if self.undo else {**self.body, "for": format_duration(self.lasts)}}

    @property
    def service(self) -> str:
        """The service of which it changes what runs, or kills it; empty: of none."""
        return str((self.body.get("services") or [self.body.get("service", "")])[0])

    @property
    def end(self) -> int:
        """When it is over."""
        return self.at + self.lasts


Schedule = tuple[ScheduledFault, ...]
"""In the order of their beginnings."""


def draw(
    hosts: Sequence[str],
    services: dict[str, str],
    seed: int,
    *,
    elastic: Mapping[str, int] = {},
    attachable: Sequence[str] = (),
    policed: Sequence[str] = (),
    most: int = 8,
    length: int = 20 * _S,
) -> Schedule:
    """Up to `most` faults that begin within `length`; `services` are those with one container: service -> its host.

    `elastic` are services that may be scaled, and how many containers they have; `attachable` those whose one container
    may get one more address; `policed` those that a policy may name, which hosts are told by their `weave` command.
    """
    rng = Random(f"explore {seed}")
    urn = [verb for verb in verbs().values() for _ in range(verb.odds)]
    faults: list[ScheduledFault] = []
    wanted = rng.randint(1, most)
    for _ in range(_TRIES):
        if len(faults) == wanted:
            break
        verb, at, lasts = rng.choice(urn), rng.randrange(length // _STEP) * _STEP, _lasts(rng)
        chance = Chance(rng, tuple(hosts), services, elastic, tuple(attachable), tuple(policed), len(faults))
        if (drawn := verb.draw(chance)) is None:
            continue
        fault = ScheduledFault(at=at, verb=verb.name, body=drawn.body, lasts=max(lasts, drawn.least), undo=drawn.undo)
        if not _collides(fault, faults):
            faults.append(fault)
    faults.sort(key=lambda fault: fault.at)
    return tuple(faults)


def _lasts(rng: Random) -> int:
    """Mostly short: what is noticed in the midst of something is more dangerous than what is long over."""
    return rng.choice((1, 3, 8, 15, 30, 45, 60, 100, 200)) * _STEP


def _collides(fault: ScheduledFault, others: Sequence[ScheduledFault]) -> bool:
    return any(_meddles(fault, other) or _hinders(other, fault) or _hinders(fault, other) for other in others)


def _meddles(one: ScheduledFault, other: ScheduledFault) -> bool:
    """Whether two touch one service while one of them changes what runs of it."""
    if not one.service or one.service != other.service or not (one.undo or other.undo):
        return False
    return one.at < other.end + _MARGIN and other.at < one.end + _MARGIN


def hindered(schedule: Schedule) -> bool:
    """Whether some command is given while something is broken, and so may fail."""
    return any(_hinders(broken, change) for broken in schedule for change in schedule)


def _hinders(broken: ScheduledFault, change: ScheduledFault) -> bool:
    """Whether commands of a change would be given while something is broken."""
    if not change.undo or broken.undo or not verb_of(broken.verb).hinders:
        return False
    return any(broken.at <= time < broken.end + _MARGIN for time in (change.at, change.end))

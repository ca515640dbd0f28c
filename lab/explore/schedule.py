"""A random schedule of faults: what is broken, when, for how long. Pure; a function of its seed.

Owns when faults begin and end and which may overlap, while each verb draws its own: all of them may, with each other
and on one host, for each heals on its own time (`lab.runner.upkeep`). Changes of what runs (scaled, removed and run
again, one more address) are commands, which must be able to succeed: they begin and end while nothing is broken, but
perhaps a moment before something is; and nothing else is done to a service meanwhile, for what is not there cannot be
killed or removed, nor to a host that is being replaced. A *bold* schedule breaks that rule: whoever plays it has to
bear with commands that fail.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec import Struct

from lab.kinds.verbs import Chance, verb_of, verbs
from lab.scenario.values import UNITS, format_duration, parse_duration
from overlay.env import Random

__all__ = ["Schedule", "ScheduledFault", "collides", "draw", "hindered"]

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
    before: tuple[dict[str, Any], ...] = ()
    """Steps ahead of it."""
    then: tuple[dict[str, Any], ...] = ()
    """Steps behind `undo`."""
    host: str = ""
    """Nothing else is done to this host meanwhile."""

    def steps(self) -> tuple[dict[str, Any], ...]:
        """All steps with which it begins."""
        return (*self.before, self.step())

    def ending(self) -> tuple[dict[str, Any], ...]:
        """All steps with which it ends; none if it ends by itself."""
        return (self.undo, *self.then) if self.undo else ()

    def step(self) -> dict[str, Any]:
        """The step of a timeline with which it begins."""
        return {self.verb: self.body if self.undo else {**self.body, "for": format_duration(self.lasts)}}

    @property
    def service(self) -> str:
        """The service of which it changes what runs, or kills it; empty: of none."""
        return str((self.body.get("services") or [self.body.get("service", "")])[0])

    @property
    def touched(self) -> frozenset[str]:
        """All services that it starts, ends or kills."""
        removed = (name for step in self.before for name in step.get("remove", ()))
        return frozenset(name for name in (self.service, *removed) if name)

    @property
    def lead(self) -> int:
        """How long its steps ahead take (ns), at least."""
        return sum(parse_duration(step["wait"]) for step in self.before if "wait" in step)

    def names(self, host: str) -> bool:
        """Whether it does something to a host itself, and not only to its network."""
        if not verb_of(self.verb).lasts and "from" in self.body:
            return host == self.body["from"] or host in self.body["to"]
        if verb_of(self.verb).restless and "hosts" not in self.body and "host" not in self.body:
            return True  # churn: anybody may be its next victim
        return host in (self.host, self.body.get("host"), self.body.get("daemon")) or host in self._all()

    def _all(self) -> Sequence[str]:
        return self.body.get("hosts") or () if verb_of(self.verb).moves else ()

    @property
    def end(self) -> int:
        """When it is over."""
        return self.at + self.lead + self.lasts


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
    replaceable: Mapping[str, tuple[str, ...]] = {},
    allowed: Collection[str] | None = None,
    most: int = 8,
    length: int = 20 * _S,
    bold: bool = False,
) -> Schedule:
    """Up to `most` faults that begin within `length`; `services` are those with one container: service -> its host.

    `elastic` are services that may be scaled, and how many containers they have; `attachable` those whose one container
    may get one more address; `policed` those that a policy may name, which hosts are told by their `weave` command;
    `replaceable` are hosts that may forget all -> what runs there only. `allowed` are the verbs that the overlay has
    (all). With `bold` commands are given while things are broken.
    """
    rng = Random(f"explore {seed}")
    usable = [verb for verb in verbs().values() if allowed is None or verb.name in allowed]
    urn = [verb for verb in usable for _ in range(verb.odds)]
    faults: list[ScheduledFault] = []
    wanted = rng.randint(1, most)
    for _ in range(_TRIES):
        if len(faults) == wanted:
            break
        verb, at, lasts = rng.choice(urn), rng.randrange(length // _STEP) * _STEP, _lasts(rng)
        chance = Chance(
            rng, tuple(hosts), services, elastic, tuple(attachable), tuple(policed), len(faults), replaceable
        )
        if (drawn := verb.draw(chance)) is None:
            continue
        fault = ScheduledFault(
            at=at, verb=verb.name, body=drawn.body, lasts=max(lasts, drawn.least), undo=drawn.undo,
            before=drawn.before, then=drawn.then, host=drawn.host,
        )  # fmt: skip
        if not collides(fault, faults, bold):
            faults.append(fault)
    faults.sort(key=lambda fault: fault.at)
    return tuple(faults)


def _lasts(rng: Random) -> int:
    """Mostly short: what is noticed in the midst of something is more dangerous than what is long over."""
    return rng.choice((1, 3, 8, 15, 30, 45, 60, 100, 200)) * _STEP


def collides(fault: ScheduledFault, others: Sequence[ScheduledFault], bold: bool) -> bool:
    """Whether a fault cannot stand in a schedule next to these."""
    if any(_meddles(fault, other) for other in others):
        return True
    return not bold and any(_hinders(other, fault) or _hinders(fault, other) for other in others)


def _meddles(one: ScheduledFault, other: ScheduledFault) -> bool:
    """Whether two touch one service while one of them changes what runs of it, or a host that is being replaced."""
    if one.host and one.host == other.host:
        return True  # a peer that comes again has another name, and its nickname would mean two
    if one.at >= other.end + _MARGIN or other.at >= one.end + _MARGIN:
        return False
    if any(fault.host and rest.names(fault.host) for fault, rest in ((one, other), (other, one))):
        return True
    return bool(one.touched & other.touched) and bool(one.undo or other.undo)


def hindered(schedule: Schedule) -> bool:
    """Whether some command is given while something is broken, and so may fail."""
    return any(_hinders(broken, change) for broken in schedule for change in schedule)


def _hinders(broken: ScheduledFault, change: ScheduledFault) -> bool:
    """Whether commands of a change would be given while something is broken."""
    if not change.undo or broken is change or (broken.undo and not broken.before):
        return False
    if not verb_of(broken.verb).hinders:
        return False
    if change.before or change.host or broken.before:  # many commands, of many hosts, over some time
        return broken.at < change.end + _MARGIN and change.at < broken.end + _MARGIN
    return any(broken.at <= time < broken.end + _MARGIN for time in (change.at, change.end))

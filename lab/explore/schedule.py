"""A random schedule of faults: what breaks, when, for how long. Pure; a function of its seed.

Owns when faults begin and end and which may overlap; each verb draws its own parameters. All faults may overlap, also
on one host, because each heals at its own time (`lab.runner.upkeep`). Changes of what runs (scale, remove and run
again, attach one more address) are commands, which must be able to succeed. So they begin and end while no fault is in
force, but a fault may follow at once. Meanwhile no other fault or change touches the same service, because a missing
container cannot be killed or removed, and none touches a host that is being replaced. In a *bold* schedule commands are
given during faults too, and may fail.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec import Struct

from lab.kinds.verbs import Chance, verb_of, verbs
from lab.scenario.values import UNITS, format_duration, parse_duration
from overlay.env import Random

__all__ = ["Lead", "Schedule", "ScheduledFault", "collides", "draw", "hindered"]

_MS, _S = UNITS["ms"], UNITS["s"]
_STEP = 100 * _MS
"""Times are multiples of it: easier to read, and events coincide, which is where bugs are."""
_MARGIN = 3 * _S
"""Time from the end of a fault until the next command."""
_TRIES = 40


class ScheduledFault(Struct, frozen=True, kw_only=True):
    """One fault that ends by itself. `at` counts from the first fault (ns)."""

    at: int
    verb: str
    body: dict[str, Any]
    """Body of the step, without `for`."""
    lasts: int
    undo: dict[str, Any] | None = None
    """The step that ends it, if it changes what runs or which containers may communicate. None: the fault has a
    duration, or nothing to end."""
    before: tuple[dict[str, Any], ...] = ()
    """Steps before it."""
    then: tuple[dict[str, Any], ...] = ()
    """Steps after `undo`."""
    host: str = ""
    """Nothing else is done to this host meanwhile."""
    noticed_within: int = 0
    """Where faults come one by one: the time in which all notice it (ns); 0: no limit."""
    over_within: int = 0
    """And the time in which all recover after its end; 0: the case's deadline."""

    def steps(self) -> tuple[dict[str, Any], ...]:
        """All steps with which it begins."""
        return (*self.before, self.step())

    def ending(self) -> tuple[dict[str, Any], ...]:
        """All steps with which it ends; empty if it ends by itself."""
        return (self.undo, *self.then) if self.undo else ()

    def step(self) -> dict[str, Any]:
        """The timeline step with which it begins."""
        ends = bool(self.undo) or not verb_of(self.verb).lasts
        return {self.verb: self.body if ends else {**self.body, "for": format_duration(self.lasts)}}

    @property
    def service(self) -> str:
        """The service whose containers it changes or kills; empty: none."""
        return str((self.body.get("services") or [self.body.get("service", "")])[0])

    @property
    def touched(self) -> frozenset[str]:
        """All services that it starts, ends or kills."""
        removed = (name for step in self.before for name in step.get("remove", ()))
        return frozenset(name for name in (self.service, *removed) if name)

    @property
    def lead(self) -> int:
        """Minimum duration of the steps before it (ns)."""
        return sum(parse_duration(step["wait"]) for step in self.before if "wait" in step)

    def names(self, host: str) -> bool:
        """Whether it affects a host itself, and not only its network."""
        if not verb_of(self.verb).lasts and "from" in self.body:
            return host == self.body["from"] or host in self.body.get("to", ())
        if verb_of(self.verb).restless and "hosts" not in self.body and "host" not in self.body:
            return True  # churn: any host may be its next victim
        return host in (self.host, self.body.get("host"), self.body.get("daemon")) or host in self._all()

    def _all(self) -> Sequence[str]:
        return self.body.get("hosts") or () if verb_of(self.verb).moves else ()

    @property
    def end(self) -> int:
        """Time of its end."""
        return self.at + self.lead + self.lasts


Schedule = tuple[ScheduledFault, ...]
"""In order of beginning."""


class Lead(Struct, frozen=True):
    """What the first drawn fault of a schedule is, so that rare and long ones find room."""

    verbs: tuple[str, ...]
    """One of these, all as likely."""
    at: int | None = None
    """When it begins (ns); None: at random."""


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
    lead: Lead | None = None,
) -> Schedule:
    """Up to `most` faults that begin within `length`; `services` are those with one container: service -> its host.

    `elastic` are services that may be scaled, with their numbers of containers. `attachable` are those whose only
    container may get one more address. `policed` are those that a policy may name; hosts receive it by their `weave`
    command. `replaceable` are hosts that may lose all state -> the services that run only there. `allowed` are the
    verbs that the overlay supports (all). With `bold`, commands are given during faults. `lead` is drawn before all
    others, if it can be.
    """
    rng = Random(f"explore {seed}")
    usable = [verb for verb in verbs().values() if allowed is None or verb.name in allowed]
    urn = [verb for verb in usable for _ in range(verb.odds)]
    faults: list[ScheduledFault] = []
    wanted = rng.randint(1, most)
    named = {verb.name: verb for verb in usable if verb.odds}
    leads = [named[name] for name in (lead.verbs if lead is not None else ()) if name in named]
    for attempt in range(_TRIES):
        if len(faults) == wanted:
            break
        first = bool(leads) and not faults and attempt < _TRIES // 2
        verb, at, lasts = rng.choice(leads if first else urn), rng.randrange(length // _STEP) * _STEP, _lasts(rng)
        if first and lead is not None and lead.at is not None:
            at = lead.at
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
    """Mostly short, because a change noticed in the middle of another is more dangerous than one long over."""
    return rng.choice((1, 3, 8, 15, 30, 45, 60, 100, 200)) * _STEP


def collides(fault: ScheduledFault, others: Sequence[ScheduledFault], bold: bool) -> bool:
    """Whether a fault cannot be in one schedule with these."""
    if any(_meddles(fault, other) for other in others):
        return True
    return not bold and any(_hinders(other, fault) or _hinders(fault, other) for other in others)


def _meddles(one: ScheduledFault, other: ScheduledFault) -> bool:
    """Whether both affect one service while one of them changes its containers, or affect a host that is being
    replaced."""
    if one.host and one.host == other.host:
        return True  # a peer that is replaced has a new name, so its nickname would be ambiguous
    if one.at >= other.end + _MARGIN or other.at >= one.end + _MARGIN:
        return False
    if any(fault.host and rest.names(fault.host) for fault, rest in ((one, other), (other, one))):
        return True
    return bool(one.touched & other.touched) and bool(one.undo or other.undo)


def hindered(schedule: Schedule) -> bool:
    """Whether a command is given during a fault, and so may fail."""
    return any(_hinders(broken, change) for broken in schedule for change in schedule)


def _hinders(broken: ScheduledFault, change: ScheduledFault) -> bool:
    """Whether commands of a change would be given during a fault."""
    if not change.undo or broken is change or (broken.undo and not broken.before):
        return False
    if not verb_of(broken.verb).hinders:
        return False
    if change.before or change.host or broken.before:  # many commands on many hosts, over some time
        return broken.at < change.end + _MARGIN and change.at < broken.end + _MARGIN
    return any(broken.at <= time < broken.end + _MARGIN for time in (change.at, change.end))

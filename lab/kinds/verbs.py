"""The description of a verb, that is of one file of `lab/verbs/`, and the registry of verbs.

Schema, validation, refusals, runner, checkers, figures, explorer and documentation query a verb here. Each hook has a
default for verbs that do not need it. Must not know any verb: they are loaded by name on request.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from msgspec import Struct

from lab.kinds.overlays import OverlayKind
from lab.registry import KindError, Registry
from overlay.env import Random

if TYPE_CHECKING:
    from lab.contracts.fault import Bench
    from lab.contracts.plan import Plan
    from lab.scenario.base import Problem
    from lab.scenario.check import Known
    from lab.scenario.model import Service
    from lab.scenario.resolve import Resolved
    from lab.scenario.steps import Step
    from lab.scenario.without_effect import ScenarioReach

__all__ = ["NO_VERB", "VERBS", "Body", "Chance", "Drawn", "Planning", "Verb", "Where", "fewer", "verb_of", "verbs"]

B = TypeVar("B")
Where = tuple[str | int, ...]
"""A place in a scenario file: keys and indices from the top."""
Body = dict[str, Any]
"""A verb's value in a scenario file."""


class Planning(Struct, frozen=True):
    """Inputs for the plan of a step besides the verb's own body; `duration` is its `for`."""

    index: int
    hosts: tuple[str, ...]
    """All hosts of the scenario."""
    seed: int
    duration: int | None


class Chance(Struct, frozen=True):
    """The explorer's state when it asks a verb for a random step."""

    rng: Random
    hosts: tuple[str, ...]
    services: Mapping[str, str]
    """Services with one container -> its host."""
    elastic: Mapping[str, int]
    """Services that may be scaled -> their number of containers."""
    attachable: tuple[str, ...]
    """Services with one container, which may get one more address."""
    policed: tuple[str, ...]
    """Services that a policy may name."""
    number: int
    """Number of steps drawn so far."""
    replaceable: Mapping[str, tuple[str, ...]] = {}
    """Hosts that may lose all their state, or be replaced -> the services that run only there."""

    def some_hosts(self, least: int) -> list[str]:
        """At least this many random hosts, in the scenario's order."""
        found = self.rng.sample(list(self.hosts), self.rng.randint(least, len(self.hosts)))
        return sorted(found, key=self.hosts.index)


class Drawn(Struct, frozen=True):
    """A random step: the verb's body, without `for`."""

    body: Body
    undo: dict[str, Any] | None = None
    """The step that ends it; None: the verb itself says how long it lasts."""
    least: int = 0
    """Its minimum duration (ns)."""
    before: tuple[dict[str, Any], ...] = ()
    """Steps before it that make it possible."""
    then: tuple[dict[str, Any], ...] = ()
    """Steps after `undo` that restore the initial state."""
    host: str = ""
    """A host to which nothing else may be done meanwhile; empty: none."""


class Verb(Generic[B]):
    """One verb. `B` is the type of its body, usually its model."""

    name: str = ""
    model: Any = None
    """The type of its body, as pydantic takes it."""
    form: str = ""
    """Its syntax, for the reference; Markdown."""
    about: str = ""
    """What it does, for the reference; Markdown."""
    examples: tuple[str, ...] = ()
    """Command lines after `lab` for a running lab; empty: they are generated from its fields."""

    # Shape of a step

    takes_for: Literal["", "lasts", "holds"] = ""
    """Meaning of `for` next to it: how long its fault lasts, or its condition must hold; empty: not allowed."""
    may_fail: bool = False
    """Whether `on_failure: continue` is allowed next to it."""
    overlay_needs: Literal["", "verb", "daemons"] = ""
    """Requirement on the overlay: that it lists this verb, or has daemons; empty: none."""
    needs: tuple[str, ...] = ()
    """Abilities that hosts need, in the words with which a backend says what it lacks (`disk`)."""
    setup: Literal["", "up", "more", "watch"] = ""
    """Its role at the beginning of a timeline: it starts the lab, adds to it, or only watches and waits; empty: it is a
    disturbance."""

    file_data: str = ""
    """The key of its body that holds the content of a file that a step names, after the scenario is resolved."""
    only_time: bool = False
    """It only lets time pass: a saved session stores the times of its steps instead."""

    # Meaning of its events for readers of a history

    changes: Literal["", "end", "both"] = ""
    """When the expected state changes: at the end of its step, at both ends of its fault, or never."""
    regroups: bool = False
    """Its step changes which hosts can reach each other."""
    restless: bool = False
    """Nothing is stable before its fault ends, because it makes changes repeatedly."""
    moves: bool = False
    """It starts or stops containers, and their probes."""
    removes: bool = False
    """Nothing is expected of a container that its event no longer names: it is gone for good, or stopped."""
    launches: Literal["", "first", "again"] = ""
    """Daemons run at its end: for the first time, or again."""
    forgets: bool = False
    """The hosts of its event lose their state."""
    healed: bool = False
    """A `heal` step ends its faults."""
    heals: bool = False
    """Its end connects hosts that were separated."""

    # The explorer

    odds: int = 0
    """Its relative frequency."""
    estranges: bool = False
    """Its peers may never find each other again if they also have to forget each other."""
    hinders: bool = True
    """Commands may fail while its fault is active."""

    @property
    def ends(self) -> Collection[str]:
        """The verbs whose faults it ends."""
        return ()

    @property
    def lasts(self) -> bool:
        """Whether it is a fault: one event starts it, another ends it a step or more later."""
        return self.takes_for == "lasts"

    @property
    def asks(self) -> bool:
        """Whether it is a question: its condition must become true, and hold."""
        return self.takes_for == "holds"

    def allowed(self, overlay: OverlayKind) -> bool:
        """Whether it is possible on an overlay."""
        return {"": True, "verb": overlay.can(self.name), "daemons": overlay.has_daemons}[self.overlay_needs]

    def complete(self, step: "Step", body: B) -> None:
        """Raise `lab.scenario.base.fault` if step and body are inconsistent."""

    def check(self, where: Where, body: B, known: "Known") -> Iterator["Problem"]:
        """Errors of the body in this scenario, for example unknown names. `where` is the verb's place."""
        return iter(())

    def without_effect(self, where: Where, body: B, world: "ScenarioReach") -> Iterator["Problem"]:
        """Why it would do nothing. Unknown names are ignored here."""
        return iter(())

    def untimely(self, body: B, bench: "Bench") -> str:
        """Why it would do nothing in the current state of this run, and the alternatives; empty: it is useful. Called
        before a step that a user wants to run at once."""
        return ""

    def inverse(self, body: B, bench: "Bench") -> Body | None:
        """The step that reverts this one, computed before a step by hand is done; None: there is none. A fault needs
        none, because its heal reverts it."""
        return None

    @property
    def invertible(self) -> bool:
        """Whether some of its steps can be reverted."""
        return type(self).inverse is not Verb.inverse

    def needed(self, body: B) -> tuple[str, ...]:
        """The part of `needs` that this step needs."""
        return self.needs

    def lacking(self, body: B, scenario: "Resolved") -> Iterator[str]:
        """What this step needs from this machine and does not find, wherever hosts are; one sentence each."""
        return iter(())

    def containers(self, body: B, services: "Mapping[str, Service]") -> Mapping[str, int]:
        """Number of containers that remain of each service that it starts or removes."""
        return {}

    def options(self, body: B) -> Mapping[str, bool | int | str]:
        """Overlay options that it sets."""
        return {}

    def commands(self, body: B) -> Iterator[tuple[str, Sequence[str], bool]]:
        """Commands that it runs: (place within the step, arguments, whether in a container)."""
        return iter(())

    def urls(self, body: B) -> Iterator[tuple[str, str]]:
        """URLs whose response it reads: (place within the step, URL)."""
        return iter(())

    def measures(self, body: B) -> Iterator[tuple[str, int]]:
        """(probe, longest time of a try in ns) of its own measurements."""
        return iter(())

    def plan(self, body: B, planning: Planning) -> "Plan":
        """The plan, decided once before anything is done: an action, a fault or a question."""
        raise NotImplementedError

    def draw(self, chance: Chance) -> Drawn | None:
        """A random step for the explorer; None: not possible here."""
        return None

    def closing(self) -> Body | None:
        """The step that the explorer adds after the last fault, if it drew this verb."""
        return None

    def without_host(self, body: Body, host: str) -> Body | None:
        """A drawn body without a host; None when nothing remains of it."""
        if host in (body.get("host"), body.get("daemon")):
            return None
        if "hosts" not in body:
            return body
        hosts = [name for name in body["hosts"] if name != host]
        return {**body, "hosts": hosts} if hosts else None

    def least_hosts(self, body: Body) -> int:
        """The minimum number of hosts in a drawn body."""
        return 1

    def simpler(self, body: Body) -> Iterator[Body]:
        """Simpler bodies for the explorer to try: with fewer hosts."""
        yield from fewer(body, "hosts", self.least_hosts(body))

    def shape(self, body: Body) -> str:
        """What sort of fault a drawn body is: noticing faults of one sort, and recovering from them, takes equally
        long."""
        return next(iter(body), "")

    def by_chance(self, body: Body) -> bool:
        """Whether a drawn body loses packets at random, so that nobody can say when it has been noticed."""
        return False

    def bypassed(self, body: Body) -> Literal["never", "together", "always"]:
        """Whether, while its fault is active, hosts may be separated although others could connect them: only together
        with another such fault, or always."""
        return "never"


def fewer(body: Body, key: str, least: int) -> Iterator[Body]:
    """Drawn bodies with one name of a list removed, as long as `least` remain."""
    names = body.get(key) or []
    if len(names) > least:
        for name in names:
            yield {**body, key: [other for other in names if other != name]}


NO_VERB: Verb[Any] = Verb()
"""For events that do not belong to a step: `up`, `down`, `join`."""


VERBS: Registry[Verb[Any]] = Registry("verb", Verb, "lab.verbs", first=import_module("lab.verbs").ORDER)


@cache
def verbs() -> Mapping[str, Verb[Any]]:
    """All verbs by name, in listing order."""
    return {verb.name: verb for verb in VERBS}


@cache
def verb_of(what: str) -> Verb[Any]:
    """The verb of an event; `NO_VERB` if it does not belong to a step."""
    try:
        return VERBS.get(what)
    except KindError:
        return NO_VERB

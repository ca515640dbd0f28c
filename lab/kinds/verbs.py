"""What a verb says of itself: what one file of `lab/verbs/` has; and the registry of verbs.

Schema, validation, refusals, runner, checkers, figures, explorer and documentation ask a verb here. Each hook has a
default for a verb that has nothing to say. Must not know any verb: they are loaded by name when somebody asks.
"""

from collections.abc import Iterator, Mapping, Sequence
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

__all__ = ["NO_VERB", "Body", "Chance", "Drawn", "Planning", "Verb", "Where", "fewer", "verb_of", "verbs"]

B = TypeVar("B")
Where = tuple[str | int, ...]
"""A place in a scenario file: keys and indices from the top."""
Body = dict[str, Any]
"""What is said to a verb, as a file has it."""


class Planning(Struct, frozen=True):
    """What the plan of a step depends on besides the verb's own body; `duration` is its `for`."""

    index: int
    hosts: tuple[str, ...]
    """All hosts of the scenario."""
    seed: int
    duration: int | None


class Chance(Struct, frozen=True):
    """What the explorer knows when it asks a verb for a random step."""

    rng: Random
    hosts: tuple[str, ...]
    services: Mapping[str, str]
    """Services with one container -> its host."""
    elastic: Mapping[str, int]
    """Services that may be scaled -> how many containers they have."""
    attachable: tuple[str, ...]
    """Services whose one container may get one more address."""
    policed: tuple[str, ...]
    """Services that a policy may name."""
    number: int
    """Steps drawn so far."""
    replaceable: Mapping[str, tuple[str, ...]] = {}
    """Hosts that may forget all they know, or be replaced -> the services that run there and nowhere else."""

    def some_hosts(self, least: int) -> list[str]:
        """At least this many hosts, in the scenario's order."""
        found = self.rng.sample(list(self.hosts), self.rng.randint(least, len(self.hosts)))
        return sorted(found, key=self.hosts.index)


class Drawn(Struct, frozen=True):
    """A random step: what is said to the verb, without `for`."""

    body: Body
    undo: dict[str, Any] | None = None
    """The step that ends it; None: the verb says itself for how long it lasts."""
    least: int = 0
    """It lasts so long or longer (ns)."""
    before: tuple[dict[str, Any], ...] = ()
    """Steps ahead of it, which make it possible."""
    then: tuple[dict[str, Any], ...] = ()
    """Steps behind `undo`, after which everything is as it was."""
    host: str = ""
    """Nothing else may be done to this host meanwhile; empty: to none."""


class Verb(Generic[B]):
    """One verb. `B` is the type of its body: its model, as a rule."""

    name: str = ""
    model: Any = None
    """The type of its body, as pydantic takes it."""
    form: str = ""
    """How it is written, for the reference; Markdown."""
    about: str = ""
    """What it does, for the reference; Markdown."""
    examples: tuple[str, ...] = ()
    """Lines that can be typed behind `lab` for a running lab; empty: they are made from its fields."""

    # Shape of a step

    takes_for: Literal["", "lasts", "holds"] = ""
    """What `for` says next to it: how long its fault lasts, or how long its condition must hold; empty: it may not
    stand there."""
    may_fail: bool = False
    """Whether `on_failure: continue` may stand next to it."""
    overlay_needs: Literal["", "verb", "daemons"] = ""
    """What the overlay must have: this verb among those that it lists, or daemons; empty: nothing."""
    needs: tuple[str, ...] = ()
    """What hosts must be able to do, in the words with which a backend says what it lacks (`disk`)."""
    setup: Literal["", "up", "more", "watch"] = ""
    """Its part in a timeline's beginning: it brings the lab up, adds to it, or only watches and waits; empty: what
    it does is a disturbance."""

    file_data: str = ""
    """The key of its body that holds the content of a file which a step names, once the scenario is resolved."""
    only_time: bool = False
    """It only lets time pass: a saved session has the times of its steps instead."""

    # What its events mean to a reader of a history

    changes: Literal["", "end", "both"] = ""
    """When other things should be true than before: at the end of its step, at both ends of its fault, or never."""
    regroups: bool = False
    """Other hosts may reach each other after its step than before."""
    restless: bool = False
    """Nothing is settled before its fault is over: it changes something again and again."""
    moves: bool = False
    """Containers start or stop, and probes with them."""
    removes: bool = False
    """Nothing is demanded of a container that its event no longer names: it is gone for good, or gets no turns."""
    launches: Literal["", "first", "again"] = ""
    """Daemons run at its end: for the first time, or those that were there before."""
    forgets: bool = False
    """The hosts of its event forget what they knew."""
    healed: bool = False
    """A `heal` step ends its faults."""
    heals: bool = False
    """Its end joins hosts that were apart."""

    # The explorer

    odds: int = 0
    """How often it is drawn, compared with others."""
    estranges: bool = False
    """Peers that it is about may never find each other again if they have to forget each other, too."""
    hinders: bool = True
    """Commands may fail while its fault is in force."""

    @property
    def ends(self) -> tuple[str, ...]:
        """The verbs whose faults it ends."""
        return ()

    @property
    def lasts(self) -> bool:
        """Whether it is a fault: it begins with one event and is over with another, a step or more later."""
        return self.takes_for == "lasts"

    @property
    def asks(self) -> bool:
        """Whether it is a question: what it names must come true, and hold."""
        return self.takes_for == "holds"

    def allowed(self, overlay: OverlayKind) -> bool:
        """Whether it can be done on an overlay."""
        return {"": True, "verb": overlay.can(self.name), "daemons": overlay.has_daemons}[self.overlay_needs]

    def complete(self, step: "Step", body: B) -> None:
        """Raise `lab.scenario.base.fault` for what step and body do not say together."""

    def check(self, where: Where, body: B, known: "Known") -> Iterator["Problem"]:
        """What is wrong with it in this scenario: names that do not exist, say. `where` is the verb's place."""
        return iter(())

    def without_effect(self, where: Where, body: B, world: "ScenarioReach") -> Iterator["Problem"]:
        """Why it would do nothing. Names that do not exist are passed over here."""
        return iter(())

    def untimely(self, body: B, bench: "Bench") -> str:
        """Why it would do nothing in this run as it is now, and what is possible instead; empty: it makes sense. Asked
        of a step that somebody wants to be done at once, before anything is done."""
        return ""

    def inverse(self, body: B, bench: "Bench") -> Body | None:
        """The step that takes this one back, asked of a step by hand before it is done; None: nothing does. A fault
        needs none, because its heal does."""
        return None

    @property
    def invertible(self) -> bool:
        """Whether some of its steps can be taken back."""
        return type(self).inverse is not Verb.inverse

    def needed(self, body: B) -> tuple[str, ...]:
        """What of `needs` this step needs."""
        return self.needs

    def lacking(self, body: B, scenario: "Resolved") -> Iterator[str]:
        """What this machine has not got that this step needs wherever hosts are, one sentence each."""
        return iter(())

    def containers(self, body: B, services: "Mapping[str, Service]") -> Mapping[str, int]:
        """How many containers it leaves of each service that it starts or removes."""
        return {}

    def options(self, body: B) -> Mapping[str, bool | int | str]:
        """Options of the overlay that it brings."""
        return {}

    def commands(self, body: B) -> Iterator[tuple[str, Sequence[str], bool]]:
        """Commands that it runs: (place within the step, arguments, whether in a container)."""
        return iter(())

    def urls(self, body: B) -> Iterator[tuple[str, str]]:
        """URLs of which it reads the answer: (place within the step, URL)."""
        return iter(())

    def measures(self, body: B) -> Iterator[tuple[str, int]]:
        """(probe, longest time of a try in ns) of what it measures by itself."""
        return iter(())

    def plan(self, body: B, planning: Planning) -> "Plan":
        """What is done, decided once before anything is: a step, a fault or a question."""
        raise NotImplementedError

    def draw(self, chance: Chance) -> Drawn | None:
        """A random step for the explorer; None: there is none here."""
        return None

    def closing(self) -> Body | None:
        """The step that the explorer adds after the last fault, if it drew this verb."""
        return None

    def without_host(self, body: Body, host: str) -> Body | None:
        """A drawn body without a host; None when nothing is left of it."""
        if host in (body.get("host"), body.get("daemon")):
            return None
        if "hosts" not in body:
            return body
        hosts = [name for name in body["hosts"] if name != host]
        return {**body, "hosts": hosts} if hosts else None

    def least_hosts(self, body: Body) -> int:
        """How many hosts a drawn body must name."""
        return 1

    def simpler(self, body: Body) -> Iterator[Body]:
        """Plainer bodies for the explorer to try: with fewer hosts."""
        yield from fewer(body, "hosts", self.least_hosts(body))

    def bypassed(self, body: Body) -> Literal["never", "together", "always"]:
        """Whether hosts may be apart while its fault is in force which others could join: when two such faults are in
        force together, or always."""
        return "never"


def fewer(body: Body, key: str, least: int) -> Iterator[Body]:
    """A drawn body with one of the names of a list less, as long as so many are left."""
    names = body.get(key) or []
    if len(names) > least:
        for name in names:
            yield {**body, key: [other for other in names if other != name]}


NO_VERB: Verb[Any] = Verb()
"""Of events that are no step's: `up`, `down`, `join`."""


VERBS: Registry[Verb[Any]] = Registry("verb", Verb, "lab.verbs", first=import_module("lab.verbs").ORDER)


@cache
def verbs() -> Mapping[str, Verb[Any]]:
    """All verbs by name, in the order in which they are listed."""
    return {verb.name: verb for verb in VERBS}


@cache
def verb_of(what: str) -> Verb[Any]:
    """The verb of an event; `NO_VERB` of what is no step's."""
    try:
        return VERBS.get(what)
    except KindError:
        return NO_VERB

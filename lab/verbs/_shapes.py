"""Bodies that several verbs share: hosts, services, one peer and others."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, TypeVar

from pydantic import Field

from lab.contracts.fault import Bench
from lab.kinds.verbs import Body, Chance, Verb, Where, fewer
from lab.scenario.base import ALL, NAMES_SCHEMA, Model, Name, Names, Problem, chosen
from lab.scenario.check import Known
from lab.scenario.without_effect import ScenarioReach


class Hosts(Model):
    """Steps about hosts: `all`, a name, or a list of names."""

    hosts: Names = (ALL,)
    """Which hosts; `all` by default."""

    short_schema: ClassVar[tuple[dict[str, Any], ...]] = NAMES_SCHEMA

    @classmethod
    def expand(cls, value: Any) -> Any:
        return {"hosts": value} if isinstance(value, str | tuple) else value


class Services(Model):
    """Steps about services: `all`, a name, or a list of names."""

    services: Names = (ALL,)
    """Which services; `all` by default."""

    short_schema: ClassVar[tuple[dict[str, Any], ...]] = NAMES_SCHEMA

    @classmethod
    def expand(cls, value: Any) -> Any:
        return {"services": value} if isinstance(value, str | tuple) else value


class Ends(Model):
    """One host and others; nothing said: the first host and every other one."""

    source: Name | None = Field(None, alias="from")
    """The host that connects; by default the first one."""
    target: Names = Field((ALL,), alias="to")
    """The hosts that it connects to; `all` by default."""

    @classmethod
    def expand(cls, value: Any) -> Any:
        return {} if value == ALL else value

    @property
    def words(self) -> str:
        """It in a few words."""
        return "all" if self.source is None else f"{self.source} → {', '.join(self.target)}"

    def check(self, where: Where, known: Known) -> Iterator[Problem]:
        """Whether its hosts exist."""
        if self.source is not None:
            yield from known.host((*where, "from"), self.source)
        yield from known.hosts_of((*where, "to"), self.target)

    def without_effect(self, where: Where, world: ScenarioReach) -> Iterator[Problem]:
        """A host alone connects to nobody."""
        source = self.source or next(iter(world.hosts), "")
        if self.target == (source,):
            yield Problem((*where, "to"), f"{source} itself", "another host")

    def among(self, bench: Bench) -> tuple[str, tuple[str, ...]]:
        """The host and the others."""
        source = self.source or next(iter(bench.scenario.hosts))
        return source, tuple(name for name in chosen(self.target, bench.scenario.hosts) if name != source)


def replaced(host: str, other: str, services: Sequence[str]) -> tuple[dict[str, Any], ...]:
    """The steps with which a host that knows nothing joins again, and runs what it ran."""
    steps: list[dict[str, Any]] = [{"launch": [host]}, {"connect": {"from": host, "to": [other]}}]
    return (*steps, *([{"run": list(services)}] if services else []))


def drawn_ends(chance: Chance) -> dict[str, Any] | None:
    """A host and some others, at random; None where there is only one."""
    if len(chance.hosts) < 2:
        return None
    source, *targets = chance.rng.sample(list(chance.hosts), chance.rng.randint(2, len(chance.hosts)))
    return {"from": source, "to": sorted(targets, key=chance.hosts.index)}


E = TypeVar("E", bound=Ends)


class EndsVerb(Verb[E]):
    """A verb about one host and others: its body says what is wrong with it."""

    def check(self, where: Where, body: E, known: Known) -> Iterator[Problem]:
        yield from body.check(where, known)

    def without_effect(self, where: Where, body: E, world: ScenarioReach) -> Iterator[Problem]:
        yield from body.without_effect(where, world)

    def without_host(self, body: Body, host: str) -> Body | None:
        left = [name for name in body.get("to") or () if name != host]
        return {**body, "to": left} if left and body.get("from") != host else None

    def simpler(self, body: Body) -> Iterator[Body]:
        yield from fewer(body, "to", 1)

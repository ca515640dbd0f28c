"""What `link` and `trace` share: the directions that they change, and a fault that puts a change over links."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec
from pydantic import Field

from lab.contracts.fault import Bench, Fault, Mark
from lab.contracts.lab import Linked
from lab.cuts import one_way
from lab.errors import LabError
from lab.kinds.verbs import Body, Where, fewer
from lab.links.changes import LinkChange
from lab.scenario.base import ALL, Model, Names, Problem, chosen, listed
from lab.scenario.check import Known
from lab.scenario.without_effect import ScenarioReach

Directions = tuple[tuple[str, str], ...]


class LinkEnds(Model):
    """From which hosts to which; `both`: and back."""

    source: Names = Field((ALL,), alias="from")
    """Hosts that send; `all` by default."""
    target: Names = Field((ALL,), alias="to")
    """Hosts that they send to; `all` by default."""
    both: bool = False
    """Packets in the other direction too."""

    def pairs(self, hosts: Sequence[str]) -> Directions:
        """The directions that are meant, in the order of the hosts."""
        there = one_way(chosen(self.source, hosts), chosen(self.target, hosts))
        meant = there | {(receiver, sender) for sender, receiver in there} if self.both else there
        place = {host: number for number, host in enumerate(hosts)}
        return tuple(sorted(meant, key=lambda pair: (place.get(pair[0], -1), place.get(pair[1], -1))))

    def words(self) -> str:
        """Both sides, in a few words."""
        if self.source == self.target == (ALL,):
            return "all"
        return f"{listed(self.source, 3)} {'<->' if self.both else '->'} {listed(self.target, 3)}"


class LinkFault(Fault):
    """A change that is put over links; how it goes on is for those who inherit."""

    mark = Mark("link", "#b5651d")
    switch = True

    def __init__(self, what: str, label: str, ends: LinkEnds, hosts: Sequence[str], values: dict[str, Any]) -> None:
        self.what = what
        self.label = label
        self.victim = (what, label)
        self.pairs = ends.pairs(hosts)
        self._values = values
        self.told = {"links": [list(pair) for pair in self.pairs], "change": loss_of(values)}

    async def inject(self, bench: Bench, step: int) -> None:
        """Put it over the links."""
        await self._set(bench, step, self._values)

    async def heal(self, bench: Bench, step: int) -> None:
        """Take it away; what other steps say of the same links holds on."""
        await linked(bench).set_link(step, None)

    async def _set(self, bench: Bench, step: int, values: dict[str, Any]) -> None:
        await linked(bench).set_link(step, LinkChange(self.pairs, values))


def loss_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """What checks must know of a change: how many tries in a row may be expected to fail."""
    return {
        name: msgspec.to_builtins(values[name])
        for name in ("loss", "loss_correlation", "corrupt", "burst")
        if name in values
    }


def linked(bench: Bench) -> Linked:
    """The lab, if its links can be changed."""
    if not hasattr(bench.lab, "set_link"):
        raise LabError("the links of this backend cannot be changed while they run")
    return cast(Linked, bench.lab)


def check_ends(where: Where, body: LinkEnds, known: Known) -> Iterator[Problem]:
    """Hosts that do not exist."""
    yield from known.hosts_of((*where, "from"), body.source)
    yield from known.hosts_of((*where, "to"), body.target)


def without_link(where: Where, body: LinkEnds, world: ScenarioReach) -> Iterator[Problem]:
    """Directions of which there is none, or over which nothing goes."""
    named = (*chosen(body.source, world.hosts), *chosen(body.target, world.hosts))
    if world.known(named) and not world.linked(body.pairs(world.hosts)):
        yield Problem(where, f"{body.words()}: no link leads there", "hosts that have a link to each other")


def without_host(body: Body, host: str) -> Body | None:
    """A drawn body without a host."""
    ends = {key: [name for name in body[key] if name != host] for key in ("from", "to")}
    return {**body, **ends} if all(ends.values()) else None


def simpler(body: Body) -> Iterator[Body]:
    """Drawn bodies with fewer hosts."""
    for key in ("from", "to"):
        yield from fewer(body, key, 1)

"""`mtu`: packets above a size vanish between hosts."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from lab.contracts.fault import Fault
from lab.contracts.lab import Obstacle
from lab.fabric.plan import MTU
from lab.kinds.verbs import Body, Chance, Drawn, Planning, Where
from lab.scenario.base import ALL, Model, Names, Problem, chosen
from lab.scenario.values import Duration
from lab.scenario.without_effect import ScenarioReach
from lab.verbs._obstacle import ObstacleFault, ObstacleVerb


class ShrinkMtu(Model):
    """Packets between these hosts that are larger than `to` are dropped without ICMP (a black hole; RFC 2923)."""

    to: Annotated[int, Field(ge=576, le=65535)]
    """Bytes of the largest packet that passes."""
    hosts: Names = (ALL,)
    """Between which hosts; `all` by default."""
    for_: Duration | None = Field(None, alias="for")
    """It ends by itself after this time."""


class _Mtu(ObstacleVerb[ShrinkMtu]):
    name = "mtu"
    model = ShrinkMtu
    form = "`mtu: {to: 1200, hosts: all, for: 10s}`"
    about = (
        "packets above that size are dropped between these hosts, without ICMP. On real packets offloads are off "
        "meanwhile, so that the size of packets on the wire counts"
    )
    examples = ("mtu 1200 --for 10s", "mtu 1200 --hosts a,b")
    does = "shrink"

    def without_effect(self, where: Where, body: ShrinkMtu, world: ScenarioReach) -> Iterator[Problem]:
        yield from super().without_effect(where, body, world)
        if body.to >= MTU:
            expected = f"less than {MTU}, which is what hosts' interfaces send at most"
            yield Problem((*where, "to"), str(body.to), expected)

    def plan(self, body: ShrinkMtu, planning: Planning) -> Fault:
        return ObstacleFault("mtu", str(body.to), Obstacle(chosen(body.hosts, planning.hosts), mtu=body.to))

    def draw(self, chance: Chance) -> Drawn | None:
        if len(chance.hosts) < 2:
            return None
        return Drawn({"to": chance.rng.choice((700, 1200, 1400)), "hosts": chance.some_hosts(2)})

    def shape(self, body: Body) -> str:
        return str(body["to"])


KIND = _Mtu()

"""`scale`: run more or fewer replicas of a service."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Annotated

from pydantic import Field

from lab.contracts.fault import Bench
from lab.contracts.plan import Action, Detail
from lab.kinds.verbs import Body, Chance, Drawn, Planning, Verb, Where
from lab.scenario.base import Model, Name, Problem
from lab.scenario.check import Known
from lab.scenario.model import Service
from lab.scenario.without_effect import ScenarioReach
from lab.verbs._containers import remove, start
from lab.words import count


class Scale(Model):
    """Run more or fewer replicas of a service; 0 removes it."""

    service: Name
    """Which service."""
    to: Annotated[int, Field(ge=0, le=10_000)]
    """How many containers then."""


async def _scale(body: Scale, bench: Bench) -> Detail:
    """Start the replicas that are missing, or remove those with the highest numbers."""
    service = bench.scenario.services[body.service]
    wanted = {replica.name: replica for replica in map(service.replica, range(1, body.to + 1))}
    there = {replica.name: replica for replica in bench.live.chosen((service.name,), alive=False)}
    await start(bench, [replica for name, replica in wanted.items() if name not in there])
    await remove(bench, [replica for name, replica in reversed(there.items()) if name not in wanted])
    return bench.containers()


class _Scale(Verb[Scale]):
    name = "scale"
    model = Scale
    form = "`scale: {service, to: 6}`"
    about = "start or remove replicas until there are `to`; the highest numbers are removed first"
    examples = ("scale web 5",)
    changes = "end"
    moves = True
    removes = True
    odds = 8

    def check(self, where: Where, body: Scale, known: Known) -> Iterator[Problem]:
        yield from known.service((*where, "service"), body.service)

    def without_effect(self, where: Where, body: Scale, world: ScenarioReach) -> Iterator[Problem]:
        if body.service in world.services and world.running.get(body.service, 0) == body.to:
            found = f"{count(body.to, 'container')}, as {body.service} has already"
            yield Problem((*where, "to"), found, "another number")

    def containers(self, body: Scale, services: Mapping[str, Service]) -> Mapping[str, int]:
        return {body.service: body.to} if body.service in services else {}

    def inverse(self, body: Scale, bench: Bench) -> Body | None:
        return {"scale": {"service": body.service, "to": len(bench.live.chosen((body.service,), alive=False))}}

    def plan(self, body: Scale, planning: Planning) -> Action:
        return Action(f"scale {body.service} to {body.to}", partial(_scale, body))

    def draw(self, chance: Chance) -> Drawn | None:
        if not chance.elastic:
            return None
        name = chance.rng.choice(list(chance.elastic))
        before = chance.elastic[name]
        to = chance.rng.choice([number for number in range(before + 4) if number != before])
        return Drawn({"service": name, "to": to}, undo={"scale": {"service": name, "to": before}})


KIND = _Scale()

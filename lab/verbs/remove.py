"""`remove`: remove all containers of services."""

from collections.abc import Iterator, Mapping
from functools import partial

from lab.contracts.fault import Bench
from lab.contracts.plan import Action, Detail
from lab.kinds.verbs import Body, Chance, Drawn, Planning, Verb, Where
from lab.scenario.base import Problem, chosen
from lab.scenario.check import Known
from lab.scenario.model import Service
from lab.verbs import _containers
from lab.verbs._shapes import Services


class Remove(Services):
    """Remove all containers of services (`docker rm -f`)."""


async def _remove(body: Remove, bench: Bench) -> Detail:
    names = chosen(body.services, bench.scenario.services)
    await _containers.remove(bench, bench.live.chosen(names, alive=False))
    return bench.containers()


class _Remove(Verb[Remove]):
    name = "remove"
    model = Remove
    form = "`remove: all`, `remove: [svc1]`"
    about = "remove all containers of services"
    changes = "end"
    moves = True
    removes = True
    odds = 2

    def check(self, where: Where, body: Remove, known: Known) -> Iterator[Problem]:
        yield from known.services_of((*where, "services"), body.services)

    def containers(self, body: Remove, services: Mapping[str, Service]) -> Mapping[str, int]:
        return {name: 0 for name in chosen(body.services, services) if name in services}

    def inverse(self, body: Remove, bench: Bench) -> Body | None:
        names = chosen(body.services, bench.scenario.services)
        there = len(bench.live.chosen(names, alive=False))
        if len(names) == 1 and there != bench.scenario.services[names[0]].replicas:
            return {"scale": {"service": names[0], "to": there}}  # it had been scaled
        return {"run": list(body.services)}

    def plan(self, body: Remove, planning: Planning) -> Action:
        return Action(f"remove {', '.join(body.services)}", partial(_remove, body))

    def draw(self, chance: Chance) -> Drawn | None:
        if not chance.elastic:
            return None
        name = chance.rng.choice(list(chance.elastic))
        return Drawn({"services": [name]}, undo={"run": [name]})


KIND = _Remove()

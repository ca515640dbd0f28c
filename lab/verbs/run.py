"""`run`: start services, each on its hosts."""

from collections.abc import Iterator, Mapping
from functools import partial

from lab.contracts.fault import Bench
from lab.contracts.plan import Action, Detail
from lab.kinds.verbs import Body, Planning, Verb, Where
from lab.scenario.base import Problem, chosen
from lab.scenario.check import Known
from lab.scenario.model import Service
from lab.verbs._containers import start
from lab.verbs._shapes import Services


class Run(Services):
    """Start services, each on its hosts. With `ipam` the overlay chooses all addresses, also of those that have one."""

    ipam: bool = False
    """The overlay chooses the addresses, even if a service sets one."""


async def _run(body: Run, bench: Bench) -> Detail:
    services = [bench.scenario.services[name] for name in chosen(body.services, bench.scenario.services)]
    replicas = [service.replica(number) for service in services for number in range(1, service.replicas + 1)]
    await start(bench, [replica.without_address() for replica in replicas] if body.ipam else replicas)
    return bench.containers()


class _Run(Verb[Run]):
    name = "run"
    model = Run
    form = "`run: all`, `run: [svc1]`"
    about = (
        "start services; with `{services, ipam: true}` the overlay chooses the addresses, even if a service sets one"
    )
    setup = "up"
    changes = "end"
    moves = True

    def check(self, where: Where, body: Run, known: Known) -> Iterator[Problem]:
        yield from known.services_of((*where, "services"), body.services)

    def containers(self, body: Run, services: Mapping[str, Service]) -> Mapping[str, int]:
        named = (name for name in chosen(body.services, services) if name in services)
        return {name: services[name].replicas or 1 for name in named}

    def inverse(self, body: Run, bench: Bench) -> Body | None:
        return {"remove": list(body.services)}

    def plan(self, body: Run, planning: Planning) -> Action:
        return Action(f"run {', '.join(body.services)}", partial(_run, body))


KIND = _Run()

"""`move`: a container goes to another host, with its address if its service has one: removed there, started here."""

from collections.abc import Iterator
from functools import partial

import msgspec

from lab.contracts.fault import Bench
from lab.contracts.plan import Action, Detail
from lab.errors import LabError
from lab.kinds.verbs import Body, Planning, Verb, Where
from lab.scenario.base import Model, Name, Problem
from lab.scenario.check import Known
from lab.scenario.resolve import Replica
from lab.scenario.without_effect import ScenarioReach
from lab.verbs._containers import of_step, remove, start


class MoveContainer(Model):
    """The container of a service that has one is removed, and started on another host."""

    service: Name
    """The service whose one container goes."""
    to: Name
    """The host it goes to."""


async def _move(body: MoveContainer, bench: Bench) -> Detail:
    there = bench.live.chosen((body.service,), alive=False)
    if len(there) != 1:
        raise LabError(f"move {body.service}: it has {len(there)} containers, expected one")
    (replica,) = there
    if body.to in bench.live.hosts_down:
        raise LabError(f"move {body.service}: {body.to} is switched off")
    if replica.host == body.to:
        raise LabError(f"move {body.service}: it is on {body.to} already")
    if bench.overlay.has_daemons and body.to not in bench.live.daemons:
        raise LabError(
            f"move {body.service}: found no daemon on {body.to}, expected one, because it gives containers their "
            f"network; `restart: {{daemon: {body.to}}}` starts it"
        )
    await remove(bench, [replica])
    try:
        await start(bench, [msgspec.structs.replace(replica, host=body.to)])
    except LabError as error:
        raise LabError(f"move {body.service}: {of_step(error)}; {await _put_back(bench, replica)}") from error
    return bench.containers()


async def _put_back(bench: Bench, replica: Replica) -> str:
    """Start it where it was, and say what became of it."""
    try:
        await start(bench, [replica])
    except LabError as error:
        why = of_step(error)
        return f"it is not on {replica.host} either ({why}), so it runs nowhere: `run: {replica.service}` starts it"
    return f"it is on {replica.host} again"


class _Move(Verb[MoveContainer]):
    name = "move"
    model = MoveContainer
    form = "`move: {service, to: host2}`"
    about = (
        "remove the only container of a service and start it on another host, with its address if the service sets "
        "one; otherwise the overlay chooses a new one"
    )
    examples = ("move web host2",)
    changes = "end"
    moves = True

    def check(self, where: Where, body: MoveContainer, known: Known) -> Iterator[Problem]:
        yield from known.service((*where, "service"), body.service)
        yield from known.host((*where, "to"), body.to)

    def without_effect(self, where: Where, body: MoveContainer, world: ScenarioReach) -> Iterator[Problem]:
        running = world.running.get(body.service)
        if body.service in world.services and running is not None and running > 1:
            yield Problem((*where, "service"), f"{running} containers of {body.service}", "a service that has one")

    def inverse(self, body: MoveContainer, bench: Bench) -> Body | None:
        there = bench.live.chosen((body.service,), alive=False)
        return {"move": {"service": body.service, "to": there[0].host}} if len(there) == 1 else None

    def plan(self, body: MoveContainer, planning: Planning) -> Action:
        return Action(f"move {body.service} to {body.to}", partial(_move, body))


KIND = _Move()

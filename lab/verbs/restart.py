"""`restart`: start again what `kill` has killed."""

from collections.abc import Iterator
from functools import partial

from lab.contracts.fault import Bench, Restartable
from lab.contracts.plan import Action, Detail
from lab.kinds.verbs import Planning, Verb, Where
from lab.scenario.base import Problem, fault
from lab.scenario.check import Known
from lab.scenario.steps import Step
from lab.verbs.kill import Victim, death_of


async def _restart(death: Restartable, bench: Bench) -> Detail:
    return {"hosts": await bench.restart(death), **bench.containers()}


class _Restart(Verb[Victim]):
    name = "restart"
    model = Victim
    form = "`restart:` the same"
    about = "start the daemon, host (with its containers) or containers again"
    changes = "end"
    regroups = True
    moves = True
    launches = "again"
    ends = ("kill",)

    def complete(self, step: Step, body: Victim) -> None:
        if body.for_ is not None:
            raise fault("no `for`: a restart lasts", "`for` with restart")

    def check(self, where: Where, body: Victim, known: Known) -> Iterator[Problem]:
        yield from body.check(where, known)

    def plan(self, body: Victim, planning: Planning) -> Action:
        death = death_of(body)
        return Action(death.label.replace("kill", "restart", 1), partial(_restart, death))


KIND = _Restart()

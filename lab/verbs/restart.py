"""`restart`: start again what `kill` has killed; of a container engine also one that runs."""

from collections.abc import Iterator
from functools import partial

from lab.contracts.fault import Bench, Restartable
from lab.contracts.plan import Action, Detail
from lab.kinds.verbs import Planning, Verb, Where
from lab.scenario.base import Problem, fault
from lab.scenario.check import Known
from lab.scenario.steps import Step
from lab.verbs.kill import KillVictim, death_of, engine_needs


async def _restart(death: Restartable, bench: Bench) -> Detail:
    return {"hosts": await bench.restart(death), **bench.containers()}


class _Restart(Verb[KillVictim]):
    name = "restart"
    model = KillVictim
    form = "`restart:` the same"
    about = (
        "start the daemon, host (with its containers), engine or containers again. An engine that runs is ended by "
        "SIGTERM first, as by `systemctl restart docker`"
    )
    needs = ("engine", "live-restore")
    changes = "end"
    regroups = True
    moves = True
    launches = "again"
    ends = ("kill",)

    def complete(self, step: Step, body: KillVictim) -> None:
        if body.for_ is not None:
            raise fault("no `for`: a restart lasts", "`for` with restart")
        if body.farewell:
            raise fault("no `farewell`, which is for `kill`", "`farewell` with restart")

    def check(self, where: Where, body: KillVictim, known: Known) -> Iterator[Problem]:
        yield from body.check(where, known)

    def needed(self, body: KillVictim) -> tuple[str, ...]:
        return engine_needs(body)

    def plan(self, body: KillVictim, planning: Planning) -> Action:
        death = death_of(body)
        return Action(death.label.replace("kill", "restart", 1), partial(_restart, death))


KIND = _Restart()

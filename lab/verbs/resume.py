"""`resume`: SIGCONT of what `pause` has stopped."""

from collections.abc import Iterator
from functools import partial

from lab.contracts.fault import Bench
from lab.contracts.plan import Action, Detail
from lab.errors import LabError
from lab.kinds.verbs import Planning, Verb, Where
from lab.scenario.base import Problem, fault
from lab.scenario.check import Known
from lab.scenario.steps import Step
from lab.verbs.kill import Victim, check_victim
from lab.verbs.pause import PauseFault


async def _resume(pause: PauseFault, bench: Bench) -> Detail:
    steps = [step for step, other in bench.in_force(pause.what).items() if other.victim == pause.victim]
    if not steps:
        raise LabError(f"nothing to resume: no `{pause.label}` is in force")
    for step in steps:
        await bench.heal(step)
    return {"hosts": [host for host in pause.hosts if host in bench.live.daemons], **bench.containers()}


class _Resume(Verb[Victim]):
    name = "resume"
    model = Victim
    form = "`resume:` the same"
    about = "SIGCONT: the paused processes continue"
    changes = "end"
    regroups = True
    moves = True
    launches = "again"
    ends = ("pause",)

    def complete(self, step: Step, body: Victim) -> None:
        if body.for_ is not None:
            raise fault("no `for`: what is resumed goes on", "`for` with resume")

    def check(self, where: Where, body: Victim, known: Known) -> Iterator[Problem]:
        yield from check_victim("pause", where, body, known)

    def plan(self, body: Victim, planning: Planning) -> Action:
        pause = PauseFault(body)
        return Action(pause.label.replace("pause", "resume", 1), partial(_resume, pause))


KIND = _Resume()

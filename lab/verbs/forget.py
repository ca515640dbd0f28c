"""`forget`: undo `connect`."""

from collections.abc import Iterator
from functools import partial

from lab.contracts.fault import Bench
from lab.contracts.plan import Action, Detail
from lab.kinds.verbs import Planning, Verb, Where
from lab.overlays.weave import weave_of
from lab.scenario.base import Problem
from lab.scenario.check import Known
from lab.scenario.without_effect import ScenarioReach
from lab.verbs._shapes import Ends


class Forget(Ends):
    """Undo `connect`: the targets are no longer dialled."""


async def _forget(body: Forget, bench: Bench) -> Detail:
    source, targets = body.among(bench)
    await weave_of(bench.overlay).forget(source, targets)
    return {"from": source, "to": list(targets)}


class _Forget(Verb[Forget]):
    name = "forget"
    model = Forget
    form = "`forget: {from, to}`"
    about = "undo that"
    overlay_needs = "verb"
    changes = "end"

    def check(self, where: Where, body: Forget, known: Known) -> Iterator[Problem]:
        yield from body.check(where, known)

    def without_effect(self, where: Where, body: Forget, world: ScenarioReach) -> Iterator[Problem]:
        yield from body.without_effect(where, world)

    def plan(self, body: Forget, planning: Planning) -> Action:
        return Action(f"forget {body.words}", partial(_forget, body))


KIND = _Forget()

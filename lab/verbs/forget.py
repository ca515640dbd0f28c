"""`forget`: undo `connect`."""

from functools import partial

from lab.contracts.fault import Bench
from lab.contracts.plan import Action, Detail
from lab.kinds.verbs import Planning
from lab.overlays.weave import weave_of
from lab.verbs._shapes import Ends, EndsVerb


class Forget(Ends):
    """Undo `connect`: the targets are no longer dialled."""


async def _forget(body: Forget, bench: Bench) -> Detail:
    source, targets = body.among(bench)
    await weave_of(bench.overlay).forget(source, targets)
    return {"from": source, "to": list(targets)}


class _Forget(EndsVerb[Forget]):
    name = "forget"
    model = Forget
    form = "`forget: {from, to}`"
    about = "undo a `connect`"
    overlay_needs = "verb"
    changes = "end"

    def plan(self, body: Forget, planning: Planning) -> Action:
        return Action(f"forget {body.words}", partial(_forget, body))


KIND = _Forget()

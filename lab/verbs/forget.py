"""`forget`: undo `connect`."""

from functools import partial

from lab.contracts.fault import Bench
from lab.contracts.plan import Action, Detail
from lab.kinds.verbs import Chance, Drawn, Planning
from lab.overlays.weave import weave_of
from lab.verbs._shapes import Ends, EndsVerb, drawn_ends


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
    odds = 2
    estranges = True

    def plan(self, body: Forget, planning: Planning) -> Action:
        return Action(f"forget {body.words}", partial(_forget, body))

    def draw(self, chance: Chance) -> Drawn | None:
        """Targets are dialled no more, and then again."""
        body = drawn_ends(chance)
        return None if body is None else Drawn(body, undo={"connect": body})


KIND = _Forget()

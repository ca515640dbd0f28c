"""`detach`: one overlay address less for the containers of a service."""

from collections.abc import Iterator
from functools import partial

from lab.contracts.fault import Bench
from lab.contracts.plan import Action, Detail
from lab.kinds.verbs import Body, Planning, Verb, Where
from lab.overlays.weave import weave_of
from lab.scenario.base import Problem
from lab.scenario.check import Known
from lab.verbs._containers import on_each, some
from lab.verbs.attach import Attach


async def _detach(body: Attach, bench: Bench) -> Detail:
    await on_each(
        bench,
        some(bench, body.service),
        lambda replica: weave_of(bench.overlay).detach(replica, body.address),
        "detached",
    )
    return bench.containers()


class _Detach(Verb[Attach]):
    name = "detach"
    model = Attach
    form = "`detach: svc1`, `{service, address}`"
    about = "take one address from the containers of a service, or all of them"
    overlay_needs = "verb"
    changes = "end"
    moves = True

    def check(self, where: Where, body: Attach, known: Known) -> Iterator[Problem]:
        yield from known.service((*where, "service"), body.service)

    def inverse(self, body: Attach, bench: Bench) -> Body | None:
        return {"attach": {"service": body.service, "address": body.address}} if body.address else None

    def plan(self, body: Attach, planning: Planning) -> Action:
        return Action(f"detach {body.words}", partial(_detach, body))


KIND = _Detach()

"""`attach`: one more overlay address for the containers of a service."""

from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar

from lab.contracts.fault import Bench
from lab.contracts.plan import Action, Detail
from lab.kinds.verbs import Body, Chance, Drawn, Planning, Verb, Where
from lab.overlays.weave import weave_of
from lab.scenario.base import Model, Name, Problem
from lab.scenario.check import Known
from lab.verbs._containers import on_each, some


class Attach(Model):
    """Give the containers of a service one more (or their first) overlay address; `detach` takes it away."""

    service: Name
    """Whose containers."""
    address: str | None = None
    """The address with prefix length; without it the overlay chooses."""

    short_schema: ClassVar[tuple[dict[str, Any], ...]] = ({"type": "string"},)

    @classmethod
    def expand(cls, value: Any) -> Any:
        return {"service": value} if isinstance(value, str) else value

    @property
    def words(self) -> str:
        """It in a few words."""
        return f"{self.service} {self.address or ''}".strip()


async def _attach(body: Attach, bench: Bench) -> Detail:
    await on_each(
        bench,
        some(bench, body.service),
        lambda replica: weave_of(bench.overlay).attach(replica, body.address),
        "attached",
    )
    return bench.containers()


class _Attach(Verb[Attach]):
    name = "attach"
    model = Attach
    form = "`attach: svc1`, `{service, address}`"
    about = "give the containers of a service one more address"
    overlay_needs = "verb"
    setup = "more"
    changes = "end"
    moves = True
    odds = 1

    def check(self, where: Where, body: Attach, known: Known) -> Iterator[Problem]:
        yield from known.service((*where, "service"), body.service)

    def inverse(self, body: Attach, bench: Bench) -> Body | None:
        return {"detach": {"service": body.service, "address": body.address}} if body.address else None

    def plan(self, body: Attach, planning: Planning) -> Action:
        return Action(f"attach {body.words}", partial(_attach, body))

    def draw(self, chance: Chance) -> Drawn | None:
        if not chance.attachable:
            return None
        body = {"service": chance.rng.choice(chance.attachable), "address": f"10.250.{chance.number}.1/24"}
        return Drawn(body, undo={"detach": body})


KIND = _Attach()

"""`heal`: undo all partitions, and all changes of links."""

from typing import Any, ClassVar, Literal

from lab.contracts.fault import Bench
from lab.contracts.plan import Action, Detail
from lab.kinds.verbs import Planning, Verb, verbs
from lab.scenario.base import ALL_ONLY, Model


class Heal(Model):
    """Undo partitions, `link`, `trace` and `flap`: all of them."""

    what: Literal["all"] = "all"
    """Everything."""

    short_schema: ClassVar[tuple[dict[str, Any], ...]] = ALL_ONLY

    @classmethod
    def expand(cls, value: Any) -> Any:
        return {"what": value} if isinstance(value, str) else value


async def _heal(bench: Bench) -> Detail:
    for what in KIND.ends:
        for step in bench.in_force(what):
            await bench.heal(step)
    return {}


class _Heal(Verb[Heal]):
    name = "heal"
    model = Heal
    form = "`heal: all`"
    about = "end all partitions, and all `link`, `trace` and `flap`"
    examples = ("heal",)
    changes = "end"
    regroups = True
    heals = True

    @property
    def ends(self) -> tuple[str, ...]:
        return tuple(verb.name for verb in verbs().values() if verb.healed)

    def untimely(self, body: Heal, bench: Bench) -> str:
        return (
            ""
            if any(bench.in_force(what) for what in self.ends)
            else "there is nothing to heal: no partition, and no change of a link"
        )

    def plan(self, body: Heal, planning: Planning) -> Action:
        return Action("heal all", _heal)


KIND = _Heal()

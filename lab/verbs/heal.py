"""`heal`: undo all partitions, and all changes of links."""

from collections.abc import Collection, Iterator
from typing import Any, ClassVar, Literal

from lab.contracts.fault import Bench
from lab.contracts.plan import Action, Detail
from lab.kinds.verbs import VERBS, Planning, Verb, verb_of, verbs
from lab.scenario.base import ALL_ONLY, Model


class Heal(Model):
    """Undo partitions, `link`, `trace` and `flap`: all of them."""

    what: Literal["all"] = "all"
    """Everything."""

    short_schema: ClassVar[tuple[dict[str, Any], ...]] = ALL_ONLY

    @classmethod
    def expand(cls, value: Any) -> Any:
        return {"what": value} if isinstance(value, str) else value


class _Healed(Collection[str]):
    """The verbs whose faults end with a heal. A verb is imported when it is asked about, because most runs have few."""

    def __contains__(self, what: object) -> bool:
        return verb_of(str(what)).healed

    def __iter__(self) -> Iterator[str]:
        return (verb.name for verb in verbs().values() if verb.healed)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return True


_HEALED = _Healed()


async def _heal(bench: Bench) -> Detail:
    for what in VERBS.names():
        for step in bench.in_force(what):
            if what in KIND.ends:
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
    def ends(self) -> Collection[str]:
        return _HEALED

    def untimely(self, body: Heal, bench: Bench) -> str:
        return (
            ""
            if any(what in self.ends for what in VERBS.names() if bench.in_force(what))
            else "there is nothing to heal: no partition, and no change of a link"
        )

    def plan(self, body: Heal, planning: Planning) -> Action:
        return Action("heal all", _heal)


KIND = _Heal()

"""The verb `storm`: for a while nothing goes to an island and nothing leaves it."""

from collections.abc import Iterator

from pydantic import Field

from lab.contracts.fault import Bench, Fault, Mark
from lab.cuts import complete, isolated, union
from lab.kinds.verbs import Planning, Verb, Where
from lab.scenario.base import Model, Names, Problem, chosen
from lab.scenario.check import Known
from lab.scenario.values import Duration


class Storm(Model):
    """Cut islands off."""

    around: Names
    for_: Duration | None = Field(None, alias="for")


class StormFault(Fault):
    """One storm."""

    what = "storm"
    mark = Mark("storm", "#2a6f97")
    victim = ("storm", "")
    switch = True

    def __init__(self, body: Storm, hosts: tuple[str, ...]) -> None:
        self.label = f"storm around {', '.join(body.around)}"
        self._cut = complete(isolated(hosts, chosen(body.around, hosts)))

    async def inject(self, bench: Bench, step: int) -> None:
        """It begins."""
        bench.live.cuts[step] = self._cut
        await bench.lab.set_cut(union(bench.live.cuts))

    async def heal(self, bench: Bench, step: int) -> None:
        """It is over."""
        bench.live.cuts.pop(step, None)
        await bench.lab.set_cut(union(bench.live.cuts))


class _Storm(Verb[Storm]):
    name = "storm"
    model = Storm
    form = "`storm: {around: south, for: 5s}`"
    about = "nothing goes to these islands, and nothing leaves them"
    takes_for = "lasts"
    changes = "both"
    heals = True

    def check(self, where: Where, body: Storm, known: Known) -> Iterator[Problem]:
        yield from known.hosts_of((*where, "around"), body.around)

    def plan(self, body: Storm, planning: Planning) -> Fault:
        return StormFault(body, planning.hosts)


KIND = _Storm()

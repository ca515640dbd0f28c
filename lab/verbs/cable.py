"""`cable`: what a cable of the underlay's topology does to packets changes while it runs, or it breaks.

A cable joins two nodes, and whatever crosses it is hit: routes go around a broken one, or with `routes: static` they
lead into it. Links between hosts are `lab.verbs.link`'s.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Literal, cast

from pydantic import Field, model_validator

from lab.contracts.fault import Bench, Fault, Mark
from lab.contracts.lab import Cabled
from lab.errors import LabError
from lab.kinds.verbs import Planning, Verb, Where
from lab.links.topology import EdgeChange
from lab.scenario.base import Name, Problem, at_least, fault
from lab.scenario.check import Known
from lab.scenario.link_spec import LinkSpec
from lab.scenario.link_words import link_words
from lab.scenario.topology_check import node_problem
from lab.scenario.values import Duration
from lab.scenario.without_effect import ScenarioReach
from lab.verbs._links import loss_of


class ChangeCable(LinkSpec):
    """Change all cables between two nodes, in both directions where they have both, or break them."""

    between: Annotated[tuple[Name, ...], at_least(2, "nodes")]
    """The two nodes."""
    down: bool = False
    """The cables carry nothing."""
    routes: Literal["around", "static"] | None = None
    """Whether routes go around what is down, or stay."""
    for_: Duration | None = Field(None, alias="for")
    """It ends by itself after this time."""

    @model_validator(mode="after")
    def _something(self) -> "ChangeCable":
        if len(self.between) != 2 or self.between[0] == self.between[1]:
            raise fault("two nodes in `between`", ", ".join(self.between))
        if not self.down and not self.values():
            raise fault("`down: true`, or at least one of delay, loss, rate … to change", "none of them")
        if self.down and self.values():
            raise fault("either `down: true`, or parameters to change", "both")
        if self.routes is not None and not self.down:
            raise fault("`routes` with `down: true`: routes do not change by what a cable does", "`routes` alone")
        return self

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Both directions."""
        one, other = self.between
        return ((one, other), (other, one))

    def words(self) -> str:
        """It in a few words."""
        static = " (static routes)" if self.routes == "static" else ""
        said = f"down{static}" if self.down else link_words(self.values())
        return f"{' - '.join(self.between)}: {said}"


class CableFault(Fault):
    """A change of a cable that is in force until the step's end."""

    what = "cable"
    mark = Mark("cable", "#8a4b6b")
    switch = True

    def __init__(self, body: ChangeCable) -> None:
        self.label = f"cable {body.words()}"
        self.victim = ("cable", self.label)
        self._change = EdgeChange(body.pairs, body.values(), body.down, body.routes != "static")
        self.told = {"cable": list(body.between), "change": loss_of(body.values())}
        if body.down:
            self.told |= {"down": True, "static": body.routes == "static"}

    async def inject(self, bench: Bench, step: int) -> None:
        """Put it over the cable."""
        await _cabled(bench).set_cable(step, self._change)

    async def heal(self, bench: Bench, step: int) -> None:
        """Take it away; what other steps say of the same cable holds on."""
        await _cabled(bench).set_cable(step, None)


def _cabled(bench: Bench) -> Cabled:
    if not hasattr(bench.lab, "set_cable") or bench.scenario.topology is None:
        raise LabError("this lab has no topology whose cables could be changed")
    return cast(Cabled, bench.lab)


class _Cable(Verb[ChangeCable]):
    name = "cable"
    model = ChangeCable
    form = "`cable: {between: [A, B], down: true, for: 10s}`, `cable: {between: [A, B], delay: 50ms, loss: 1%}`"
    about = (
        "break the cables between two nodes of the topology, or change their parameters. Routes go around what is "
        "down; with `routes: static` they do not. Ends with `for` or `heal`"
    )
    examples = ("cable Berlin Hamburg --down --for 10s",)
    takes_for = "lasts"
    healed = True
    needs = ("topology",)
    # What it costs while it lasts is not judged; from its end on all must be as it was.
    changes = "end"

    def check(self, where: Where, body: ChangeCable, known: Known) -> Iterator[Problem]:
        topology = known.scenario.underlay.topology
        nodes = topology.names() if topology is not None else ()
        for index, name in enumerate(body.between):
            if name not in nodes:
                yield node_problem((*where, "between", index), name, nodes)

    def without_effect(self, where: Where, body: ChangeCable, world: ScenarioReach) -> Iterator[Problem]:
        topology = world.topology
        if topology is None or not set(body.between) <= set(topology.nodes):
            return
        edges = [topology.edges[number] for pair in body.pairs for number in topology.between(*pair)]
        if not edges:
            yield Problem((*where, "between"), " - ".join(body.between), "two nodes that a cable joins")
        for wrong in dict.fromkeys(wrong for edge in edges for wrong in replace(edge.link, **body.values()).faults()):
            found, _, expected = wrong.partition(", expected ")
            yield Problem(where, found, expected or "values that fit")

    def plan(self, body: ChangeCable, planning: Planning) -> Fault:
        return CableFault(body)


KIND = _Cable()

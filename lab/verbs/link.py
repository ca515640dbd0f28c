"""`link`: what a link does to packets changes while it runs, parameter by parameter, until the step's fault ends."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field, model_validator

from lab.contracts.fault import Fault
from lab.kinds.verbs import Body, Chance, Drawn, Planning, Verb, Where
from lab.scenario.base import Problem, fault
from lab.scenario.check import Known
from lab.scenario.link_spec import LinkSpec
from lab.scenario.link_words import link_words
from lab.scenario.values import Duration
from lab.scenario.without_effect import ScenarioReach
from lab.verbs._links import LinkEnds, LinkFault, check_ends, simpler, without_host, without_link


class ChangeLink(LinkEnds, LinkSpec):
    """Change a link while it runs. What is not said stays as it is; what is said holds until the step's end."""

    for_: Duration | None = Field(None, alias="for")
    """It ends by itself after this time."""

    @model_validator(mode="after")
    def _something(self) -> "ChangeLink":
        if not self.values():
            raise fault("at least one of delay, loss, rate … to change", "none of them")
        return self

    def said(self) -> str:
        """The parameters, in a few words."""
        return link_words(self.values())


class _Link(Verb[ChangeLink]):
    name = "link"
    model = ChangeLink
    form = "`link: {from: a, to: b, delay: 50ms, loss: 1%, rate: 1mbit, both: true, for: 10s}`"
    about = "change parameters of links; the others stay, see docs/links.md. Ends with `for` or `heal`"
    examples = ("link a b --delay 50ms --for 10s", "link a b --loss 1% --both")
    file_data = "table"
    takes_for = "lasts"
    healed = True
    needs = ("links",)
    # What it costs while it lasts is not judged; from its end on all must be as it was.
    changes = "end"
    odds = 3

    def check(self, where: Where, body: ChangeLink, known: Known) -> Iterator[Problem]:
        yield from check_ends(where, body, known)

    def without_effect(self, where: Where, body: ChangeLink, world: ScenarioReach) -> Iterator[Problem]:
        yield from without_link(where, body, world)
        values, told = body.values(), set[str]()
        if (links := world.links) is None:
            return
        for sender, receiver in body.pairs(world.hosts):
            for wrong in replace(links.between(sender, receiver), **values).faults():
                if wrong not in told:
                    told.add(wrong)
                    found, _, expected = wrong.partition(", expected ")
                    yield Problem(where, f"{sender} -> {receiver}: {found}", expected or "values that fit")

    def plan(self, body: ChangeLink, planning: Planning) -> Fault:
        return LinkFault("link", f"link {body.words()}: {body.said()}", body, planning.hosts, body.values())

    def draw(self, chance: Chance) -> Drawn | None:
        if len(chance.hosts) < 2:
            return None
        rng = chance.rng
        ends = {"from": chance.some_hosts(1), "to": chance.some_hosts(2), "both": rng.choice((True, False))}
        values: tuple[dict[str, Any], ...] = (
            {"delay": "80ms", "jitter": "20ms"},
            {"loss": "20%"},
            {"burst": {"enter": "5%", "leave": "30%"}},
            {"rate": "256kbit", "queue": "50ms"},
            {"delay": "20ms", "reorder": "20%", "duplicate": "10%"},
            {"corrupt": "5%"},
            {"mtu": 1200},
        )
        return Drawn(ends | rng.choice(values))

    def without_host(self, body: Body, host: str) -> Body | None:
        return without_host(body, host)

    def simpler(self, body: Body) -> Iterator[Body]:
        yield from simpler(body)

    def bypassed(self, body: Body) -> Literal["never", "together", "always"]:
        return "always"  # what it loses or delays may be more than two peers put up with

    def by_chance(self, body: Body) -> bool:
        return bool(body.keys() & {"loss", "burst", "corrupt"})

    def shape(self, body: Body) -> str:
        return " ".join(key for key in body if key not in ("from", "to", "both"))


KIND = _Link()

"""`load`: requests from some services to others at a fixed rate, whether they are answered or not (an open loop).

Its tries are samples of the probe `load` (`lab.probes.kinds.load`), so they are in history, summary and figures, and
`steady:` can set limits for them.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from lab.contracts.fault import Bench, Fault, Mark
from lab.errors import LabError
from lab.kinds.verbs import Planning, Verb, Where
from lab.scenario.base import Model, Names, Problem, chosen
from lab.scenario.check import Known, each
from lab.scenario.resolve import ProbePlan
from lab.scenario.values import UNITS, Duration, Frequency
from lab.scenario.without_effect import ScenarioReach

_MOST = 5000
"""Requests a second: more is not sent on time by one process in Python."""


class LoadGenerator(Model):
    """So many requests a second from all of `from` together to all of `to` in turn."""

    source: Names = Field(alias="from")
    """Services whose containers send."""
    target: Names = Field(alias="to")
    """Services whose containers are asked."""
    rate: Annotated[Frequency, Field(ge=UNITS["s"] // _MOST)]
    """How many requests, from all containers together."""
    by: Literal["http", "icmp", "udp"] = "http"
    """What is sent."""
    timeout: Annotated[Duration, Field(ge=UNITS["ms"])] = UNITS["s"]
    """A request without an answer by then has failed."""
    for_: Duration | None = Field(None, alias="for")
    """It ends by itself after this time."""


class LoadFault(Fault):
    """Not a fault: it goes on in parallel with the timeline, and ends as faults do."""

    what = "load"
    mark = Mark("load", "#7a7a7a")
    harmless = True

    def __init__(self, body: LoadGenerator) -> None:
        sources, targets = (", ".join(names) for names in (body.source, body.target))
        self.victim = ("load", f"{sources} → {targets}")
        self.label = f"load {sources} → {targets} {UNITS['s'] / body.rate:g}/s by {body.by}"
        self._body = body
        self._plan: int | None = None

    async def inject(self, bench: Bench, step: int) -> None:
        """Begin to send; the probes follow by themselves."""
        body = self._body
        others = [fault for fault in bench.in_force("load").values() if fault is not self]
        if any(fault.victim == self.victim for fault in others):
            raise LabError(f"there is a load {self.victim[1]} already")
        services = bench.scenario.services
        able = tuple(name for name, service in services.items() if service.port or body.by != "http")
        plan = ProbePlan(
            kind="load",
            sources=chosen(body.source, services),
            targets=chosen(body.target, able),
            every=body.rate,
            rate=body.rate,
            timeout=body.timeout,
            options={"by": body.by},
        )
        self._plan = bench.probing.add_plan(plan)

    async def heal(self, bench: Bench, step: int) -> None:
        """Send no more."""
        if self._plan is not None:
            bench.probing.drop_plan(self._plan)


class _Load(Verb[LoadGenerator]):
    name = "load"
    model = LoadGenerator
    form = "`load: {from: client, to: web, rate: 200/s, by: http}` with `for`"
    about = (
        "send requests (`http`, `icmp`, `udp`) at `rate` from all containers of `from` together, whether they are "
        "answered or not (open loop); ends with `for`. Latency counts from when a request was due. See below"
    )
    takes_for = "lasts"
    setup = "more"

    def check(self, where: Where, body: LoadGenerator, known: Known) -> Iterator[Problem]:
        yield from known.services_of((*where, "from"), body.source, replicas=True)
        yield from known.services_of((*where, "to"), body.target, replicas=True)
        for place, name in each((*where, "to"), body.target):
            service = known.scenario.services.get(name)
            if body.by == "http" and service is not None and not service.http_port:
                yield Problem(place, f"{name!r}, of which no port is known", f"`port` in services.{name}")

    def without_effect(self, where: Where, body: LoadGenerator, world: ScenarioReach) -> Iterator[Problem]:
        yield from world.asked(where, body.source, body.target)

    def measures(self, body: LoadGenerator) -> Iterator[tuple[str, int]]:
        yield "load", body.timeout

    def plan(self, body: LoadGenerator, planning: Planning) -> Fault:
        return LoadFault(body)


KIND = _Load()

"""`clock`: a host's clock is wrong, and drifts. Only where the backend can make it so."""

from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field

from lab.contracts.fault import Bench, Fault, Mark
from lab.contracts.lab import Adjustable
from lab.kinds.verbs import Body, Chance, Drawn, Planning, Verb, Where
from lab.scenario.base import Model, Name, Problem
from lab.scenario.check import Known
from lab.scenario.values import UNITS, Duration, format_duration
from lab.scenario.without_effect import ScenarioReach


class ClockSkew(Model):
    """A host's clock is ahead by `offset` and drifts by `drift_ppm` (parts per million; below 0 it is slow)."""

    host: Name
    """Whose clock."""
    offset: Duration = 0
    """How far it is ahead at once; negative: behind."""
    drift_ppm: Annotated[int, Field(ge=-100_000, le=100_000)] = 0
    """How much faster it runs, in microseconds per second."""
    for_: Duration | None = Field(None, alias="for")
    """The drift ends after this time; the error stays."""


async def _adjust(device: Adjustable, in_force: Sequence[ClockSkew], struck: bool) -> None:
    """A clock cannot be wrong in two ways: the latest fault has the last word, then the one before it."""
    offset = in_force[-1].offset if struck and in_force else None
    await device.set_clock(offset=offset, drift=in_force[-1].drift_ppm * 1000 if in_force else 0)


class ClockTrouble(Fault):
    """The host's clock is off, and drifts."""

    what = "clock"
    mark = Mark("wrong clock", "#6c8e3c")

    def __init__(self, body: ClockSkew) -> None:
        self.victim = ("clock", body.host)
        drift = f", drifts by {body.drift_ppm} ppm" if body.drift_ppm else ""
        self.label = f"clock {body.host} {format_duration(body.offset)} ahead{drift}"
        self._body = body

    async def inject(self, bench: Bench, step: int) -> None:
        """Set it wrong."""
        await bench.upkeep.disturb(("clock", self._body.host), step, self._body, _adjust)

    async def heal(self, bench: Bench, step: int) -> None:
        """Let it go at the right rate; what it gained it keeps, for no clock of a peer goes backwards."""
        await bench.upkeep.calm(("clock", self._body.host), step)


class _Clock(Verb[ClockSkew]):
    name = "clock"
    model = ClockSkew
    form = "`clock: {host: a, offset: 3s, drift_ppm: 200}`"
    about = "the host's clock is ahead by `offset` and drifts; `for` ends the drift, but the clock keeps its error"
    takes_for = "lasts"
    needs = ("clock",)
    odds = 2
    hinders = False

    def check(self, where: Where, body: ClockSkew, known: Known) -> Iterator[Problem]:
        yield from known.host((*where, "host"), body.host)

    def without_effect(self, where: Where, body: ClockSkew, world: ScenarioReach) -> Iterator[Problem]:
        if not body.offset and not body.drift_ppm:
            yield Problem(where, "a clock that is right", "an `offset` or a `drift_ppm`")

    def plan(self, body: ClockSkew, planning: Planning) -> Fault:
        return ClockTrouble(body)

    def draw(self, chance: Chance) -> Drawn:
        rng = chance.rng
        body: Body = {"host": rng.choice(chance.hosts), "drift_ppm": rng.choice((-50_000, -500, 500, 50_000))}
        if rng.randrange(2):
            body["offset"] = format_duration(rng.choice((1, 30, 3600)) * UNITS["s"])
        return Drawn(body)

    def simpler(self, body: Body) -> Iterator[Body]:
        if "offset" in body and body.get("drift_ppm"):
            yield {key: value for key, value in body.items() if key != "offset"}
            yield {**body, "drift_ppm": 0}


KIND = _Clock()

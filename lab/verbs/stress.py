"""`stress`: a host's processors are kept busy, and its memory is held.

On real hosts by processes of the host at normal priority; on simulated ones the daemon gets its share of the cores.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, cast

from pydantic import Field, model_validator

from lab.contracts.fault import Bench, Fault, Mark
from lab.contracts.lab import Adjustable, Stressed
from lab.errors import LabError
from lab.kinds.verbs import Planning, Verb, Where
from lab.scenario.base import Model, Name, Problem, fault
from lab.scenario.check import Known
from lab.scenario.values import Duration, Percentage, Size

_MOST = 64
"""Cores' worth of load: more says nothing new, and is a process each."""
_MOST_MEMORY = 1 << 30


class StressFactor(Model):
    """So many cores of a host are busy (one and a half: 1.5), or such a part of all; `memory` is held meanwhile."""

    host: Name
    """Where."""
    cores: Annotated[float, Field(gt=0, le=_MOST)] | Annotated[int, Field(ge=1, le=_MOST)] | None = None
    """Processors that are kept busy."""
    percent: Percentage | None = None
    """In place of `cores`: share of all processors."""
    memory: Size = 0
    """Memory that is held."""
    for_: Duration | None = Field(None, alias="for")
    """It ends by itself after this time."""

    @model_validator(mode="after")
    def _one_load(self) -> "StressFactor":
        if self.cores is not None and self.percent is not None:
            raise fault("`cores` or `percent`", "both")
        if self.memory > _MOST_MEMORY:
            raise fault("at most 1GiB of `memory`", f"{self.memory} bytes")
        return self


async def _adjust(device: Adjustable, in_force: Sequence[StressFactor], struck: bool) -> None:
    """Loads add up."""
    if not hasattr(device, "set_stress"):
        raise LabError("hosts of this backend cannot be kept busy")
    cores = sum(one.cores or 0 for one in in_force)
    percent = sum(one.percent or 0 for one in in_force)
    host = cast(Stressed, device)
    millicores = round(1000 * cores + 1000 * percent * host.cores)
    await host.set_stress(millicores=millicores, memory=sum(one.memory for one in in_force))


class StressFault(Fault):
    """Something else takes the host's turns."""

    what = "stress"
    mark = Mark("busy host", "#b5651d")

    def __init__(self, body: StressFactor) -> None:
        self.victim = ("stress", body.host)
        load = f"{body.cores:g} cores" if body.cores else f"{100 * (body.percent or 0):g} %"
        held = f", {body.memory >> 20} MiB held" if body.memory else ""
        self.label = f"stress {body.host} {load}{held}"
        self._body = body

    async def inject(self, bench: Bench, step: int) -> None:
        """Begin."""
        await bench.upkeep.disturb(("stress", self._body.host), step, self._body, _adjust)

    async def heal(self, bench: Bench, step: int) -> None:
        """No more than other faults in force want."""
        await bench.upkeep.calm(("stress", self._body.host), step)


class _Stress(Verb[StressFactor]):
    name = "stress"
    model = StressFactor
    form = "`stress: {host: a, cores: 2, memory: 64MiB}`, `{host: a, percent: 80%}`"
    about = (
        "processes of normal priority on a host use `cores` cores (or `percent` of all cores) and hold `memory`; ends "
        "with `for`. The loads of several steps add up. On `sim` the daemon gets its share of the cores of "
        "`underlay.machine` (by default 2 cores and 50 µs a message)"
    )
    takes_for = "lasts"
    needs = ("stress",)

    def check(self, where: Where, body: StressFactor, known: Known) -> Iterator[Problem]:
        yield from known.host((*where, "host"), body.host)

    def without_effect(self, where: Where, body: StressFactor, world: object) -> Iterator[Problem]:
        if not body.cores and not body.percent and not body.memory:
            yield Problem(where, "no load", "`cores`, `percent` or `memory`")

    def plan(self, body: StressFactor, planning: Planning) -> Fault:
        return StressFault(body)


KIND = _Stress()

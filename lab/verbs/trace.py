"""`trace`: a link follows a file over time: packet deliveries of Mahimahi, or columns of parameters in CSV."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints, model_validator
from pydantic.json_schema import SkipJsonSchema

from lab.contracts.fault import Bench, Fault
from lab.kinds.verbs import Body, Planning, Verb, Where
from lab.scenario.base import Problem, fault
from lab.scenario.check import Known
from lab.scenario.link_files import LinkFileError, Track, track_of, unpacked
from lab.scenario.link_spec import QueueSpec
from lab.scenario.values import Duration
from lab.scenario.without_effect import ScenarioReach
from lab.verbs._links import LinkEnds, LinkFault, check_ends, loss_of, without_link
from lab.words import file_name


class Trace(LinkEnds):
    """A link follows a file over time. Mahimahi's begin again at their end, CSV holds its last row, unless `loop` says
    otherwise."""

    hidden: ClassVar[frozenset[str]] = frozenset({"data"})

    file: Annotated[str, StringConstraints(min_length=1)]
    """Next to the scenario: one number of milliseconds a line, or CSV with a column `time`."""
    data: SkipJsonSchema[str | None] = None
    """What the file holds, packed."""
    loop: bool | None = None
    """Begin again at the end of the file."""
    queue: QueueSpec | None = None
    """How much waits, in bytes or in time; the rest is lost."""
    for_: Duration | None = Field(None, alias="for")
    """It ends by itself after this time."""

    @model_validator(mode="after")
    def _read(self) -> "Trace":
        if self.data is None:
            raise fault("a trace whose file was read with its scenario", repr(self.file))
        try:
            track = self.track()
        except LinkFileError as error:
            raise fault("the data of a trace", str(error)) from None
        if self.loop and not track.period:
            raise fault("two rows or more to be looped", f"{self.file!r}, which has one")
        if self.queue is not None and track.rows:
            raise fault("`queue` with a Mahimahi trace only", f"`queue` with {self.file!r}")
        return self

    def track(self) -> Track:
        """What the file says."""
        return track_of(unpacked(self.data or ""))


class TraceFault(LinkFault):
    """One trace that is followed."""

    def __init__(self, body: Trace, hosts: Sequence[str]) -> None:
        track = self._track = body.track()
        self._loop = bool(track.times) if body.loop is None else body.loop
        values: dict[str, Any] = {"deliveries": track.deliveries(loop=self._loop)} if track.times else {}
        if body.queue is not None:
            values["queue"] = body.queue.limit
        super().__init__("trace", f"trace {body.words()}: {file_name(body.file)}", body, hosts, values)
        worst: dict[str, float] = {}
        for row in track.rows:
            for name, value in loss_of(row.values).items():
                worst[name] = max(value, worst.get(name, 0.0))
        self.told = {**self.told, "change": worst}
        self._setting = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def inject(self, bench: Bench, step: int) -> None:
        """Begin; rows but the first are put over the links in parallel with the timeline."""
        if self._track.times:
            await super().inject(bench, step)
            return
        changes = self._changes(bench.lab.now())
        if not self._track.rows[0].at:
            await self._set(bench, step, next(changes)[1])
        self._task = bench.beside(self._follow(bench, step, changes))

    async def heal(self, bench: Bench, step: int) -> None:
        """Stop following, and take it away."""
        if self._task is not None:
            async with self._setting:  # a change under way is carried out first
                self._task.cancel()
        await super().heal(bench, step)

    def _changes(self, begun: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """When what holds, for ever if it is looped."""
        while True:
            for row in self._track.rows:
                yield begun + row.at, dict(row.values)
            if not self._loop:
                return
            begun += self._track.period

    async def _follow(self, bench: Bench, step: int, changes: Iterator[tuple[int, dict[str, Any]]]) -> None:
        for due, values in changes:
            await bench.lab.sleep_until(due)
            async with self._setting:
                await self._set(bench, step, values)


class _Trace(Verb[Trace]):
    name = "trace"
    model = Trace
    form = "`trace: {file: lte.trace, from: a, to: b, for: 60s}`"
    about = (
        "a link changes as a file says: a Mahimahi trace of packet deliveries, or CSV with `time` and columns of link "
        "parameters, see docs/links.md; ends with `for` or `heal`"
    )
    examples = ("trace lte.trace a b --for 60s",)
    file_data = "data"
    takes_for = "lasts"
    healed = True
    needs = ("links",)
    # What it costs while it lasts is not judged; from its end on all must be as it was.
    changes = "end"

    def check(self, where: Where, body: Trace, known: Known) -> Iterator[Problem]:
        yield from check_ends(where, body, known)

    def without_effect(self, where: Where, body: Trace, world: ScenarioReach) -> Iterator[Problem]:
        yield from without_link(where, body, world)

    def plan(self, body: Trace, planning: Planning) -> Fault:
        return TraceFault(body, planning.hosts)

    def bypassed(self, body: Body) -> Literal["never", "together", "always"]:
        return "always"


KIND = _Trace()

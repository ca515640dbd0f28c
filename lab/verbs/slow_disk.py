"""`slow_disk`: a host's disk is slow, or full. Only where the backend can make it so.

Durable state is written before it is spoken of, so a slow disk makes a peer slow and a full one mute, never wrong.
"""

from collections.abc import Iterator, Sequence

from pydantic import Field

from lab.contracts.fault import Bench, Fault, Mark
from lab.contracts.lab import Adjustable
from lab.kinds.verbs import Body, Chance, Drawn, Planning, Verb, Where
from lab.scenario.base import Model, Name, Problem
from lab.scenario.check import Known
from lab.scenario.values import UNITS, Duration, format_duration
from lab.scenario.without_effect import ScenarioReach


class SlowDisk(Model):
    """A host's disk takes so long for every synced write, or is full, or lies: a power cut tears what it has taken."""

    host: Name
    """Whose disk."""
    latency: Duration = 200 * UNITS["ms"]
    """How long every synced write takes."""
    full: bool = False
    """There is no space left."""
    torn: bool = False
    """It confirms syncs that it has not done; a power cut tears what was written."""
    for_: Duration | None = Field(None, alias="for")
    """It ends by itself after this time."""


async def _adjust(device: Adjustable, in_force: Sequence[SlowDisk], struck: bool) -> None:
    """Of several the slowest counts, and one that is full is enough."""
    latency = max((one.latency for one in in_force), default=0)
    full, torn = any(one.full for one in in_force), any(one.torn for one in in_force)
    await device.set_disk(latency=latency, full=full, torn=torn)


class DiskTrouble(Fault):
    """Every synced write takes longer, or there is no room; where hosts have no disks of their own, for the daemon."""

    what = "slow_disk"
    mark = Mark("slow disk", "#a23b72")

    def __init__(self, body: SlowDisk) -> None:
        self.victim = ("slow_disk", body.host)
        self.label = f"slow_disk {body.host} {'full' if body.full else format_duration(body.latency)}"
        self.label += ", torn by a power cut" if body.torn else ""
        self._body = body

    async def inject(self, bench: Bench, step: int) -> None:
        """Slow it down, or fill it."""
        await bench.upkeep.disturb(("disk", self._body.host), step, self._body, _adjust)
        if self._body.full and not getattr(bench.lab.hosts[self._body.host], "fills", True):
            self.label += " for the daemon only"

    async def heal(self, bench: Bench, step: int) -> None:
        """As fast as before, or as another fault in force has it."""
        await bench.upkeep.calm(("disk", self._body.host), step)


class _SlowDisk(Verb[SlowDisk]):
    name = "slow_disk"
    model = SlowDisk
    form = "`slow_disk: {host: a, latency: 200ms}`, `{host: a, full: true}`, `{host: a, torn: true}`"
    about = (
        "every synced write takes `latency`, or the disk is full; ends with `for`. With `torn` the disk confirms syncs "
        "that it has not done: data written meanwhile is torn if the host loses power (`kill: {host: a}`)"
    )
    takes_for = "lasts"
    needs = ("disk", "full")
    odds = 2

    def check(self, where: Where, body: SlowDisk, known: Known) -> Iterator[Problem]:
        yield from known.host((*where, "host"), body.host)

    def needed(self, body: SlowDisk) -> tuple[str, ...]:
        # How long writes take says nothing where none is possible.
        return ("full", *(("disk",) if body.torn else ())) if body.full else ("disk",)

    def without_effect(self, where: Where, body: SlowDisk, world: ScenarioReach) -> Iterator[Problem]:
        if not body.latency and not body.full and not body.torn:
            yield Problem(where, "a disk as fast as ever", "`latency` above 0, `full: true` or `torn: true`")

    def plan(self, body: SlowDisk, planning: Planning) -> Fault:
        return DiskTrouble(body)

    def draw(self, chance: Chance) -> Drawn:
        rng = chance.rng
        body: Body = {"host": rng.choice(chance.hosts)}
        if rng.randrange(3) == 0:
            return Drawn(body | {"full": True})
        return Drawn(body | {"latency": format_duration(rng.choice((20, 200, 900)) * UNITS["ms"])})

    def shape(self, body: Body) -> str:
        return "full" if body.get("full") else f"latency {body['latency']}"


KIND = _SlowDisk()

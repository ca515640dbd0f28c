"""Devices that misbehave: a disk that is slow or full, a clock that is wrong. Only where the backend can make them so.

Durable state is written before it is spoken of, so a slow disk makes a peer slow and a full one mute, never wrong.
"""

from collections.abc import Sequence

from lab.contracts.fault import Bench, Mark
from lab.scenario.steps import ClockSkew, SlowDisk
from lab.scenario.values import format_duration

DISK_MARK = Mark("slow disk", "#a23b72")
CLOCK_MARK = Mark("wrong clock", "#6c8e3c")


class DiskTrouble:
    """Every synced write takes longer, or there is no room."""

    what = "slow_disk"
    mark = DISK_MARK
    hosts: tuple[str, ...] = ()

    def __init__(self, step: SlowDisk) -> None:
        self.victim = ("slow_disk", step.host)
        self.label = f"{step.host} {'full' if step.full else format_duration(step.latency)}"
        self._step = step

    def works_on(self, bench: Bench) -> Sequence[str]:
        """See `Fault`."""
        return ()

    async def inject(self, bench: Bench, step: int) -> None:
        """Slow it down, or fill it."""
        await bench.upkeep.disturb("disk", self._step.host, step, self._step)

    async def heal(self, bench: Bench, step: int) -> None:
        """As fast as before, or as another fault in force has it."""
        await bench.upkeep.calm("disk", self._step.host, step)


class ClockTrouble:
    """The host's clock is off, and drifts."""

    what = "clock"
    mark = CLOCK_MARK
    hosts: tuple[str, ...] = ()

    def __init__(self, step: ClockSkew) -> None:
        self.victim = ("clock", step.host)
        drift = f", drifts by {step.drift_ppm} ppm" if step.drift_ppm else ""
        self.label = f"{step.host} {format_duration(step.offset)} ahead{drift}"
        self._step = step

    def works_on(self, bench: Bench) -> Sequence[str]:
        """See `Fault`."""
        return ()

    async def inject(self, bench: Bench, step: int) -> None:
        """Set it wrong."""
        await bench.upkeep.disturb("clock", self._step.host, step, self._step)

    async def heal(self, bench: Bench, step: int) -> None:
        """Let it go at the right rate; what it gained it keeps, for no clock of a peer goes backwards."""
        await bench.upkeep.calm("clock", self._step.host, step)

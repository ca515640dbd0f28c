"""The machine's load during a run, once a second, and a description of the machine. Reads files only."""

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.contracts.lab import Lab
from lab.records.history import Load
from lab.scenario.values import UNITS


def machine() -> dict[str, Any]:
    """Cores, kernel and memory, for the history's first line."""
    return {
        "cores": os.cpu_count() or 1,
        "kernel": platform.release(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python": platform.python_version(),
    }


class LoadMeter:
    """Fractions of all cores that were busy between two readings."""

    def __init__(self) -> None:
        self._busy, self._total = _ticks()

    def read(self, now: int) -> Load:
        """The load since the previous reading."""
        busy, total = _ticks()
        passed = total - self._total
        cpu = (busy - self._busy) / passed if passed else 0.0
        self._busy, self._total = busy, total
        return Load(t=now, cpu=round(min(max(cpu, 0.0), 1.0), 4), loadavg=round(os.getloadavg()[0], 2))


def _ticks() -> tuple[int, int]:
    """(busy, all) clock ticks of all cores since boot."""
    numbers = [int(text) for text in Path("/proc/stat").read_text(encoding="utf-8").partition("\n")[0].split()[1:9]]
    idle = numbers[3] + numbers[4]
    return sum(numbers) - idle, sum(numbers)


async def watch_load(lab: Lab, take: Callable[[Load], None]) -> None:
    """Take a reading every second of the lab's clock, until cancelled."""
    meter = LoadMeter()
    due = lab.now()
    while True:
        due += UNITS["s"]
        await lab.sleep_until(due)
        take(meter.read(lab.now()))

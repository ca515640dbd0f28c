"""Processor time in seconds: of children that have ended, of all visible processes, of one and its descendants.

Owns the reading of /proc/PID/stat, user and system time, with that of children that were waited for. What is measured,
and which processes take part, stands in the benchmarks.
"""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

__all__ = ["of_all", "of_ended_children", "of_family"]

_TICK = os.sysconf("SC_CLK_TCK")


def of_ended_children() -> float:
    """Of the children of this process that have ended and were waited for."""
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def of_all() -> float:
    """Of all processes in this pid namespace (in a lab: all of the lab), the ended ones among them."""
    return sum(spent for _, _, spent in _processes())


def of_family(pid: int) -> float:
    """Of a process, of all below it, and of those that they have waited for."""
    spent: dict[int, float] = {}
    children: dict[int, list[int]] = {}
    for one, parent, own in _processes():
        spent[one] = own
        children.setdefault(parent, []).append(one)
    waiting, found = [pid], 0.0
    while waiting:
        one = waiting.pop()
        found += spent.get(one, 0.0)
        waiting += children.get(one, [])
    return found


def _processes() -> Iterator[tuple[int, int, float]]:
    """(pid, its parent, seconds) of each process."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            yield int(entry.name), int(fields[1]), sum(map(int, fields[11:15])) / _TICK

"""Violations, grouped by cause. Pure: kinds and reasons of runs, no processes.

Owns what counts as a violation, and when two have the same cause: the same kind, and the same sentence after the names,
numbers and addresses of the run are removed.
"""

import re
from collections.abc import Iterable, Sequence

from msgspec import Struct

from lab.explore.case import Case
from lab.explore.schedule import hindered
from lab.sweep.measure import Point

__all__ = ["Cause", "cause_of", "grouped", "kind_of"]

_NUMBERS = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}|0x[0-9a-f]+|\b[0-9a-f]{12,}\b|\d+(?:\.\d+)*(?:/\d+)?")
_LONGEST = 160


class Cause(Struct, frozen=True):
    """Violations with the same kind and sentence."""

    kind: str
    what: str
    """The common sentence."""
    seeds: tuple[int, ...]
    """Seeds in order."""


def kind_of(point: Point, case: Case) -> str:
    """The kind of violation with which a run of a case ended; empty if there was none.

    During faults two things are not required. Traffic need not be relayed around a cut over other hosts. A command need
    not succeed, because the hosts that must agree to an address may be unreachable.
    """
    if point.failed:
        return f"crash: {point.reason.partition(':')[0]}"
    if point.verdict != "invalid":
        return ""
    step = re.match(r"step (\d+)", point.reason)
    if step is not None and int(step[1]) <= len(case.setup):
        return "fails before anything is broken"
    if step is not None and point.reason.startswith(f"{step[0]} failed"):
        return "" if case.bold or hindered(case.faults) else "command"
    if step is not None:
        return "noticed too late" if case.is_notice(int(step[1])) else "expectation"
    outage = re.match(r"\d+ outages? and (\d+) leaks?", point.reason)
    if outage is not None:
        return "leak" if int(outage[1]) else "" if case.needs_relays or case.start else "outage"
    if "wrong answer" in point.reason:
        return "" if case.needs_relays or case.start else "wrong answers"
    return "invariant" if "own addresses" in point.reason or "invariant" in point.reason else "checker"


def cause_of(kind: str, reason: str, names: Iterable[str]) -> str:
    """The sentence of a violation without the parts that differ from run to run."""
    text = reason.rpartition("; expected ")[0] or reason
    for name in sorted(names, key=len, reverse=True):
        text = re.sub(rf"\b{re.escape(name)}\b", "X", text)
    return " ".join(_NUMBERS.sub("#", text).split())[:_LONGEST]


def grouped(found: Sequence[tuple[int, str, str]], names: Iterable[str]) -> list[Cause]:
    """(seed, kind, reason) of all violations, grouped by cause; the most frequent first."""
    names = list(names)
    seeds: dict[tuple[str, str], list[int]] = {}
    for seed, kind, reason in sorted(found):
        seeds.setdefault((kind, cause_of(kind, reason, names)), []).append(seed)
    causes = [Cause(kind, what, tuple(numbers)) for (kind, what), numbers in seeds.items()]
    return sorted(causes, key=lambda cause: (-len(cause.seeds), cause.seeds))

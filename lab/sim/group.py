"""Compares what members of a simulated group report about each other with the truth: the metrics of a protocol's run.

Owns failures and their detection times, wrong beliefs, traffic by message kind, and the connected components of partial
views. Pure accounting in the order of events: it decides nothing, and protocols do not see it.
"""

from collections.abc import Iterable, Iterator
from hashlib import blake2b

from lab.sim.dissemination import Dissemination
from overlay.env import SECOND

__all__ = ["Failure", "MemberGroup", "Said"]


class Said:
    """The last reports of one running member."""

    __slots__ = ("members", "neighbours", "since", "suspects", "tree")

    def __init__(self, since: int) -> None:
        self.since = since
        self.members: frozenset[str] = frozenset()
        self.neighbours: tuple[str, ...] = ()
        self.suspects: frozenset[str] = frozenset()
        self.tree: tuple[str, ...] = ()


class Failure:
    """A member that ended, and the members that noticed."""

    __slots__ = ("all", "first", "first_by", "host", "left", "pending", "removed", "t")

    def __init__(self, host: str, t: int, left: bool, pending: Iterable[str]) -> None:
        self.host = host
        self.t = t
        self.left = left
        """It left with a farewell."""
        self.pending = dict.fromkeys(pending)
        """Members that believed it alive at that time, and still do."""
        self.first: int | None = None
        """When the first member suspected it or considered it dead."""
        self.first_by = ""
        self.removed: int | None = None
        """When the first member considered it dead."""
        self.all: int | None = None
        """When no member believed it alive any more."""


class MemberGroup:
    """All members of one overlay. `partial`: members know only some others; the group is the connected component."""

    def __init__(self, partial: bool = False) -> None:
        self.partial = partial
        self.standing: dict[str, Said] = {}
        """Running members in the order of their start."""
        self.failures: list[Failure] = []
        self.payloads = Dissemination()
        self.kinds: dict[str, list[int]] = {}
        """Kind of message -> how many were sent, and their bytes."""
        self.sent: dict[str, int] = {}
        """Member -> messages that it sent."""
        self.measured: dict[str, list[float]] = {}
        """Name -> count, sum and maximum of the protocol's own metrics."""
        self.false_suspicions = 0
        """Wrong beliefs about running members, including those across a cut."""
        self.false_removals = 0
        self._lived = 0
        """Total nanoseconds of all ended lives."""
        self._down: dict[str, Failure] = {}
        self._parts: dict[str, tuple[int, str]] | None = None

    # Lifecycle

    def started(self, host: str, t: int) -> None:
        """A member starts."""
        self.standing[host] = Said(t)
        self._down.pop(host, None)
        self._parts = None

    def ended(self, host: str, t: int, *, left: bool = False) -> None:
        """A member was killed, or left."""
        mine = self.standing.pop(host, None)
        if mine is None:
            return
        self._parts = None
        self._lived += t - mine.since
        believers = () if self.partial else (name for name, one in self.standing.items() if host in one.members)
        failure = self._down[host] = Failure(host, t, left, believers)
        self.failures.append(failure)
        if not self.partial:  # otherwise nobody's notice is pending
            for other in self._down.values():
                self._noticed(other, host, t, itself=False)

    # Reports of members

    def believes(
        self, host: str, t: int, members: Iterable[str], neighbours: tuple[str, ...], suspects: Iterable[str]
    ) -> None:
        """A member changes its belief about another."""
        one = self.standing[host]
        if one.neighbours != neighbours:
            one.neighbours = neighbours
            self._parts = None
        if self.partial:
            return
        now, doubted = frozenset(members), frozenset(suspects)
        if now != one.members:
            for lost in sorted(one.members - now):
                failure = self._down.get(lost)
                if failure is None:
                    self.false_removals += 1
                else:
                    failure.removed = t if failure.removed is None else failure.removed
                    self._noticed(failure, host, t)
            one.members = now
        if doubted != one.suspects:
            for name in sorted(doubted - one.suspects):
                failure = self._down.get(name)
                if failure is None:
                    self.false_suspicions += 1
                elif failure.first is None:
                    failure.first, failure.first_by = t, host
            one.suspects = doubted

    def _noticed(self, failure: Failure, by: str, t: int, *, itself: bool = True) -> None:
        if itself and failure.first is None:
            failure.first, failure.first_by = t, by
        if by in failure.pending:
            del failure.pending[by]
            if not failure.pending and failure.first is not None:
                failure.all = t

    def view(self, host: str) -> tuple[int, str]:
        """(number of members in the group as this member sees it, itself included; a digest of their names)."""
        if self.partial:
            if self._parts is None:
                self._parts = self._connected()
            return self._parts[host]
        members = self.standing[host].members
        return len(members) + 1, _digest((*members, host))

    def _connected(self) -> dict[str, tuple[int, str]]:
        """Each member's connected component, over running neighbours (an edge counts if either side reports it)."""
        links: dict[str, list[str]] = {host: [] for host in self.standing}
        for host, one in self.standing.items():
            for other in one.neighbours:
                if other in links:
                    links[host].append(other)
                    links[other].append(host)
        found: dict[str, tuple[int, str]] = {}
        for start in links:
            if start in found:
                continue
            part, todo = {start: None}, [start]
            while todo:
                for other in links[todo.pop()]:
                    if other not in part:
                        part[other] = None
                        todo.append(other)
            told = len(part), _digest(part)
            found.update(dict.fromkeys(part, told))
        return found

    # Counters

    def sends(self, host: str, kind: str, size: int) -> None:
        """A member sends a message."""
        counts = self.kinds.get(kind)
        if counts is None:
            counts = self.kinds[kind] = [0, 0]
        counts[0] += 1
        counts[1] += size
        self.sent[host] = self.sent.get(host, 0) + 1

    def measures(self, name: str, value: float) -> None:
        """Record one of the protocol's own metrics."""
        found = self.measured.setdefault(name, [0, 0.0, value])
        found[0] += 1
        found[1] += value
        found[2] = max(found[2], value)

    def figures(self, now: int) -> Iterator[tuple[str, float, str]]:
        """(name, value, unit) of the run up to now, in a fixed order. Metrics that do not apply are left out."""
        lived = self._lived + sum(now - one.since for one in self.standing.values())
        if lived:
            yield "messages_per_member_s", sum(counts[0] for counts in self.kinds.values()) * SECOND / lived, "1/s"
            yield "bytes_per_member_s", sum(counts[1] for counts in self.kinds.values()) * SECOND / lived, "B/s"
        failures = [failure for failure in self.failures if not failure.left]
        if failures and not self.partial:
            noticed = [failure.first - failure.t for failure in failures if failure.first is not None]
            everyone = [failure.all - failure.t for failure in failures if failure.all is not None]
            yield "failures", len(failures), ""
            yield "undetected", len(failures) - len(noticed), ""
            if noticed:
                yield "first_detection_mean", sum(noticed) / len(noticed) / SECOND, "s"
            if everyone:
                yield "detection_by_all_mean", sum(everyone) / len(everyone) / SECOND, "s"
        if not self.partial:
            yield "false_suspicions", self.false_suspicions, ""
            yield "false_removals", self.false_removals, ""
        yield from self.payloads.figures()
        for name, (count, total, most) in sorted(self.measured.items()):
            yield f"{name}_count", count, ""
            yield f"{name}_mean", total / count, ""
            yield f"{name}_max", most, ""


def _digest(names: Iterable[str]) -> str:
    return blake2b("\0".join(sorted(names)).encode(), digest_size=8).hexdigest()

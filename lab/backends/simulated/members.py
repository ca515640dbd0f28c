"""All members of a protocol in one simulated lab: when their views are published, and the metrics of a run.

Owns the batching of changes: changes of many members at one time are published once. Knows no protocol.
"""

from collections.abc import Iterator, Mapping

from lab.backends.simulated.member_host import MemberHost
from lab.records.history import RunFigure
from lab.sim.group import MemberGroup
from lab.sim.tracer import Tracer
from lab.sim.world import World
from overlay.env import MILLISECOND

__all__ = ["Members"]

GATHER = 5 * MILLISECOND
"""Time for which view changes are batched, as in a daemon (`overlay.runtime.node_runner.COALESCE`)."""
GATHER_PARTS = 100 * MILLISECOND
"""The same if every change may change the whole group: the minimum interval between computations of the components."""


class Members:
    """The group of one lab."""

    def __init__(
        self, world: World, group: MemberGroup, hosts: Mapping[str, MemberHost], tracer: Tracer | None
    ) -> None:
        self._world = world
        self._hosts = hosts
        self.group = group
        self._changed: dict[str, None] = {}
        self._told: dict[str, tuple[int, str]] = {}
        self._pending = False
        for host in hosts.values():
            host.member.group = group
            host.member.trace = tracer
            host.member.changed = self._news

    def _news(self, host: str) -> None:
        self._changed[host] = None
        if not self._pending:
            self._pending = True
            self._world.scheduler.after(GATHER_PARTS if self.group.partial else GATHER, self._tell)

    def _tell(self) -> None:
        self._pending = False
        changed, self._changed = self._changed, {}
        if self.group.partial:  # all members whose component changed
            for host in self.group.standing:
                if self.group.view(host) != self._told.get(host):
                    changed[host] = None
        for host in changed:
            if host in self.group.standing:
                self._told[host] = self.group.view(host)
                self._hosts[host].believes()

    def close(self) -> None:
        """Ignore members from now on, because the lab goes down."""
        for host in self._hosts.values():
            host.member.group = MemberGroup(self.group.partial)
            host.member.trace = host.member.changed = None

    def figures(self) -> Iterator[RunFigure]:
        """Metrics of the run so far."""
        now = self._world.now
        for name, value, unit in self.group.figures(now):
            yield RunFigure(t=now, name=name, value=float(value), unit=unit)

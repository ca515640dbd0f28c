"""The network between machines that the lab reaches only by a command channel: the same interface as `fabric.py`.

Owns the current cuts, obstacles and limits, so that a machine that boots again gets all of them before anything else
runs on it. Rules of one machine are replaced in one transaction; different machines follow within the time of a
command.
"""

import asyncio
from collections.abc import Awaitable, Callable, Container, Iterable, Sequence

from lab.errors import LabError
from lab.fabric import guest_plan
from lab.fabric.plan import Interface, Underlay
from lab.fabric.relay.orders import DirectionCounts
from lab.links.changes import LinkChange

Shell = Callable[[str, Sequence[str]], Awaitable[str]]
"""Runs a command on the machine of this name; raises `LabError` with its error output."""


class GuestFabric:
    """The rules and queues in machines. `shell` runs commands on them."""

    def __init__(self, underlay: Underlay, shell: Shell) -> None:
        self.underlay = underlay
        self.interfaces: dict[str, list[Interface]] = guest_plan.interfaces_of(underlay)
        self._shell = shell
        self._on: set[str] = set()
        self._cut: frozenset[tuple[str, str]] = frozenset()
        self._obstacles: list[tuple[Sequence[str], str, int, int]] = []
        self._limited: set[str] = set()
        self._changing = asyncio.Lock()
        impaired = underlay.links.impaired(list(underlay.hosts))
        self._impaired = {host for sender, receiver, _ in impaired for host in (sender, receiver)}

    async def plug(self, host: str) -> None:
        """Give a machine that has just booted its addresses, links and current cuts."""
        async with self._changing:
            script = guest_plan.boot_script(host, self.interfaces, self.underlay.links)
            await self._shell(host, ["sh", "-ec", script])
            for command in self._wire_commands(host, True) if host in self._limited else ():
                await self._shell(host, command)
            await self._nft(host, self._cut_rules(host) + self._obstacle_rules(host))
            self._on.add(host)

    async def unplug(self, host: str) -> None:
        """A machine is off: it has no rules."""
        self._on.discard(host)

    async def set_cut(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Cut exactly these directions (sender, receiver)."""
        async with self._changing:
            before, self._cut = self._cut, frozenset(pairs)
            concerned = {receiver for _, receiver in before ^ self._cut}
            await self._everywhere(concerned, self._cut_rules)

    async def set_obstacles(self, obstacles: Iterable[tuple[Sequence[str], str, int, int]]) -> None:
        """Drop exactly these: (hosts, protocol or "", its port or 0, MTU or 0)."""
        async with self._changing:
            before, self._obstacles = self._obstacles, list(obstacles)
            concerned = {host for hosts, *_ in [*before, *self._obstacles] for host in hosts}
            await self._everywhere(concerned, self._obstacle_rules)

    async def set_unplugged(self, plugs: Container[tuple[str, str]]) -> None:
        """The hypervisor owns the machines' cables; the backend refuses such steps before anything starts."""
        raise LabError("the cables of machines cannot be pulled")

    def limit(self, host: str, limited: bool) -> list[list[str]]:
        """See `Fabric.limit`: offloads are off, so that each packet crosses individually."""
        (self._limited.add if limited else self._limited.discard)(host)
        return self._wire_commands(host, limited)

    def wire_commands(self, host: str) -> list[list[str]]:
        """See `Fabric.wire_commands`."""
        return self._wire_commands(host, host in self._limited)

    async def set_link(self, key: int, change: LinkChange | None) -> tuple[DirectionCounts, ...]:
        """See `Fabric.set_link`; not implemented yet."""
        raise LabError("links of virtual machines cannot be changed while they run; use netns, dind or sim")

    def mechanism(self, sender: str, receiver: str) -> str:
        """See `Fabric.mechanism`: netem runs in the machines."""
        return "queues" if not self.underlay.links.between(sender, receiver).perfect else ""

    async def counts(self) -> None:
        """See `Fabric.counts`: there is no relay."""

    async def watch(self) -> None:
        """See `Fabric.watch`: there is no relay."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        """See `Fabric.close`: there is no relay."""

    def _wire_commands(self, host: str, limited: bool) -> list[list[str]]:
        if host in self._impaired:
            return []
        return [line for one in self.interfaces[host] for line in guest_plan.wire_commands(one, limited)]

    def _cut_rules(self, host: str) -> str:
        return guest_plan.cut_rules(host, self.interfaces, self._cut)

    def _obstacle_rules(self, host: str) -> str:
        return guest_plan.obstacle_rules(host, self.interfaces, self._obstacles)

    async def _everywhere(self, hosts: Iterable[str], rules: Callable[[str], str]) -> None:
        """Replace rules on these machines concurrently; all are tried, and the first error is raised."""
        done = await asyncio.gather(
            *(self._nft(host, rules(host)) for host in sorted(hosts) if host in self._on), return_exceptions=True
        )
        for one in done:
            if isinstance(one, BaseException):
                raise one

    async def _nft(self, host: str, text: str) -> None:
        try:
            await self._shell(host, ["nft", text])
        except LabError as error:
            raise LabError(f"the network rules of {host} could not be set: {error}") from None

"""The routers of a topology: network namespaces, each held by a process, their routes, and the cables that are down.

Runs `ip` with the texts of `routed.py` in the routers, by `nsenter`. The holders do nothing, and end with the lab's
processes in any case; a router has no state outside its holder.
"""

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Protocol

from lab.errors import LabError
from lab.fabric.plan import Interface
from lab.fabric.routed import ROUTER, RoutedPlan, router_name
from lab.links.changed_topology import ChangedTopology
from lab.links.changes import LinkChange
from lab.links.topology import EdgeChange

__all__ = ["Plugs", "RoutedNamespaces", "Tool"]


class Tool(Protocol):
    """Runs a tool in the fabric's network namespace, as `run` does in the process's own."""

    def __call__(self, *argv: str, text: str = "", check: bool = True) -> Awaitable[str]: ...


class Plugs(Protocol):
    """What routers need from the fabric (`lab.fabric.fabric`)."""

    interfaces: dict[str, list[Interface]]

    def host_commands(self, host: str) -> str: ...

    def wire_commands(self, host: str) -> list[list[str]]: ...

    async def plug(self, hosts: list[tuple[str, int]]) -> None: ...

    async def set_link(self, key: int, change: LinkChange | None) -> object: ...

    async def cut_again(self) -> None: ...


class RoutedNamespaces:
    """All routers of one lab."""

    def __init__(self, plan: RoutedPlan, tool: Tool) -> None:
        self._plan = plan
        self._tool = tool
        self._holders: dict[str, asyncio.subprocess.Process] = {}
        self._cables = ChangedTopology(plan.topology)
        self._routes: dict[str, dict[str, str]] = {node: {} for node in plan.topology.nodes}
        """Node -> its router's table: address of a host -> next hop."""
        self.cut = frozenset(plan.missing)
        """Directions of cables that are down now."""

    def routes_of(self, host: str) -> str:
        """For `ip -batch` in a host; routers get their routes when they exist."""
        return "" if host.startswith(ROUTER) else self._plan.host_routes(host)

    async def build(self, fabric: Plugs) -> None:
        """Create the namespaces, connect them and set their routes."""
        for node in self._plan.topology.nodes:
            self._holders[node] = await _holder()
        await fabric.plug([(router_name(node), holder.pid) for node, holder in self._holders.items()])
        settings = "; ".join(f"echo {value} > /proc/sys/net/ipv4/{key}" for key, value in _SYSCTLS.items())
        for node in self._holders:
            await self._in(node, "sh", "-c", settings)
            await self._in(node, "ip", "-batch", "-", text=fabric.host_commands(router_name(node)))
        await self._route(fabric)
        if self.cut:
            await fabric.cut_again()

    async def _in(self, node: str, *argv: str, text: str = "") -> None:
        """Run a tool in the namespace of a router."""
        await self._tool("nsenter", "-t", str(self._holders[node].pid), "-n", *argv, text=text)

    async def close(self) -> None:
        """End all routers."""
        for holder in self._holders.values():
            with contextlib.suppress(ProcessLookupError):
                holder.kill()
            await holder.wait()

    async def change(self, fabric: Plugs, key: int, change: EdgeChange | None) -> None:
        """Apply a change to cables, or remove the change with this key."""
        self._cables.set(key, change)
        edges = self._plan.topology.edges
        down = {(router_name(edges[n].sender), router_name(edges[n].receiver)) for n in self._cables.down}
        self.cut = frozenset(self._plan.missing) | down
        pairs = tuple((router_name(one), router_name(other)) for one, other in (change.pairs if change else ()))
        await fabric.set_link(key, LinkChange(pairs, change.values) if change is not None and change.values else None)
        for router in dict.fromkeys(router for pair in pairs for router in pair):
            for words in fabric.wire_commands(router):
                await self._in(router.removeprefix(ROUTER), *words)
        await fabric.cut_again()
        await self._route(fabric)

    async def _route(self, fabric: Plugs) -> None:
        """Update the routes of all routers."""
        for node in self._plan.topology.nodes:
            devices = {one.network: one.name for one in fabric.interfaces[router_name(node)]}
            wanted, before = self._plan.router_routes(node, self._cables.finder, devices), self._routes[node]
            lines = [f"route replace {to}/32 {way}\n" for to, way in wanted.items() if before.get(to) != way]
            lines += [f"route del {to}/32\n" for to in before if to not in wanted]
            if lines:
                await self._in(node, "ip", "-batch", "-", text="".join(lines))
            self._routes[node] = wanted


async def _holder() -> asyncio.subprocess.Process:
    """Start a process in its own network namespace, and wait until the namespace exists."""
    script = "echo; exec sleep infinity"
    argv = ("unshare", "--net", "sh", "-c", script)
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*argv, stdin=null, stdout=pipe, stderr=pipe)
    assert process.stdout is not None and process.stderr is not None
    if not await process.stdout.readline():
        said = (await process.stderr.read()).decode(errors="replace").strip()[:200]
        raise LabError(f"a router's namespace could not be made: {said}")
    return process


_SYSCTLS = {"ip_forward": 1, "conf/all/rp_filter": 0, "conf/default/rp_filter": 0, "conf/all/send_redirects": 0}

"""The network between the hosts of a lab, in the namespace of the process that uses this (or where its tools run).

Owns the bridges, the ports and the one nft table; runs `ip`, `bridge`, `nft` and `tc` on the texts that `plan.py`,
`rules.py` and `queues.py` make. Knows hosts as names and pids.
"""

import asyncio
from collections.abc import Awaitable, Container, Iterable, Sequence
from typing import Protocol

from lab.errors import Exhausted, LabError, no_room
from lab.fabric import plan, queues, rules


class Tool(Protocol):
    """Runs a tool in the fabric's network namespace, as `run` does in the process's own."""

    def __call__(self, *argv: str, text: str = "", check: bool = True) -> Awaitable[str]: ...


class Fabric:
    """Bridges of an underlay and the cables into them. `tool`: how tools are run where the bridges are."""

    def __init__(self, underlay: plan.Underlay, tool: Tool | None = None) -> None:
        self.underlay = underlay
        self._tool = tool or run
        self.interfaces = underlay.all_interfaces()
        impaired = [(sender, receiver) for sender, receiver, _ in underlay.links.impaired(list(underlay.hosts))]
        self._impaired_ports = {
            port for pair in impaired for ports in plan.ports_between(self.interfaces, *pair) for port in ports
        }
        self._impaired_ports |= {one.port for sender, _, _ in plan.routed(underlay) for one in self.interfaces[sender]}
        self._limited: set[str] = set()
        """Hosts of which every packet must cross the cables as itself for now."""
        self._dark: frozenset[str] = frozenset()
        """Ports that are down, so that the host at the other end sees no carrier."""
        self._classes = rules.class_map(self.interfaces, underlay.links)
        self._cutting = asyncio.Lock()

    async def build(self) -> None:
        """The bridges and the rules; no host is plugged in yet."""
        networks = plan.bridge_commands(self.underlay.networks) + plan.router_commands(self.underlay)
        await asyncio.gather(
            self._tool("ip", "-batch", "-", text="link set lo up\n" + networks),
            self._tool("nft", "-f", "-", text=rules.base_rules(self.interfaces, self.underlay.links, self._classes)),
        )

        if self.underlay.routers:
            await self._tool("nft", "-f", "-", text=rules.router_rules(self.underlay))
            for family in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
                await self._tool("sh", "-c", f"echo 1 > /proc/sys/net/{family}")

    async def plug(self, hosts: Sequence[tuple[str, int]]) -> None:
        """Lay the cables of these (host, pid of a process in its network namespace)."""
        cables = "".join(plan.cable_commands(self.interfaces[host], pid) for host, pid in hosts)
        everything = [interface for host, _ in hosts for interface in self.interfaces[host]]
        cables += "".join(f"link set {one.port} down\n" for one in everything if one.port in self._dark)
        await self._tool("ip", "-batch", "-", text=cables)
        shapes = "".join(
            queues.queue_commands(self.interfaces, self.underlay.links, self._classes, host) for host, _ in hosts
        )
        tools = [self._tool("bridge", "-batch", "-", text=plan.forwarding_commands(everything))]
        if shapes:
            tools.append(self._tool("tc", "-batch", "-", text=shapes))
        await asyncio.gather(*tools)

    async def unplug(self, host: str) -> None:
        """Take a host's cables away at once; the kernel would do so some time after the host's last process."""
        text = "".join(f"link delete {interface.port}\n" for interface in self.interfaces[host])
        await self._tool("ip", "-force", "-batch", "-", text=text, check=False)

    def host_commands(self, host: str) -> str:
        """For `ip -batch` inside of the host, once it is plugged in: at every boot, for what holds now."""
        impaired = [
            one.name for one in self.interfaces[host] if host in self._limited or one.port in self._impaired_ports
        ]
        commands = plan.host_commands(host, self.interfaces, impaired=impaired)
        return commands + plan.route_commands(self.underlay, host)

    async def set_cut(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Cut exactly these directions (sender, receiver); one transaction of the kernel."""
        ordered = sorted(pairs)
        ports = [ports for pair in ordered for ports in plan.ports_between(self.interfaces, *pair)]
        routed = None
        if self.underlay.routers:
            routed = [
                (one.address, other.address)
                for sender, receiver in ordered
                for one in self.interfaces[sender]
                for other in self.interfaces[receiver]
            ]
        async with self._cutting:
            await self._tool("nft", "-f", "-", text=rules.cut_rules(ports, routed))

    async def set_unplugged(self, plugs: Container[tuple[str, str]]) -> None:
        """Leave exactly these (host, network) without a carrier; a host that boots finds its own so."""
        everything = [(host, one) for host, interfaces in self.interfaces.items() for one in interfaces]
        dark = frozenset(one.port for host, one in everything if (host, one.network) in plugs)
        changed = sorted(dark ^ self._dark)
        self._dark = dark
        text = "".join(f"link set {port} {'down' if port in dark else 'up'}\n" for port in changed)
        try:
            await self._tool("ip", "-force", "-batch", "-", text=text)
        except LabError as error:
            if "Cannot find device" not in str(error):  # that of a host that is off; `plug` sees to it
                raise

    async def set_obstacles(self, obstacles: Iterable[tuple[Sequence[str], str, int, int]]) -> None:
        """Drop exactly these: (hosts, protocol or "", its port or 0, MTU or 0)."""
        found, routed = [], []
        for hosts, protocol, port, mtu in obstacles:
            places = [one for host in hosts for one in self.interfaces[host]]
            found.append(([one.port for one in places], protocol, port, mtu))
            routed.append(([one.address for one in places], protocol, port, mtu))
        text = rules.obstacle_rules(found, routed if self.underlay.routers else None)
        async with self._cutting:
            await self._tool("nft", "-f", "-", text=text)

    def limit(self, host: str, limited: bool) -> list[list[str]]:
        """From now on let every packet of a host cross its cables as itself, no super-packets, or let it be.

        Returns the commands to be run on the host if it is on; one that boots later needs none."""
        (self._limited.add if limited else self._limited.discard)(host)
        kept = [one.name for one in self.interfaces[host] if one.port in self._impaired_ports]
        return [
            ["ip", "link", "set", one.name, "gso_max_segs", "1" if limited else "65535"]
            for one in self.interfaces[host]
            if one.name not in kept
        ]


async def run(*argv: str, text: str = "", check: bool = True) -> str:
    """Run a tool with this on its standard input; returns what it wrote. Raises `LabError` with its complaint."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError:
        raise LabError(f"{argv[0]} not found; `lab doctor` names the package that has it") from None
    except (OSError, RuntimeError) as error:
        if lacking := no_room(error):
            raise Exhausted(f"{argv[0]} cannot be run: {lacking}") from None
        raise
    out, err = await process.communicate(text.encode())
    if check and process.returncode:
        raise LabError(f"{' '.join(argv)} failed: {err.decode(errors='replace').strip()[:2000]}")
    return out.decode(errors="replace")

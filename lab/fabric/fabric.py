"""The network between the hosts of a lab, in the namespace of the process that uses this (or where its tools run).

Owns the bridges, the ports, the one nft table and the relay; runs `ip`, `bridge`, `nft` and `tc` on the texts that
`plan.py`, `rules.py` and `impairments.py` make. Knows hosts as names and pids.
"""

import asyncio
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace

from lab.errors import Exhausted, LabError, no_room
from lab.fabric import mechanisms, plan, rules, steering
from lab.fabric.impairments import Impairments
from lab.fabric.relay.orders import DirectionCounts, RelayReply
from lab.fabric.relay.process import Relay, RelayLauncher
from lab.fabric.routed import RoutedPlan
from lab.fabric.router_namespaces import RoutedNamespaces, Tool
from lab.links import Link
from lab.links.changes import LinkChange
from lab.links.topology import EdgeChange

_NAMED = 4
"""Links that a complaint names."""


class Fabric:
    """Bridges of an underlay and the cables into them.

    `tool`: how tools are run where the bridges are; `relay`: how the relay is started there; `seed`: of its draws.
    """

    def __init__(
        self,
        underlay: plan.Underlay,
        tool: Tool | None = None,
        relay: RelayLauncher | None = None,
        seed: int = 0,
        routed: RoutedPlan | None = None,
    ) -> None:
        self._routed = RoutedNamespaces(routed, tool or run) if routed is not None else None
        self.underlay = underlay = underlay if routed is None else routed.underlay
        self._tool = tool or run
        self._launcher = relay
        self._relay: Relay | None = None
        self.interfaces = underlay.all_interfaces()
        self.links = Impairments(underlay, self.interfaces, mechanisms.this_kernel)
        self._limited: set[str] = set()
        """Hosts of which every packet must cross the cables as itself for now."""
        self._dark: frozenset[str] = frozenset()
        """Ports that are down, so that the host at the other end sees no carrier."""
        self._cut: frozenset[tuple[str, str]] = frozenset()
        self._asked: frozenset[tuple[str, str]] = frozenset()
        """What of this the lab wants cut, apart from cables that are down."""
        self._standing: set[str] = set()
        """Ports that are there."""
        self._cutting = asyncio.Lock()
        self._relays = asyncio.Event()
        """A relay has been started."""
        self._seed = seed
        self._obstacles: list[tuple[Sequence[str], str, int, int]] = []

    async def build(self) -> None:
        """The bridges and the rules; no host is plugged in yet."""
        networks = plan.bridge_commands(self.underlay.networks) + plan.router_commands(self.underlay)
        await asyncio.gather(
            self._tool("ip", "-batch", "-", text="link set lo up\n" + networks),
            self._tool(
                "nft", "-f", "-", text=rules.base_rules(self.links.bridge_rules(), senders=self._routed is not None)
            ),
        )
        if self.underlay.routers:
            text = rules.router_rules(self.underlay, self.links.router_rules())
            await self._tool("nft", "-f", "-", text=text)
            settings = {"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1}
            for router in self.underlay.routers:
                if lifetime := router.translation.timeout // 1_000_000_000:
                    names = ("nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream")
                    settings |= dict.fromkeys((f"netfilter/{name}" for name in names), lifetime)
            for name, value in settings.items():
                await self._tool("sh", "-c", f"echo {value} > /proc/sys/net/{name}")
        await self._relay_these(self.links.relayed())
        if self._routed is not None:
            await self._routed.build(self)

    async def plug(self, hosts: Sequence[tuple[str, int]]) -> None:
        """Lay the cables of these (host, pid of a process in its network namespace)."""
        cables = "".join(plan.cable_commands(self.interfaces[host], pid) for host, pid in hosts)
        everything = [interface for host, _ in hosts for interface in self.interfaces[host]]
        cables += "".join(f"link set {one.port} down\n" for one in everything if one.port in self._dark)
        await self._tool("ip", "-batch", "-", text=cables)
        ports = [one.port for one in everything]
        self._standing.update(ports)
        shapes = self.links.port_commands(ports)
        tools = [self._tool("bridge", "-batch", "-", text=plan.forwarding_commands(everything))]
        if shapes:
            tools.append(self._tool("tc", "-batch", "-", text=shapes))
        await asyncio.gather(*tools)
        if (relay := self._running) is not None:
            await relay.order(ports=tuple(ports))

    async def unplug(self, host: str) -> None:
        """Take a host's cables away at once; the kernel would do so some time after the host's last process."""
        self._standing.difference_update(one.port for one in self.interfaces[host])
        text = "".join(f"link delete {interface.port}\n" for interface in self.interfaces[host])
        await self._tool("ip", "-force", "-batch", "-", text=text, check=False)

    def host_commands(self, host: str) -> str:
        """For `ip -batch` inside of the host, once it is plugged in: at every boot, for what holds now."""
        wire = self.links.wire_ports()
        impaired = [one.name for one in self.interfaces[host] if host in self._limited or one.port in wire]
        commands = plan.host_commands(host, self.interfaces, impaired=impaired)
        if self._routed is not None:
            return commands + self._routed.routes_of(host)
        return commands + plan.route_commands(self.underlay, host)

    async def set_cable(self, key: int, change: EdgeChange | None) -> None:
        """See `lab.contracts.lab.Cabled`."""
        assert self._routed is not None
        await self._routed.change(self, key, change)

    async def set_cut(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Cut exactly these directions (sender, receiver); one transaction of the kernel."""
        self._asked = frozenset(pairs)
        ordered = sorted(self._asked if self._routed is None else self._asked | self._routed.cut)
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
            text = rules.cut_rules(ports, routed)
            if self._routed is not None:
                text += rules.cut_senders(self._from_senders(ordered))
            await self._tool("nft", "-f", "-", text=text)
            self._cut = frozenset(ordered)
            if (relay := self._running) is not None:  # what is under way there was in time for rules
                await relay.order(cut=tuple(ordered))

    def _from_senders(self, pairs: Iterable[tuple[str, str]]) -> list[str]:
        """Of pairs that share no network, what tells packets at the receiver's port."""
        return [
            rules.from_sender(source.address, target.port)
            for sender, receiver in pairs
            if not list(plan.ports_between(self.interfaces, sender, receiver))
            for source in self.interfaces[sender]
            for target in self.interfaces[receiver]
        ]

    async def cut_again(self) -> None:
        """Cut what was asked for last, and what the topology cuts now."""
        await self.set_cut(self._asked)

    async def set_unplugged(self, plugs: Container[tuple[str, str]]) -> None:
        """Leave exactly these (host, network) without a carrier; a host that boots finds its own so."""
        everything = [(host, one) for host, interfaces in self.interfaces.items() for one in interfaces]
        dark = frozenset(
            one.port for host, one in everything if (host, self.underlay.aliases.get(one.network, one.network)) in plugs
        )
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
        self._obstacles = list(obstacles)
        for hosts, protocol, port, mtu in self._obstacles:
            places = [one for host in hosts for one in self.interfaces[host]]
            found.append(([one.port for one in places], protocol, port, mtu))
            routed.append(([one.address for one in places], protocol, port, mtu))
        text = rules.obstacle_rules(found, routed if self.underlay.routers else None)
        if self._routed is not None:
            text += rules.obstacles_by_sender(zip(found, routed, strict=True))
        async with self._cutting:
            await self._tool("nft", "-f", "-", text=text)

    async def readdress(self, host: str, network: str, address: str) -> dict[str, str]:
        """From now on a host has this address in this network. Returns what the hosts do for it, each in a shell.

        First come the neighbours, the host itself is the last. Rules that name addresses follow."""
        number, before = next((n, one) for n, one in enumerate(self.interfaces[host]) if one.network == network)
        if before.address == address:
            return {}
        after = self.interfaces[host][number] = replace(before, address=address)
        places = [(one.network, one.address) for one in self.interfaces[host]]
        self.underlay = replace(self.underlay, hosts={**self.underlay.hosts, host: places})
        if self.underlay.routers:
            await self._tool("nft", "-f", "-", text=self._link_rules())
            await self.set_cut(self._cut)
            await self.set_obstacles(self._obstacles)
        commands = self._neighbours(host, [after], lambda own, one: plan.neighbour_change(own, before.address, one))
        commands[host] = plan.address_change(before.address, after, plan.route_commands(self.underlay, host))
        return commands

    def join(self, host: str, places: Sequence[tuple[str, str]]) -> dict[str, str]:
        """One more host, with its (network, address) in each network; it is plugged in like any other.

        Returns what the other hosts do for it, each in a shell."""
        self.underlay = replace(self.underlay, hosts={**self.underlay.hosts, host: places})
        self.interfaces[host] = self.underlay.interfaces(host)
        self.links.join(self.underlay, host)
        return self._neighbours(host, self.interfaces[host], plan.neighbour_join)

    def _neighbours(
        self, host: str, changed: Sequence[plan.Interface], told: Callable[[plan.Interface, plan.Interface], str]
    ) -> dict[str, str]:
        """What the other hosts do in a shell about changed interfaces of a host: `told` says it of (theirs, its)."""
        commands = {
            name: "".join(
                told(own, one)
                for own in interfaces
                for one in changed
                if own.network == one.network and rules.family_of(own.address) == rules.family_of(one.address)
            )
            for name, interfaces in self.interfaces.items()
            if name != host
        }
        return {name: text for name, text in commands.items() if text}

    def limit(self, host: str, limited: bool) -> list[list[str]]:
        """From now on let every packet of a host cross its cables as itself, no super-packets, or let it be.

        Returns the commands to be run on the host if it is on; one that boots later needs none."""
        (self._limited.add if limited else self._limited.discard)(host)
        return self.wire_commands(host)

    def wire_commands(self, host: str) -> list[list[str]]:
        """For the host, if it is on: on which interfaces every packet must cross the cable as itself now."""
        wire, limited = self.links.wire_ports(), host in self._limited
        return [
            ["ip", "link", "set", one.name, "gso_max_segs", "1" if limited or one.port in wire else "65535"]
            for one in self.interfaces[host]
        ]

    async def set_link(self, key: int, change: LinkChange | None) -> tuple[DirectionCounts, ...]:
        """Set a change of links, or take it away; changes of other keys stay, and so does what is under way.

        Returns what the relay did under links that have ended with this."""
        async with self._cutting:
            rooted, before = self.links.rooted(), self._link_rules()
            changed = self.links.change(key, change)
            relayed = {pair: link for pair, link in self.links.relayed().items() if pair in changed}
            ended = await self._relay_these(relayed)
            standing = {pair for pair in changed if all(one.port in self._standing for one in self.interfaces[pair[1]])}
            if shapes := self.links.change_commands(standing, rooted):
                await self._tool("tc", "-batch", "-", text=shapes)
            if (after := self._link_rules()) != before:
                await self._tool("nft", "-f", "-", text=after)
            straight = [pair for pair in changed if pair not in relayed]
            if straight and (relay := self._running) is not None:
                links = tuple((*pair, Link()) for pair in straight)
                ended += (await relay.order(links=links)).ended
            return ended

    def _link_rules(self) -> str:
        text = rules.replace_links(rules.FABRIC.table, self.links.bridge_rules())
        return text + (rules.replace_links(rules.ROUTERS, self.links.router_rules()) if self.underlay.routers else "")

    # The relay

    @property
    def _running(self) -> Relay | None:
        """The relay, if there is one and it has not died."""
        return self._relay if self._relay is not None and not self._relay.died.done() else None

    async def _relay_these(self, links: Mapping[tuple[str, str], Link]) -> tuple[DirectionCounts, ...]:
        """Have the relay, which is started when it is first needed, make these links from now on."""
        if not links:
            return ()
        if self._relay is None:
            if self._launcher is None:
                raise LabError("these links need the lab's relay, which hosts of this kind do not have")
            await self._tool("ip", "-batch", "-", text=steering.sink_commands())
            self._relay = await Relay.start(self._launcher, steering.SINK, self._relayed_names)
            self._relays.set()
        reply = await self._relay.order(
            links=tuple((*pair, link) for pair, link in links.items()),
            ways=tuple(self.links.ways(links)),
            seed=self._seed,
            cut=tuple(sorted(self._cut)),
        )
        return reply.ended

    def _relayed_names(self) -> str:
        names = [f"{sender} -> {receiver}" for sender, receiver in self.links.relayed()]
        return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more links" if len(names) > _NAMED else "")

    def mechanism(self, sender: str, receiver: str) -> str:
        """By what a direction is impaired now: rules, queues or relay; empty when it is not."""
        return self.links.mechanism((sender, receiver)) or ""

    async def counts(self) -> RelayReply | None:
        """What the relay has done so far; None where there is none, or it has died."""
        return await relay.order(count=True) if (relay := self._running) is not None else None

    async def watch(self) -> None:
        """Wait until the relay dies by itself, and raise what that means."""
        await self._relays.wait()
        assert self._relay is not None
        raise await asyncio.shield(self._relay.died)

    async def close(self) -> None:
        """End the relay, and the routers."""
        if self._routed is not None:
            await self._routed.close()
        if self._relay is not None:
            await self._relay.close()


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

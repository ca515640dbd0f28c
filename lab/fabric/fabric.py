"""The network between the hosts of a lab, in the network namespace of this process (or in that of its tools).

Owns the bridges, the ports, the one nft table and the relay; runs `ip`, `bridge`, `nft` and `tc` on the texts that
`plan.py`, `rules.py` and `impairments.py` produce. Knows hosts as names and pids.
"""

import asyncio
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace

from lab.errors import Exhausted, LabError, no_room
from lab.fabric import cut_classes, mechanisms, plan, rules, steering
from lab.fabric.host_messages import NeighbourTables
from lab.fabric.impairments import Impairments
from lab.fabric.relay.orders import DirectionCounts, RelayReply
from lab.fabric.relay.process import Relay, RelayLauncher
from lab.fabric.routed import RoutedPlan
from lab.fabric.router_namespaces import RoutedNamespaces, Tool
from lab.links import Link
from lab.links.changes import LinkChange
from lab.links.topology import EdgeChange

_PORTS_IPV6 = "/proc/sys/net/ipv6/conf/default/disable_ipv6"
_NAMED = 4
"""Maximum number of links named in an error message."""


class Fabric:
    """Bridges of an underlay and the cables into them.

    `tool` runs tools where the bridges are; `relay` starts the relay there; `seed` is for its random draws.
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
        self.neighbours = NeighbourTables(self.interfaces)
        self.links = Impairments(underlay, self.interfaces, mechanisms.this_kernel)
        self._limited: set[str] = set()
        """Hosts whose offloads are off, so that each packet crosses the cables individually."""
        self._dark: frozenset[str] = frozenset()
        """Ports that are down, so that the host at the other end has no carrier."""
        self._cut: frozenset[tuple[str, str]] = frozenset()
        self._asked: frozenset[tuple[str, str]] = frozenset()
        """The requested cuts, without cables that are down."""
        self._classes = 0
        """Classes of senders that the table has had so far."""
        self._standing: set[str] = set()
        """Ports that exist."""
        self._cutting = asyncio.Lock()
        self._relays = asyncio.Event()
        """Set once a relay has been started."""
        self._seed = seed
        self._obstacles: list[tuple[Sequence[str], str, int, int]] = []

    async def build(self) -> None:
        """Create the bridges and the rules; no host is connected yet."""
        networks = plan.bridge_commands(self.underlay.networks) + plan.router_commands(self.underlay)
        # Ports are no hosts: without this each would send its own IPv6 solicitations into a host. Bridges neither,
        # unless they are routers' interfaces.
        quiet = self._tool("sh", "-c", f"echo 1 > {_PORTS_IPV6}", check=False)
        if not self.underlay.routers:
            await quiet
        await asyncio.gather(
            self._tool("ip", "-batch", "-", text="link set lo up\n" + networks),
            self._tool(
                "nft", "-f", "-", text=rules.base_rules(self.links.bridge_rules(), senders=self._routed is not None)
            ),
        )
        if self.underlay.routers:
            await quiet
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
        """Create the cables of these (host, pid of a process in its network namespace)."""
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
        """Remove a host's cables at once; the kernel would remove them some time after the host's last process."""
        self._standing.difference_update(one.port for one in self.interfaces[host])
        text = "".join(f"link delete {interface.port}\n" for interface in self.interfaces[host])
        await self._tool("ip", "-force", "-batch", "-", text=text, check=False)

    def host_commands(self, host: str) -> str:
        """For `ip -batch` inside the host, once it is connected: at every boot, for the current state."""
        impaired = [one.name for one in self.interfaces[host] if self.impaired(host, one)]
        return plan.host_commands(host, self.interfaces, impaired=impaired) + self.routes_of(host)

    def impaired(self, host: str, interface: plan.Interface) -> bool:
        """Whether offloads of this interface of the host must be off now."""
        return host in self._limited or interface.port in self.links.wire_ports()

    def routes_of(self, host: str) -> str:
        """The part of `host_commands` that sets routes."""
        if self._routed is not None:
            return self._routed.routes_of(host)
        return plan.route_commands(self.underlay, host)

    async def set_cable(self, key: int, change: EdgeChange | None) -> None:
        """See `lab.contracts.lab.Cabled`."""
        assert self._routed is not None
        await self._routed.change(self, key, change)

    async def set_cut(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Cut exactly these directions (sender, receiver), in one kernel transaction."""
        self._asked = frozenset(pairs)
        wanted = self._asked if self._routed is None else self._asked | self._routed.cut
        if len(wanted) > cut_classes.MANY and self._routed is None and not self.underlay.routers:
            await self._cut_classes(wanted)
            return
        ordered = sorted(wanted)
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
            if self._classes:
                text += cut_classes.class_rules({}, self._classes)[0]
            await self._tool("nft", "-f", "-", text=text)
            self._cut = wanted
            if (relay := self._running) is not None:  # packets in flight there passed the rules before
                await relay.order(cut=tuple(ordered))

    async def _cut_classes(self, pairs: frozenset[tuple[str, str]]) -> None:
        """Cut many directions: with a rule for each class of senders instead of an element for each pair."""
        targets = cut_classes.targets(pairs, self.interfaces)
        async with self._cutting:
            text, classes = cut_classes.class_rules(targets, self._classes)
            await self._tool("nft", "-f", "-", text=rules.cut_rules([]) + text)
            self._classes, self._cut = classes, pairs
            if (relay := self._running) is not None:
                await relay.order(cut=tuple(sorted(pairs)))

    def _from_senders(self, pairs: Iterable[tuple[str, str]]) -> list[str]:
        """For pairs that share no network, the set elements that match their packets at the receiver's port."""
        return [
            rules.from_sender(source.address, target.port)
            for sender, receiver in pairs
            if not list(plan.ports_between(self.interfaces, sender, receiver))
            for source in self.interfaces[sender]
            for target in self.interfaces[receiver]
        ]

    async def cut_again(self) -> None:
        """Apply the cuts that were requested last, and those of the topology."""
        await self.set_cut(self._asked)

    async def set_unplugged(self, plugs: Container[tuple[str, str]]) -> None:
        """Remove the carrier of exactly these (host, network); it stays removed when a host boots."""
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
            if "Cannot find device" not in str(error):  # the host is off; `plug` handles it
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
        """Change a host's address in this network. Returns a shell command for each affected host.

        Neighbours come first, the host itself last. Rules that name addresses are updated.
        """
        number, before = next((n, one) for n, one in enumerate(self.interfaces[host]) if one.network == network)
        if before.address == address:
            return {}
        after = self.interfaces[host][number] = replace(before, address=address)
        self.neighbours.forget()
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
        """Add a host, with its (network, address) in each network; it is connected like any other.

        Returns a shell command for each of the other hosts.
        """
        self.underlay = replace(self.underlay, hosts={**self.underlay.hosts, host: places})
        self.interfaces[host] = self.underlay.interfaces(host)
        self.neighbours.forget()
        self.links.join(self.underlay, host)
        return self._neighbours(host, self.interfaces[host], plan.neighbour_join)

    def _neighbours(
        self, host: str, changed: Sequence[plan.Interface], told: Callable[[plan.Interface, plan.Interface], str]
    ) -> dict[str, str]:
        """Shell commands of other hosts for changed interfaces of a host: `told` gives that for (theirs, its)."""
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
        """Switch a host's offloads off, so that each packet crosses its cables individually, or on again.

        Returns the commands for the host if it is on; a host that boots later needs none.
        """
        (self._limited.add if limited else self._limited.discard)(host)
        return self.wire_commands(host)

    def wire_commands(self, host: str) -> list[list[str]]:
        """Commands for a running host that switch offloads off or on at its interfaces for the current state."""
        wire, limited = self.links.wire_ports(), host in self._limited
        return [
            ["ip", "link", "set", one.name, "gso_max_segs", "1" if limited or one.port in wire else "65535"]
            for one in self.interfaces[host]
        ]

    async def set_link(self, key: int, change: LinkChange | None) -> tuple[DirectionCounts, ...]:
        """Set a change of links, or remove it; changes of other keys stay, and so do packets in flight.

        Returns the relay's counters for links that end with this.
        """
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
        """The relay, if it was started and is alive."""
        return self._relay if self._relay is not None and not self._relay.died.done() else None

    async def _relay_these(self, links: Mapping[tuple[str, str], Link]) -> tuple[DirectionCounts, ...]:
        """Let the relay handle these links from now on; it is started on first use."""
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
        """The mechanism that impairs a direction now: rules, queues or relay; empty when it is not impaired."""
        return self.links.mechanism((sender, receiver)) or ""

    async def counts(self) -> RelayReply | None:
        """The relay's counters so far; None if there is no relay, or it has died."""
        return await relay.order(count=True) if (relay := self._running) is not None else None

    async def watch(self) -> None:
        """Wait until the relay dies by itself, and raise an error with the consequences."""
        await self._relays.wait()
        assert self._relay is not None
        raise await asyncio.shield(self._relay.died)

    async def close(self) -> None:
        """End the relay and the routers."""
        if self._routed is not None:
            await self._routed.close()
        if self._relay is not None:
            await self._relay.close()


async def run(*argv: str, text: str = "", check: bool = True) -> str:
    """Run a tool with `text` on its standard input; returns its output. Raises `LabError` with its error output."""
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

"""The lab's overlay over a driver on each host: containers by the engine, addresses, and which peers to tell.

Owns what is the same for all drivers. Knows no overlay by name, nor the kind of a driver.
"""

import asyncio
import contextlib
import ipaddress
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from typing import Any

import msgspec

from lab.contracts.driver import Driver, DriverFactory, DriverFault, DriverHello, DriverPeer, DriverPlace, DriverPlug
from lab.contracts.lab import Lab
from lab.contracts.overlay import OverlayReport, together
from lab.driven.leftovers import launch_mark, started_since
from lab.errors import LabError
from lab.host_engine import HostEngine
from lab.kinds.options import Options
from lab.scenario.resolve import Replica, Resolved

DIRECTORY = "/root/overlay"
"""Folder of a driver's files, below the home directory, which is separate on each host."""
PREFIX = {4: 24, 6: 64}
"""By IP version, the length of the prefix that a host gets from the range, if addresses come by prefixes."""


class DrivenOverlay:
    """An overlay run by drivers."""

    has_views = False
    has_dns = False

    def __init__(
        self,
        lab: Lab,
        scenario: Resolved,
        kind: str,
        make: DriverFactory,
        subnet: IPv4Network | IPv6Network,
        *,
        has_daemons: bool = True,
    ) -> None:
        self.kind = kind
        self.has_daemons = has_daemons
        self._lab = lab
        self._scenario = scenario
        self._make = make
        self._subnet = subnet
        self._drivers: dict[str, Driver] = {}
        self._hellos: dict[str, DriverHello] = {}
        self._options: dict[str, Options] = {}
        self._groups: list[dict[str, None]] = []
        """Groups of connected hosts, for overlays whose peers must be told about all others."""
        self._asked: dict[str, dict[str, None]] = {}
        """Host -> the other ends of its connections, for overlays that discover the rest."""
        self._marks: dict[str, float | None] = {}
        """Host -> its uptime at the last launch; see `lab.driven.leftovers`."""
        self._stopped: dict[str, None] = {}
        """Hosts whose overlay was stopped or killed, and not launched again."""
        self._addresses: dict[str, IPv4Interface | IPv6Interface] = {}
        self._next: dict[str, int] = {}
        """Prefix, or "" for the whole range -> the index of the next address to assign."""

    @property
    def hello(self) -> DriverHello | None:
        """The first driver's description of its overlay; None before the first launch."""
        return next(iter(self._hellos.values()), None)

    @property
    def told(self) -> Mapping[str, Any]:
        """See `lab.contracts.overlay.SelfTelling`."""
        hello = self.hello
        return (
            {} if hello is None else {key: value for key, value in msgspec.to_builtins(hello).items() if key != "card"}
        )

    # Hosts

    async def launch(self, hosts: Sequence[str], options: Options) -> None:
        """Start the overlay on these hosts."""
        for name in hosts:
            self._options[name] = {**self._scenario.options, **options}
        await together(self._launch(name) for name in hosts)

    async def connect(self, source: str, targets: Sequence[str]) -> None:
        """Tell the peers about each other: a whole group, unless the overlay discovers the rest or there is a graph."""
        for name in (source, *targets):
            if name not in self._hellos:
                raise LabError(f"connect: the overlay was not launched on {name}")
        self._asked.setdefault(source, {}).update(dict.fromkeys(targets))
        for target in targets:
            self._asked.setdefault(target, {})[source] = None
        joined: dict[str, None] = dict.fromkeys((source, *targets))
        apart = []
        for group in self._groups:
            if group.keys() & joined.keys():
                joined = {**group, **joined}
            else:
                apart.append(group)
        self._groups = [*apart, joined]
        told = [source, *targets] if self._hellos[source].discovers else [*joined]
        await together(self._connect(name) for name in told)

    async def relaunch(self, host: str) -> bool:
        """Start the overlay again, and tell its peer about the others as before."""
        if host not in self._options:
            return False
        await self._launch(host)
        await self._connect(host)
        return self.has_daemons

    async def stop(self, host: str) -> None:
        """Stop gracefully, in the overlay's own way."""
        await self._driver(host).stop()
        self._stopped[host] = None

    async def kill_daemon(self, host: str) -> None:
        """See `Driver.kill`."""
        await self._driver(host).kill()
        self._stopped[host] = None

    async def report(self, host: str) -> OverlayReport | None:
        """See `lab.contracts.overlay.Reporting`."""
        if host not in self._hellos:
            return None
        status = await self._driver(host).status()
        mark = self._marks.get(host)
        stopped = host in self._stopped
        return OverlayReport(
            running=status.running,
            peers=status.peers,
            connected=tuple(other for other in self._group_of(host) if other != host),
            stopped=stopped,
            left=await started_since(self._lab.hosts[host], mark) if stopped and mark is not None else (),
        )

    # Containers

    async def run(self, replica: Replica) -> None:
        """`docker run`, then attach the interface."""
        hello = self._said(replica.host)
        if replica.address and hello.addresses != "chosen":
            how = {"prefix": "come from its host's prefix", "own": "follow from keys"}[hello.addresses]
            raise LabError(
                f"service {replica.service} asks for the address {replica.address}, but addresses of the overlay "
                f"{self.kind} {how}: leave `address` out"
            )
        engine = HostEngine(self._lab.hosts[replica.host])
        await engine.run(replica)
        try:
            await self._attach(replica, replica.address or self._choose(replica.host))
        except LabError:
            with contextlib.suppress(LabError):
                await engine.remove(replica.name)
            raise

    async def remove(self, replica: Replica) -> None:
        """Detach, then `docker rm -f`."""
        address = self._addresses.pop(replica.name, None)
        engine = HostEngine(self._lab.hosts[replica.host])
        if address is not None and replica.host in self._drivers:
            await self._driver(replica.host).detach(
                DriverPlug(container=replica.name, pid=await self._pid(replica), address=str(address))
            )
        await engine.remove(replica.name)

    async def kill(self, replica: Replica) -> None:
        """`docker kill`."""
        await HostEngine(self._lab.hosts[replica.host]).kill(replica.name)

    async def restart(self, replica: Replica) -> None:
        """`docker start`, then attach the interface with its previous address."""
        await HostEngine(self._lab.hosts[replica.host]).start(replica.name)
        before = self._addresses.get(replica.name)
        await self._attach(replica, str(before) if before else replica.address or self._choose(replica.host))

    def address_of(self, replica: str) -> str:
        """Its overlay address."""
        interface = self._addresses.get(replica)
        return str(interface.ip) if interface else ""

    def endpoint(self, source: Replica, target: Replica, port: int) -> tuple[str, int] | None:
        """Addresses that the lab chooses separate subnets; otherwise all replicas reach each other."""
        ours, theirs = self._addresses.get(source.name), self._addresses.get(target.name)
        if ours is None or theirs is None:
            return None
        chosen = self._said(source.host).addresses == "chosen"
        if chosen and (theirs.ip not in ours.network or ours.ip not in theirs.network):
            return None
        return str(theirs.ip), port

    async def resolver(self, host: str) -> str:
        """There is no name server."""
        return ""

    async def log_tail(self, host: str) -> str:
        """See `Driver.logs`."""
        if host not in self._drivers:
            return ""
        return await self._drivers[host].logs()

    async def close(self) -> None:
        """The lab ends: close all drivers."""
        with contextlib.suppress(LabError, OSError):
            await asyncio.gather(*(driver.close() for driver in self._drivers.values()))

    # Internals

    def _driver(self, host: str) -> Driver:
        if host not in self._drivers:
            raise LabError(f"the overlay {self.kind} was not launched on {host}")
        return self._drivers[host]

    def _said(self, host: str) -> DriverHello:
        if host not in self._hellos:
            raise LabError(f"the overlay {self.kind} was not launched on {host}")
        return self._hellos[host]

    async def _launch(self, name: str) -> None:
        host = self._lab.hosts[name]
        if name not in self._drivers:
            hosts = {other: self._lab.hosts[other].address for other in self._lab.hosts}
            self._drivers[name] = self._make(
                host,
                DriverPlace(
                    host=name,
                    address=host.address,
                    hosts=hosts,
                    directory=DIRECTORY,
                    subnet=str(self._subnet),
                    prefix=self._prefix_of(name),
                    options=self._options[name],
                ),
            )
        driver = self._drivers[name]
        self._marks[name] = await launch_mark(host)
        hello = await driver.hello()
        first = self.hello
        if first is not None and (hello.addresses, hello.carries) != (first.addresses, first.carries):
            raise DriverFault(
                f"{name}: the driver says that addresses are {hello.addresses} and that it carries {hello.carries}, "
                f"those of other hosts {first.addresses} and {first.carries}; all must say the same"
            )
        if hello.addresses == "prefix" and not self._prefix_of(name):
            raise LabError(
                f"{self._subnet} has no /{PREFIX[self._subnet.version]} left for {name}: `iprange` names a larger range"
            )
        self._hellos[name] = hello
        self._stopped.pop(name, None)
        await driver.launch()

    async def _connect(self, name: str) -> None:
        """Tell one peer about the others that it should know."""
        hello = self._hellos[name]
        if hello.discovers:
            others = list(self._asked.get(name, {}))
        else:
            others = [other for other in self._group_of(name) if other != name]
        edges = self._scenario.edges
        if edges is not None:
            near = {end for edge in edges for end in edge if name in edge}
            others = [other for other in others if other in near]
        peers = [
            DriverPeer(
                name=other,
                address=self._lab.hosts[other].address,
                prefix=self._prefix_of(other),
                card=self._hellos[other].card,
            )
            for other in others
            if other in self._hellos
        ]
        await self._driver(name).connect(peers)

    def _group_of(self, name: str) -> dict[str, None]:
        return next((group for group in self._groups if name in group), {})

    async def _attach(self, replica: Replica, address: str) -> None:
        what = DriverPlug(container=replica.name, pid=await self._pid(replica), address=address)
        answer = await self._driver(replica.host).attach(what)
        try:
            self._addresses[replica.name] = ipaddress.ip_interface(answer)
        except ValueError:
            raise DriverFault(
                f"{replica.host}: the driver attached {replica.name} and says that its address is {answer[:80]!r}, "
                "expected an address with its prefix length, as 10.32.0.1/12"
            ) from None

    async def _pid(self, replica: Replica) -> int:
        state = (await HostEngine(self._lab.hosts[replica.host]).inspect(replica.name))["State"]
        return int(state["Pid"])

    def _choose(self, host: str) -> str:
        """The next free address of the whole range, or of the host's prefix; empty if the overlay assigns addresses."""
        hello = self._said(host)
        if hello.addresses == "own":
            return ""
        network = self._subnet if hello.addresses == "chosen" else ipaddress.ip_network(self._prefix_of(host))
        key = str(network) if hello.addresses == "prefix" else ""
        # The first address of a prefix is for the host itself, which many overlays need.
        number = self._next.get(key, 1 if hello.addresses == "chosen" else 2)
        if number >= network.num_addresses - 1:
            raise LabError(f"{network} has no free address left")
        self._next[key] = number + 1
        return f"{network[number]}/{network.prefixlen}"

    def _prefix_of(self, name: str) -> str:
        """The host's part of the range, by its index among the hosts of the lab."""
        length = min(max(PREFIX[self._subnet.version], self._subnet.prefixlen), self._subnet.max_prefixlen)
        index = list(self._lab.hosts).index(name)
        if index >= 1 << (length - self._subnet.prefixlen):
            return ""
        first = int(self._subnet.network_address) + (index << (self._subnet.max_prefixlen - length))
        return str(ipaddress.ip_network((first, length)))

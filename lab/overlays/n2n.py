"""`overlay.kind: n2n`: n2n of the first generation (Debian's 1.3.1~svn3789, which calls itself 1.3.2).

A supernode on the first host of the lab, an edge on each, as the manual has them: twofish, an MTU of 1400. Containers
are behind their hosts (`-r`), by routes to the hosts' addresses in 100.64.0.0/24. They do not hang on a bridge with the
edge's TAP device: this generation knows the MAC addresses of edges only, and its supernode sends a frame to any other
one to all edges, so that the first host would carry all traffic of containers.

All need the first host: while its supernode is away edges find no others, and one that was started again learns of
edges when they register again, which they do once a minute. The port of an edge is fixed (`-p`), so that it keeps its
socket when it is started again. Tuned: nothing that the program offers makes links return faster; `mtu` is an option.
"""

import hashlib
from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import ClassVar

from lab.contracts.driver import DriverHello, DriverPeer, DriverPlace, DriverStatus
from lab.contracts.lab import Host
from lab.driven.kind import driven
from lab.driven.kit import HOSTS, RouteDriver, host_number, own_address

DEVICE = "n2n0"
PORT = 7654
_LOCAL = 7655
"""Of edges."""
_NETWORK = IPv4Network((HOSTS.network_address, 24))
"""The manual wants all edges in one /24."""


def edge_command(place: DriverPlace, mtu: int) -> str:
    """The edge of a host; a MAC address of its own, which the manual recommends, keeps others' ARP caches right."""
    first = next(iter(place.hosts.values()))
    octets = hashlib.blake2b(place.host.encode(), digest_size=4).digest()
    mac = ":".join(f"{octet:02x}" for octet in (0x02, 0x6E, *octets))
    return (
        f"N2N_KEY=overlay-lab edge -d {DEVICE} -c lab -a {own_address(place, place.host, _NETWORK)} "
        f"-s {_NETWORK.netmask} -l {first}:{PORT} -p {_LOCAL} -m {mac} -M {mtu} -r"
    )


class N2nDriver(RouteDriver):
    """The edge of one host, and the supernode of the first."""

    processes: ClassVar[Sequence[str]] = ("edge", "supernode")
    mtu: ClassVar[int] = 1400

    def __init__(self, host: Host, place: DriverPlace) -> None:
        super().__init__(host, place)
        self._waits = False
        """Whether the edge is yet to be started."""

    async def hello(self) -> DriverHello:
        """No keys to make: a community has one."""
        own_address(self.place, self.place.host, _NETWORK)
        version = await self.sh("edge -h 2>&1 | sed -n 's/^Welcome to n2n v.\\([^ ]*\\).*/\\1/p'")
        return DriverHello(name="n2n", version=version.strip(), addresses="prefix")

    async def launch(self) -> None:
        """The supernode and its edge; other edges when they are first told of peers.

        An edge whose first registration is lost waits a minute for the next, so a user starts the supernode first."""
        await self.make_tun()
        await self.open_forwarding()
        if "supernode" in self.needed:
            await self.start(f"supernode -l {PORT}")
        self._waits = True
        if "supernode" in self.needed or self.peers:
            await self.connect(self.peers)

    async def connect(self, peers: Sequence[DriverPeer]) -> None:
        """Edges find each other; the host must know behind which one a prefix is."""
        self.peers = peers
        if self._waits:
            self._waits = False
            own = own_address(self.place, self.place.host, _NETWORK)
            await self.start(edge_command(self.place, self.payload), device=DEVICE, shows=f"inet {own}/")
            await self.sh(f"ip link set {DEVICE} up")  # the edge does so a moment after the address
        await self.route(DEVICE, {peer.prefix: own_address(self.place, peer.name, _NETWORK) for peer in peers})

    async def status(self) -> DriverStatus:
        """See `HostDriver`; before the first peers no edge runs yet, on purpose."""
        return DriverStatus(running=True) if self._waits else await super().status()

    async def stop(self) -> None:
        """See `HostDriver`."""
        self._waits = False
        await super().stop()

    async def kill(self) -> None:
        """See `HostDriver`."""
        self._waits = False
        await super().kill()

    @property
    def needed(self) -> Sequence[str]:
        """See `HostDriver`: the supernode on the first host."""
        return self.processes if host_number(self.place, self.place.host) == 1 else ("edge",)


KIND = driven(
    name="n2n",
    about="n2n 1.3: edges that a supernode on the first host introduces, encrypted, a prefix for each host",
    make=N2nDriver,
    programs={"edge": "n2n", "supernode": "n2n"},
    numbers={"mtu": (576, 9000)},
    only_ipv4=True,
)

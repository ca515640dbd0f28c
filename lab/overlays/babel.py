"""`overlay.kind: babel`: Babel (babeld) between hosts over one kernel VXLAN; containers have addresses of their host's
prefix.

The VXLAN has a static list of peers, so to Babel it is a link on which not everybody hears everybody: `type tunnel`,
which measures round trips, and `split-horizon false`, so that a host passes on what it learns and packets find a way
around a cut between two hosts. All else is babeld's default: a hello each 4 s. Tuned: `options: {hello: 1}`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_network
from typing import Any, ClassVar

from lab.contracts.driver import DriverHello, DriverPeer, DriverStatus
from lab.driven.kind import driven
from lab.driven.kit import RouteDriver, mac_of

__all__ = ["KIND", "conf_text", "flood_changes", "peers_behind"]

DEVICE = "babel0"
VNI = 6696
PORT = 4789
_ALL = "00:00:00:00:00:00"


def conf_text(subnet: str, prefix: str, hello: int) -> str:
    """babeld's configuration: announce the host's own prefix, believe others of the overlay's range, nothing else."""
    lines = (
        f"interface {DEVICE} type tunnel split-horizon false hello-interval {hello}",
        f"in ip {subnet} allow",
        "in deny",
        f"redistribute ip {prefix} eq {ip_network(prefix).prefixlen} allow",
        "redistribute local deny",
        "redistribute deny",
    )
    return "".join(f"{line}\n" for line in lines)


def flood_changes(shown: str, wanted: Iterable[str]) -> list[str]:
    """Commands that make a device flood to these addresses and no others; `shown`: its table as `bridge fdb` has it."""
    rows = [line.split() for line in shown.splitlines()]
    there = {row[row.index("dst") + 1]: None for row in rows if row[:1] == [_ALL] and "dst" in row}
    wanted = dict.fromkeys(wanted)
    return [
        *(f"bridge fdb del {_ALL} dev {DEVICE} dst {address}" for address in there if address not in wanted),
        *(f"bridge fdb append {_ALL} dev {DEVICE} dst {address}" for address in wanted if address not in there),
    ]


def peers_behind(routes: Any, names: Mapping[str, str]) -> tuple[str, ...]:
    """Hosts whose prefix the kernel has a route to, from `ip -j route`; `names`: prefix -> host."""
    rows = [row.get("dst", "") for row in routes if isinstance(row, dict) and row.get("type") != "unreachable"]
    return tuple(dict.fromkeys(names[prefix] for prefix in rows if prefix in names))


class BabelDriver(RouteDriver):
    """babeld on one host, with a VXLAN device."""

    processes: ClassVar[Sequence[str]] = ("babeld",)
    mtu: ClassVar[int] = 1450
    """VXLAN takes 50 bytes of the underlay's 1500."""

    async def hello(self) -> DriverHello:
        """There are no keys."""
        version = await self.sh("babeld -V 2>&1")
        return DriverHello(
            name="babel", version=version.strip().replace("-", " ", 1), addresses="prefix", carries="packets"
        )

    async def launch(self) -> None:
        """The device, the host's prefix as a route for babeld to announce, and babeld."""
        place = self.place
        network = ip_network(place.prefix)
        family = f"-{network.version}"
        conf = conf_text(place.subnet, place.prefix, self.number("hello", 4))
        await self.put(f"{place.directory}/babeld.conf", conf)
        first = network[1]
        await self.open_forwarding(DEVICE)
        await self.sh(
            f"ip link show {DEVICE} >/dev/null 2>&1 ||\n"
            f"  ip link add {DEVICE} mtu {self.payload} address {mac_of(str(first))} type vxlan id {VNI} "
            f"local {place.address} dstport {PORT}\n"
            f"ip {family} addr replace {first}/{network.max_prefixlen} dev {DEVICE}\n"
            f"ip link set {DEVICE} up\n"
            f"ip {family} route replace unreachable {network} proto static"
        )
        await self._begin()

    async def connect(self, peers: Sequence[DriverPeer]) -> None:
        """The device's list of peers; babeld finds them there."""
        first, self.peers = not self.peers, peers
        shown = await self.sh(f"bridge fdb show dev {DEVICE}")
        if changes := flood_changes(shown, (peer.address for peer in peers)):
            await self.sh("\n".join(changes))
        if first and (await super().status()).running:
            # As where somebody sets up the device before babeld: its first words would have gone to nobody.
            await self.end("babeld", "TERM")
            await self._begin()

    async def _begin(self) -> None:
        folder = self.place.directory
        await self.sh(
            f"rm -f {folder}/pid\nbabeld -D -I {folder}/pid -L {folder}/log -S {folder}/state -c {folder}/babeld.conf"
        )

    async def status(self) -> DriverStatus:
        """Whether it runs, and the hosts to which it has routes."""
        found = await super().status()
        family = f"-{ip_network(self.place.prefix).version}"
        names = {peer.prefix: peer.name for peer in self.peers}
        routes = json.loads(await self.sh(f"ip -j {family} route show proto babel") or "[]")
        return DriverStatus(running=found.running, peers=peers_behind(routes, names) if found.running else ())


KIND = driven(
    name="babel",
    about="Babel (babeld) over a kernel VXLAN: routes to the prefixes of hosts, around cuts where there is a way",
    make=BabelDriver,
    programs={"babeld": "babeld"},
    numbers={"hello": (1, 60), "mtu": (1280, 9000)},
    variants={"tuned": {"hello": 1}},
)

"""`overlay.kind: bgp_evpn`: EVPN as data centres do it: FRR's bgpd tells of MAC addresses, kernel VXLAN carries frames.

Each host is a VTEP: one bridge, one VXLAN device that learns nothing from packets, zebra and bgpd. bgpd announces what
is on the bridge (`advertise-all-vni`) to all others, by iBGP in a full mesh. Settings of FRR's `frr defaults
datacenter`: a keepalive each 3 s, a peer is down after 9 s, a lost one is dialled each 10 s. Tuned: `options:
{bfd: true}`, which runs bfdd too and notices a lost peer after 0.9 s.

The daemons run as root, because hosts of a lab have no other user. FRR wants its user in the group `frrvty`, so they
get an /etc/group in which root is. Where the lab belongs to an ordinary user FRR does not start: it insists on
setgroups(2), which a user namespace without privileges refuses.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from lab.contracts.driver import DriverHello, DriverPeer, DriverStatus
from lab.driven.kind import driven
from lab.driven.kit import BridgeDriver, host_number
from lab.errors import LabError

__all__ = ["KIND", "bgpd_text", "established", "neighbours", "peering_changes"]

DEVICE = "vxlan0"
VNI = 100
PORT = 4789
AS = 65000
_DAEMONS = "/usr/lib/frr"
_RUN = "/run/frr"


def neighbours(addresses: Sequence[str]) -> list[str]:
    """Lines of `router bgp` for these peers."""
    return [f"neighbor {address} peer-group fabric" for address in addresses]


def bgpd_text(host: str, router: str, log: str, addresses: Sequence[str], *, bfd: bool) -> str:
    """bgpd's configuration."""
    lines = [
        "frr defaults datacenter",
        f"hostname {host}",
        f"log file {log}",
        f"router bgp {AS}",
        f" bgp router-id {router}",
        " no bgp default ipv4-unicast",
        " neighbor fabric peer-group",
        f" neighbor fabric remote-as {AS}",
        *([" neighbor fabric bfd"] if bfd else []),
        *(f" {line}" for line in neighbours(addresses)),
        " address-family l2vpn evpn",
        "  neighbor fabric activate",
        "  advertise-all-vni",
        " exit-address-family",
    ]
    return "".join(f"{line}\n" for line in lines)


def peering_changes(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Lines of `router bgp` that lead from some peers to others."""
    gone = [f"no {line}" for line in neighbours([address for address in before if address not in after])]
    return [*gone, *neighbours([address for address in after if address not in before])]


def established(summary: Any, names: Mapping[str, str]) -> tuple[str, ...]:
    """Hosts with an open session, from `show bgp l2vpn evpn summary json`; `names`: address -> host."""
    peers = summary.get("peers", {}) if isinstance(summary, dict) else {}
    return tuple(
        names[address]
        for address, peer in peers.items()
        if address in names and isinstance(peer, dict) and peer.get("state") == "Established"
    )


class EvpnDriver(BridgeDriver):
    """zebra and bgpd on one host, with a bridge and a VXLAN device."""

    processes: ClassVar[Sequence[str]] = ("bgpd", "bfdd", "zebra")
    mtu: ClassVar[int] = 1450
    """VXLAN takes 50 bytes of the underlay's 1500."""

    async def hello(self) -> DriverHello:
        """There are no keys."""
        version = await self.sh(f"{_DAEMONS}/bgpd --version | head -n 1")
        return DriverHello(
            name="bgp_evpn",
            version=f"frr {version.split()[-1]}",
            addresses="chosen",
            carries="frames",
            moves=True,
        )

    async def launch(self) -> None:
        """Bridge and device, as FRR's manual has them; then the daemons, zebra first."""
        place = self.place
        if (await self.sh("cat /proc/self/setgroups")).strip() == "deny":
            raise LabError(
                f"{place.host}: FRR calls setgroups(2), which the lab of an ordinary user refuses: run it with sudo"
            )
        await self.make_bridge()
        await self.sh(
            f"ip link show {DEVICE} >/dev/null 2>&1 && exit 0\n"
            f"ip link add {DEVICE} mtu {self.payload} type vxlan id {VNI} local {place.address} dstport {PORT} "
            "nolearning\n"
            f"ip link set {DEVICE} master {self.bridge} addrgenmode none\n"
            f"ip link set {DEVICE} type bridge_slave neigh_suppress on learning off\n"
            f"ip link set {DEVICE} up"
        )
        for name in self.needed:
            await self.put(f"{place.directory}/{name}.conf", f"log file {place.directory}/log\n")
        await self._write()
        start = "\n".join(
            f"{_DAEMONS}/{name} -d -u root -g root -P 0 --vty_socket {_RUN} -z {_RUN}/zserv.api "
            f"-i {_RUN}/{name}.pid -f {place.directory}/{name}.conf"
            for name in reversed(self.needed)
        )
        await self.put(
            f"{place.directory}/start",
            "set -e\n"
            f"sed 's/^frrvty:.*/&,root/; s/:,root/:root/' /etc/group > {place.directory}/group\n"
            f"mount --bind {place.directory}/group /etc/group\n{start}\n",
        )
        await self.sh(
            f"mkdir -p {_RUN}\nrm -f {_RUN}/*\nlog={place.directory}/log\n"
            f"unshare -m sh {place.directory}/start >>$log 2>&1 || {{ tail -n 3 $log >&2; exit 1; }}"
        )

    async def connect(self, peers: Sequence[DriverPeer]) -> None:
        """Write all peers, and tell the running bgpd what is new."""
        changes = peering_changes([peer.address for peer in self.peers], [peer.address for peer in peers])
        self.peers = peers
        await self._write()
        if changes and (await super().status()).running:
            words = " ".join(f"-c '{line}'" for line in ("configure terminal", f"router bgp {AS}", *changes))
            await self.sh(f"vtysh --vty_socket {_RUN} -d bgpd {words}")

    async def status(self) -> DriverStatus:
        """Whether all daemons run, and the hosts with an open session."""
        found = await super().status()
        if not found.running:
            return found
        text = await self.sh(f"vtysh --vty_socket {_RUN} -d bgpd -c 'show bgp l2vpn evpn summary json'")
        names = {peer.address: peer.name for peer in self.peers}
        return DriverStatus(running=True, peers=established(json.loads(text or "{}"), names))

    @property
    def needed(self) -> Sequence[str]:
        """See `HostDriver`."""
        return self.processes if self._bfd else [name for name in self.processes if name != "bfdd"]

    @property
    def _bfd(self) -> bool:
        return bool(self.place.options.get("bfd"))

    async def _write(self) -> None:
        place = self.place
        number = host_number(place, place.host)
        router = f"10.255.{number >> 8}.{number & 255}"  # has this form, whatever the underlay's addresses have
        addresses = [peer.address for peer in self.peers]
        text = bgpd_text(place.host, router, f"{place.directory}/log", addresses, bfd=self._bfd)
        await self.put(f"{place.directory}/bgpd.conf", text)


KIND = driven(
    name="bgp_evpn",
    about="EVPN by FRR over a kernel VXLAN: bgpd tells all hosts of MAC addresses, as in data centres",
    make=EvpnDriver,
    programs={"vtysh": "frr"},
    choices={"bfd": (True, False)},
    variants={"tuned": {"bfd": True}},
    numbers={"mtu": (1280, 9000)},
)

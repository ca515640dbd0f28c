"""`overlay.kind: vxlan`: a static kernel VXLAN between the hosts, with the same structure as our overlay.

A bridge `weave` with one VXLAN device per host, a static flood list with every other host, and a veth pair into each
container whose inner end is `ethwe`. There is no daemon and no agreement: addresses are assigned here in order. It is
the baseline for the overlay's data path, so MTU and structure are the same.
"""

import ipaddress
from collections.abc import Iterator, Sequence

from lab.contracts.lab import Lab
from lab.contracts.overlay import OnSubnets, must, together
from lab.host_engine import HostEngine
from lab.kinds.options import OptionFault, Options
from lab.kinds.overlays import OverlayKind, range_among
from lab.scenario.base import show
from lab.scenario.resolve import Replica, Resolved

BRIDGE = "weave"
DEVICE = "vxlan-lab"
VNI = 1
PORT = 6784
MTU = 1398
"""The value that our overlay computes on an underlay of 1500; benchmarks use the same for all candidates."""
DEFAULT_RANGE = ipaddress.ip_network("10.32.0.0/12")
OPTIONS = ("iprange", "mtu")


class VxlanOverlay(OnSubnets):
    """Static VXLAN. Options: `iprange`, `mtu`."""

    kind = "vxlan"
    has_daemons = False
    has_views = False
    has_dns = False

    def __init__(self, lab: Lab, scenario: Resolved) -> None:
        self._lab = lab
        self._scenario = scenario
        self._range = range_among(scenario.options, "iprange") or DEFAULT_RANGE
        self._mtu = int(scenario.options.get("mtu", MTU))
        super().__init__()
        self._next = 1
        self._ports = 0

    async def launch(self, hosts: Sequence[str], options: Options) -> None:
        """Create bridge, VXLAN device and flood list on each host; the list has all hosts, launched or not."""
        await together(self._make(name) for name in hosts)

    async def connect(self, source: str, targets: Sequence[str]) -> None:
        """The flood lists are complete from the start."""

    async def run(self, replica: Replica) -> None:
        """`docker run`, then a veth pair between the bridge and the container."""
        await HostEngine(self._lab.hosts[replica.host]).run(replica)
        if replica.address:
            self._addresses[replica.name] = ipaddress.ip_interface(replica.address)
        else:
            address = self._range[self._next]
            self._next += 1
            self._addresses[replica.name] = ipaddress.ip_interface(f"{address}/{self._range.prefixlen}")
        await self._plug(replica)

    async def remove(self, replica: Replica) -> None:
        """`docker rm -f`; the veth pair goes with the container's namespace."""
        self._addresses.pop(replica.name, None)
        await HostEngine(self._lab.hosts[replica.host]).remove(replica.name)

    async def kill(self, replica: Replica) -> None:
        """`docker kill`."""
        await HostEngine(self._lab.hosts[replica.host]).kill(replica.name)

    async def restart(self, replica: Replica) -> None:
        """`docker start`, and a new veth pair with the old address."""
        await HostEngine(self._lab.hosts[replica.host]).start(replica.name)
        await self._plug(replica)

    async def relaunch(self, host: str) -> bool:
        """After a power cut the host's devices are gone: make them again."""
        await self._make(host)
        return False

    async def stop(self, host: str) -> None:
        """There is no daemon to stop."""

    async def kill_daemon(self, host: str) -> None:
        """There is no daemon to kill."""

    async def resolver(self, host: str) -> str:
        """There is no name server."""
        return ""

    async def log_tail(self, host: str) -> str:
        """There is no daemon."""
        return ""

    async def _make(self, name: str) -> None:
        host, spec = self._lab.hosts[name], self._scenario.hosts[name]
        lines = [
            f"ip link add {BRIDGE} mtu {self._mtu} type bridge",
            f"ip link add {DEVICE} mtu {self._mtu} type vxlan id {VNI} local {spec.address} dstport {PORT}",
            f"ip link set {DEVICE} master {BRIDGE}",
            f"ip link set {DEVICE} up",
            f"ip link set {BRIDGE} up",
        ]
        for other in self._scenario.hosts.values():
            if other.name != name:
                lines.append(f"bridge fdb append 00:00:00:00:00:00 dev {DEVICE} dst {other.address}")
        exists = f"ip link show {DEVICE} >/dev/null 2>&1 && exit 0"
        await must(host, ["sh", "-ec", "\n".join([exists, *lines])])
        for family in ("iptables", "ip6tables"):
            # Docker's policy drops bridged frames if they pass the packet filter.
            calls = await host.exec(["cat", f"/proc/sys/net/bridge/bridge-nf-call-{family}"])
            if calls.out.strip() == "1":
                rule = ["-i", BRIDGE, "-o", BRIDGE, "-j", "ACCEPT"]
                await must(host, [family, "-w", "-I", "FORWARD", *rule])

    async def _plug(self, replica: Replica) -> None:
        host = self._lab.hosts[replica.host]
        pid = (await HostEngine(host).inspect(replica.name))["State"]["Pid"]
        self._ports += 1
        port = f"vethlab{self._ports}"
        inside = f"nsenter -t {pid} -n ip"
        lines = [
            f"ip link add {port} mtu {self._mtu} type veth peer name ethwe mtu {self._mtu} netns {pid}",
            f"ip link set {port} master {BRIDGE}",
            f"ip link set {port} up",
            f"{inside} addr add {self._addresses[replica.name]} dev ethwe",
            f"{inside} link set ethwe up",
        ]
        await must(host, ["sh", "-ec", "\n".join(lines)])


def _faults(options: Options) -> Iterator[OptionFault]:
    for key, value in options.items():
        if key not in OPTIONS:
            yield KIND.unknown(key)
        elif key == "mtu" and (isinstance(value, bool) or not isinstance(value, int) or not 1280 <= value <= 65535):
            yield OptionFault(key, show(value), "a number from 1280 to 65535")
        elif key == "iprange" and range_among({key: value}, "iprange") is None:
            yield OptionFault(key, show(value), "a range as 10.32.0.0/12")


KIND = OverlayKind(
    name="vxlan",
    about="a static kernel VXLAN with the same topology and MTU, for comparison; no names, no daemon",
    make=VxlanOverlay,
    default_range=DEFAULT_RANGE,
    options=lambda: OPTIONS,
    faults=_faults,
    range_of=lambda options: range_among(options, "iprange"),
    variants={"tuned": {"mtu": 1450}},
)

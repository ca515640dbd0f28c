"""Shared code of drivers in Python: commands and programs on their host, a bridge with containers' ports, routes.

Owns nothing specific to one overlay. Device names have 15 characters at most, so they are derived from digests.
"""

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, ip_address, ip_interface
from typing import ClassVar

from lab.contracts.driver import DriverFault, DriverPeer, DriverPlace, DriverPlug, DriverStatus
from lab.contracts.lab import Host
from lab.contracts.overlay import must
from lab.errors import LabError

__all__ = [
    "HOSTS",
    "INSIDE",
    "BridgeDriver",
    "HostDriver",
    "RouteDriver",
    "around",
    "host_number",
    "own_address",
    "port_name",
]

INSIDE = "ethwe"
"""The overlay's interface in a container, with the same name as our overlay's."""

HOSTS = IPv4Network("100.64.0.0/16")
"""The range of hosts' own addresses in overlays that cannot take them from the containers' range: shared address space
of RFC 6598."""
_ROUTES = 77
"""The protocol number of the kit's routes, to tell them from others."""


def host_number(place: DriverPlace, host: str) -> int:
    """A host's number among all hosts of the lab, from 1; the same on each of them."""
    return list(place.hosts).index(host) + 1


def around(address: str) -> str:
    """An address as written before a port: IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address


def own_address(place: DriverPlace, host: str, network: IPv4Network) -> str:
    """The address of a host in a network that only hosts have. Raises `DriverFault`."""
    number = host_number(place, host)
    if number >= network.num_addresses - 1:
        raise DriverFault(f"{host}: {network} has no address for host number {number}; expected fewer hosts")
    if network.overlaps(IPv4Network(place.subnet)) or any(ip_address(one) in network for one in place.hosts.values()):
        raise DriverFault(
            f"{host}: this overlay gives its hosts addresses of {network}, which overlaps with the range of containers "
            "or with the underlay: choose others for these"
        )
    return str(network[number])


def port_name(container: str) -> str:
    """Name of the host's end of a container's cable."""
    return f"vl{hashlib.blake2b(container.encode(), digest_size=5).hexdigest()}"


def mac_of(address: str) -> str:
    """The MAC of a container's interface: derived from its address, as in Docker, so that it survives a restart."""
    packed = ip_interface(address).ip.packed
    if len(packed) > 4:
        packed = hashlib.blake2b(packed, digest_size=4).digest()
    return bytes((0x02, 0x42, *packed)).hex(":")


class HostDriver:
    """One host's driver in Python: a subclass defines how its overlay starts, stops, and learns of peers."""

    processes: ClassVar[Sequence[str]] = ()
    """Names of the overlay's programs, for `kill`, `stop` and `status`."""
    mtu: ClassVar[int] = 1500
    """MTU of containers' interfaces if there is no option `mtu`, chosen so that packets fit into the underlay's."""

    def __init__(self, host: Host, place: DriverPlace) -> None:
        self.host = host
        self.place = place
        self.peers: Sequence[DriverPeer] = ()
        """The peers of the last `connect`."""

    async def sh(self, script: str, *, timeout: float = 60.0) -> str:
        """The output of a shell script on the host; raises `CommandFailed` when a line fails."""
        return await must(self.host, ["sh", "-ec", script], timeout=timeout)

    async def put(self, path: str, text: str, *, mode: int = 0o600) -> None:
        """Write a file on the host; creates its folders."""
        quoted = shlex.quote(path)
        await self.sh(
            f'mkdir -p "$(dirname {quoted})"\n(umask 077; printf %s {shlex.quote(text)} > {quoted})\n'
            f"chmod {mode:o} {quoted}"
        )

    async def make_tun(self) -> None:
        """Create the device file of TUN and TAP, for hosts that have their own /dev."""
        await self.sh("[ -c /dev/net/tun ] || { mkdir -p /dev/net && mknod /dev/net/tun c 10 200; }")

    async def start(self, command: str, *, device: str = "", shows: str = "") -> None:
        """Start a program in the background with its output in `log`; wait for its device if it creates one.

        `shows`: text that `ip addr` must show of the device, for programs that configure it after creating it. If the
        program ends before that, the error is the end of its log.
        """
        log = shlex.quote(f"{self.place.directory}/log")
        there = (
            f"ip addr show {device} 2>/dev/null | grep -q {shlex.quote(shows or device)} && exit 0"
            if device
            else "[ $i -gt 4 ] && exit 0"
        )
        await self.sh(
            f"mkdir -p {shlex.quote(self.place.directory)}\n{command} >>{log} 2>&1 </dev/null &\npid=$!\n"
            f"for i in $(seq 400); do\n  {there}\n  kill -0 $pid 2>/dev/null || break\n  sleep 0.05\ndone\n"
            f"tail -n 3 {log} >&2; exit 1"
        )

    def number(self, option: str, default: int) -> int:
        """The value of an integer option."""
        return int(self.place.options.get(option, default))

    @property
    def needed(self) -> Sequence[str]:
        """Which of `processes` must run on this host."""
        return self.processes

    @property
    def payload(self) -> int:
        """The MTU of containers' interfaces here."""
        return self.number("mtu", self.mtu)

    async def connect(self, peers: Sequence[DriverPeer]) -> None:
        """Remember the peers."""
        self.peers = peers

    async def stop(self) -> None:
        """SIGTERM, then wait until all have ended; SIGKILL after 5 s."""
        await self._end("TERM")

    async def kill(self) -> None:
        """SIGKILL."""
        await self._end("KILL")

    async def status(self) -> DriverStatus:
        """Whether a process of each needed name runs."""
        running = True
        for name in self.needed:
            found = await self.host.exec(["sh", "-c", _pids(name)])
            running = running and bool(found.out.strip())
        return DriverStatus(running=running)

    async def logs(self) -> str:
        """The end of the program's log file `log` in the driver's folder."""
        folder = shlex.quote(self.place.directory)
        return (await self.host.exec(["sh", "-c", f"tail -n 20 {folder}/log 2>/dev/null"])).out

    async def close(self) -> None:
        """There are no resources outside the host."""

    async def end(self, name: str, signal: str) -> None:
        """Send a signal to the processes of a program, then wait until all have ended; SIGKILL after 5 s."""
        await self.sh(
            f'for i in $(seq 100); do\n  pids=$({_pids(name)})\n  [ -n "$pids" ] || exit 0\n'
            f"  [ $i -gt 50 ] && kill -KILL $pids || [ $i -gt 1 ] || kill -{signal} $pids || true\n"
            "  sleep 0.1\ndone\nexit 1",
            timeout=30.0,
        )

    async def signal(self, name: str, signal: str) -> None:
        """Send a signal to the processes of a program, if there are any."""
        await self.sh(f'pids=$({_pids(name)}); [ -z "$pids" ] || kill -{signal} $pids')

    async def _end(self, signal: str) -> None:
        if not self.processes:
            raise LabError(f"{self.place.host}: no process of this overlay runs that could be ended")
        for name in self.processes:
            await self.end(name, signal)


class CableDriver(HostDriver):
    """One host's driver that gives each container a veth pair."""

    async def detach(self, what: DriverPlug) -> None:
        """Delete the cable; its routes go with it."""
        await self.sh(f"ip link delete {port_name(what.container)} 2>/dev/null || true")


class BridgeDriver(CableDriver):
    """An overlay of Ethernet frames: containers and the overlay's own device are ports of a bridge."""

    bridge: ClassVar[str] = "overlay0"

    async def make_bridge(self) -> None:
        """Create the bridge, and allow its frames where Docker's policy would drop them; idempotent."""
        await self.sh(
            f"ip link show {self.bridge} >/dev/null 2>&1 || ip link add {self.bridge} mtu {self.payload} type bridge\n"
            f"ip link set {self.bridge} up\n"
            "for family in iptables ip6tables; do\n"
            '  [ "$(cat /proc/sys/net/bridge/bridge-nf-call-$family 2>/dev/null)" = 1 ] || continue\n'
            f"  $family -w -C FORWARD -i {self.bridge} -o {self.bridge} -j ACCEPT 2>/dev/null ||\n"
            f"    $family -w -I FORWARD -i {self.bridge} -o {self.bridge} -j ACCEPT\n"
            "done"
        )

    async def attach(self, what: DriverPlug) -> str:
        """Create a veth pair between the bridge and the container."""
        port = port_name(what.container)
        await self.sh(
            f"ip link delete {port} 2>/dev/null || true\n"
            f"ip link add {port} mtu {self.payload} type veth "
            f"peer name {INSIDE} mtu {self.payload} address {mac_of(what.address)} netns {what.pid}\n"
            f"ip link set {port} master {self.bridge} up\n"
            f"nsenter -t {what.pid} -n ip addr add {what.address} dev {INSIDE}\n"
            f"nsenter -t {what.pid} -n ip link set {INSIDE} up"
        )
        return what.address


class RouteDriver(CableDriver):
    """An overlay of IP packets: containers have addresses of the host's prefix, and the host forwards for them."""

    async def open_forwarding(self, *more: str) -> None:
        """Allow forwarding for containers, where Docker's policy would drop it; also for devices of `more`, in overlays
        whose hosts forward from one peer to another."""
        devices = " ".join(("vl+", *more))
        await self.sh(
            "sysctl -qw net.ipv4.ip_forward=1\nsysctl -qw net.ipv6.conf.all.forwarding=1 || true\n"
            f"for family in iptables ip6tables; do\n  for device in {devices}; do\n    for way in -i -o; do\n"
            "      $family -w -C FORWARD $way $device -j ACCEPT 2>/dev/null ||\n"
            "        $family -w -I FORWARD $way $device -j ACCEPT || true\n"
            "    done\n  done\ndone"
        )

    async def route(self, device: str, ways: Mapping[str, str]) -> None:
        """Route exactly these prefixes over the overlay's device, each by its gateway; empty: directly.

        Does nothing without the device, because `launch` sets the routes again.
        """
        family = "-6" if ":" in self.place.subnet else "-4"
        keep = " ".join(ways)
        lines = [f"ip link show {device} >/dev/null 2>&1 || exit 0"]
        lines += [
            f"ip {family} route replace {prefix}{f' via {gateway}' if gateway else ''} dev {device} proto {_ROUTES}"
            for prefix, gateway in ways.items()
        ]
        await self.sh(
            "\n".join(lines)
            + f"\nip {family} route show dev {device} proto {_ROUTES} | while read -r prefix rest; do\n"
            f'  case " {keep} " in *" $prefix "*) ;; *) ip {family} route del "$prefix" dev {device};; esac\ndone'
        )

    def via(self) -> str:
        """The destinations that containers reach by their interface: the overlay's range."""
        return self.place.subnet

    async def attach(self, what: DriverPlug) -> str:
        """Create a veth pair; the container's gateway is an address that exists only on this cable."""
        port, address = port_name(what.container), ip_interface(what.address)
        six = address.version == 6
        family, gateway, full = ("-6", "fe80::1", 128) if six else ("-4", "169.254.1.1", 32)
        inside = f"nsenter -t {what.pid} -n ip"
        # Docker disables IPv6 in containers unless its own networks have it.
        allow = f"nsenter -t {what.pid} -n sysctl -qw net.ipv6.conf.{INSIDE}.disable_ipv6=0\n" if six else ""
        await self.sh(
            f"ip link delete {port} 2>/dev/null || true\n"
            f"ip link add {port} mtu {self.payload} type veth peer name {INSIDE} mtu {self.payload} netns {what.pid}\n"
            f"ip {family} addr add {gateway}/{64 if six else 32} dev {port}{' nodad' if six else ''}\n"
            f"ip link set {port} up\n{allow}"
            f"{inside} {family} addr add {address.ip}/{full} dev {INSIDE}{' nodad' if six else ''}\n"
            f"{inside} link set {INSIDE} up\n"
            f"{inside} {family} route add {gateway} dev {INSIDE} 2>/dev/null || true\n"
            f"{inside} {family} route add {self.via()} via {gateway} dev {INSIDE} src {address.ip}\n"
            f"ip {family} route replace {address.ip}/{full} dev {port}"
        )
        return what.address


def _pids(name: str) -> str:
    """A shell command that prints the pids of the host's processes of this name; a host's /proc shows only its own."""
    return (
        "for stat in /proc/[0-9]*/stat; do read -r pid comm state rest < $stat 2>/dev/null || continue; "
        f'[ "$comm" = "({name[:15]})" ] && [ "$state" != Z ] && echo $pid; done; true'
    )

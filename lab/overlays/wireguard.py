"""`overlay.kind: wireguard`: WireGuard between all hosts, with a part of the range behind each peer.

The kernel's own device where the kernel has one, else `wireguard-go` (Debian's 0.0.20220316): `options: {device:
wireguard-go}` takes this program everywhere. Set up as its manual says: a static full mesh, `allowed-ips` are the
peer's prefix, UDP port 51820, an MTU of 1420 as `wg-quick` takes it, no keepalives. Tuned for a fast return of links:
`options: {keepalive: 1}`, so that a peer notices a dead session without packets of containers.
"""

import shlex
from collections.abc import Sequence
from typing import ClassVar

from lab.contracts.driver import DriverFault, DriverHello, DriverPeer, DriverPlace, DriverStatus
from lab.contracts.lab import Host
from lab.driven.kind import driven
from lab.driven.kit import RouteDriver, around
from lab.errors import LabError

DEVICE = "wg0"
PORT = 51820
_PROGRAM = "wireguard-go"
_FRESH = 180
"""Seconds for which WireGuard uses the keys of a handshake: older ones say nothing of a peer (`REJECT_AFTER_TIME`)."""


def config(private: str, peers: Sequence[DriverPeer], keepalive: int) -> str:
    """What `wg syncconf` reads."""
    text = f"[Interface]\nPrivateKey = {private}\nListenPort = {PORT}\n"
    for peer in peers:
        text += (
            f"\n[Peer]\nPublicKey = {peer.card}\nAllowedIPs = {peer.prefix}\nEndpoint = {around(peer.address)}:{PORT}\n"
        )
        text += f"PersistentKeepalive = {keepalive}\n" if keepalive else ""
    return text


def fresh(handshakes: str, peers: Sequence[DriverPeer], now: int) -> tuple[str, ...]:
    """Who has a session, of what `wg show latest-handshakes` prints: a key and the second of its last handshake."""
    names = {peer.card: peer.name for peer in peers}
    pairs = (line.split() for line in handshakes.splitlines())
    return tuple(names[key] for key, second in pairs if key in names and now - int(second) < _FRESH)


class WireGuardDriver(RouteDriver):
    """One device on one host."""

    mtu: ClassVar[int] = 1420

    def __init__(self, host: Host, place: DriverPlace) -> None:
        super().__init__(host, place)
        self._in_kernel = False

    async def hello(self) -> DriverHello:
        """Makes the key at the first time, and looks for the kernel's device."""
        asked = self.place.options.get("device", "auto")
        probe = "ip link add wgprobe type wireguard 2>/dev/null && ip link delete wgprobe && uname -r || true"
        kernel = (await self.sh(probe)).strip() if asked != _PROGRAM else ""
        self._in_kernel = bool(kernel)
        if asked == "kernel" and not kernel:
            raise DriverFault(f"{self.place.host}: the kernel has no WireGuard; expected `device: auto` or {_PROGRAM}")
        version = f"Linux {kernel}"
        if not kernel:
            said = await self.sh(f"command -v {_PROGRAM} >/dev/null && {_PROGRAM} --version | head -n 1 || true")
            if not said:
                raise DriverFault(
                    f"{self.place.host}: neither the kernel has WireGuard nor is there {_PROGRAM}: "
                    f"apt install {_PROGRAM}"
                )
            version = said.strip()
        folder, key = shlex.quote(self.place.directory), shlex.quote(self._key)
        card = await self.sh(f"mkdir -p {folder}; [ -s {key} ] || (umask 077; wg genkey > {key})\nwg pubkey < {key}")
        return DriverHello(
            name="wireguard", version=version, addresses="prefix", daemon=not self._in_kernel, card=card.strip()
        )

    async def launch(self) -> None:
        """The device, with the peers that it had before."""
        there = bool((await self.host.exec(["ip", "link", "show", DEVICE])).out)
        if not there and self._in_kernel:
            await self.sh(f"ip link add {DEVICE} type wireguard")
        elif not there:
            await self.make_tun()
            await self.start(f"{_PROGRAM} -f {DEVICE}", device=DEVICE)
        await self.open_forwarding()
        await self.sh(f"ip link set {DEVICE} mtu {self.payload} up")
        await self.connect(self.peers)

    async def connect(self, peers: Sequence[DriverPeer]) -> None:
        """Keys, endpoints and routes; sessions with peers that stay go on."""
        self.peers = peers
        private = (await self.sh(f"cat {shlex.quote(self._key)}")).strip()
        path = f"{self.place.directory}/{DEVICE}.conf"
        await self.put(path, config(private, peers, self.number("keepalive", 0)))
        # The program's socket comes a moment after its device.
        await self.sh(
            f"ip link show {DEVICE} >/dev/null 2>&1 || exit 0\n"
            f"for i in $(seq 100); do wg show {DEVICE} >/dev/null 2>&1 && break; sleep 0.05; done\n"
            f"wg syncconf {DEVICE} {shlex.quote(path)}"
        )
        await self.route(DEVICE, {peer.prefix: "" for peer in peers})

    async def status(self) -> DriverStatus:
        """With the peers whose handshake is not too old."""
        running = not (await self.host.exec(["ip", "link", "show", DEVICE])).code
        if not running:
            return DriverStatus(running=False)
        now, _, shown = (await self.sh(f"date +%s; wg show {DEVICE} latest-handshakes")).partition("\n")
        return DriverStatus(running=True, peers=fresh(shown, self.peers, int(now)))

    async def stop(self) -> None:
        """The device is deleted, which `wireguard-go` does when it ends."""
        await self.end(_PROGRAM, "TERM")
        await self.sh(f"ip link delete {DEVICE} 2>/dev/null || true")

    async def kill(self) -> None:
        """`wireguard-go`; the kernel's device has no process."""
        if self._in_kernel:
            raise LabError(f"{self.place.host}: WireGuard is the kernel's here: no process runs that could be killed")
        await self.end(_PROGRAM, "KILL")

    @property
    def _key(self) -> str:
        return f"{self.place.directory}/private.key"


KIND = driven(
    name="wireguard",
    about="WireGuard, of the kernel or `wireguard-go`: a static full mesh, encrypted, a prefix for each host",
    make=WireGuardDriver,
    programs={"wg": "wireguard-tools", _PROGRAM: _PROGRAM},
    numbers={"mtu": (576, 65535), "keepalive": (0, 65535)},
    choices={"device": ("auto", "kernel", _PROGRAM)},
    variants={"tuned": {"keepalive": 1}, "go": {"device": _PROGRAM}},
)

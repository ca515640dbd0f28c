"""The WireGuard interface of the encrypted fast path: the kernel's, or the program `wireguard-go`.

Owns the interface, its key pair (a new one at each start of the daemon) and its peers; `bridge.add_secure` creates the
VXLAN device on top of it. Decides nothing: peers come as an effect. An earlier daemon's interface is created again,
because its keys are lost. Without WireGuard, encrypted traffic takes the userspace tunnel.
"""

import errno
import logging
import os
import shutil
import socket
import subprocess
import time
from base64 import b64encode
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Protocol

from overlay.config import PeerName
from overlay.crypto.pake import RealCrypto
from overlay.crypto.secure_peer import KEY_SIZE, WIREGUARD_DEVICE, WIREGUARD_PORT, SecurePeer, tunnel_address
from overlay.datapath.vxlan import Path as Overhead
from overlay.effects import SetSecurePeers
from overlay.errors import EnvironmentProblem
from overlay.kernel import bridge, rtnl
from overlay.kernel.bridge import BridgeDevices
from overlay.kernel.netlink import GENERIC, Netlink, NetlinkError, NetlinkRequest
from overlay.options import WIREGUARD_PROGRAM as PROGRAM

__all__ = ["WireGuard", "open_wireguard"]

log = logging.getLogger(__name__)

_SET_DEVICE = 1
_REPLACE_PEERS = 1
_REMOVE, _REPLACE_ALLOWED = 1, 2
_PREFIX = 128
_SOCKETS = Path("/var/run/wireguard")
_PATIENCE = 5.0
"""Seconds for the program to start, to end, and to answer."""


class _Interface(Protocol):
    """The control interface of a WireGuard device. All methods raise `OSError`."""

    def set_key(self, private: bytes, port: int) -> None: ...

    def add(self, peer: SecurePeer) -> None: ...

    def remove(self, key: bytes) -> None: ...


class _Kernel:
    """By generic netlink (`include/uapi/linux/wireguard.h`)."""

    def __init__(self) -> None:
        from pyroute2.netlink.generic.wireguard import wgmsg  # imported late: it costs some megabytes

        self._message: Any = wgmsg
        self._netlink = Netlink(GENERIC)
        try:
            self._family = self._netlink.family("wireguard")
        except OSError:
            self._netlink.close()
            raise

    def set_key(self, private: bytes, port: int) -> None:
        self._run(
            ("WGDEVICE_A_PRIVATE_KEY", b64encode(private)),
            ("WGDEVICE_A_FLAGS", _REPLACE_PEERS),
            ("WGDEVICE_A_LISTEN_PORT", port),
        )

    def add(self, peer: SecurePeer) -> None:
        allowed = [
            ("WGALLOWEDIP_A_FAMILY", socket.AF_INET6),
            ("WGALLOWEDIP_A_IPADDR", ip_address(peer.address).packed),
            ("WGALLOWEDIP_A_CIDR_MASK", _PREFIX),
        ]
        self._peer(
            peer.key,
            ("WGPEER_A_FLAGS", _REPLACE_ALLOWED),
            ("WGPEER_A_ENDPOINT", {"addr": peer.endpoint.host, "port": peer.endpoint.port}),
            ("WGPEER_A_ALLOWEDIPS", [{"attrs": allowed}]),
        )

    def remove(self, key: bytes) -> None:
        self._peer(key, ("WGPEER_A_FLAGS", _REMOVE))

    def _peer(self, key: bytes, *attributes: tuple[str, Any]) -> None:
        self._run(("WGDEVICE_A_PEERS", [{"attrs": [("WGPEER_A_PUBLIC_KEY", b64encode(key)), *attributes]}]))

    def _run(self, *attributes: tuple[str, Any]) -> None:
        message = self._message()
        message["cmd"], message["version"] = _SET_DEVICE, 1
        message["attrs"] = [("WGDEVICE_A_IFNAME", WIREGUARD_DEVICE), *attributes]
        self._netlink.one(NetlinkRequest(self._family, message, what=f"set up {WIREGUARD_DEVICE}"))


class _Program:
    """By the program's socket (the "cross-platform userspace interface" of wireguard.com/xplatform)."""

    def set_key(self, private: bytes, port: int) -> None:
        self._run(f"private_key={private.hex()}", f"listen_port={port}", "replace_peers=true")

    def add(self, peer: SecurePeer) -> None:
        self._run(
            f"public_key={peer.key.hex()}",
            f"endpoint={peer.endpoint}",
            "replace_allowed_ips=true",
            f"allowed_ip={peer.address}/{_PREFIX}",
        )

    def remove(self, key: bytes) -> None:
        self._run(f"public_key={key.hex()}", "remove=true")

    def _run(self, *lines: str) -> None:
        with _connect() as sock:
            sock.sendall("\n".join(("set=1", *lines, "", "")).encode())
            answer = b""
            while b"\n\n" not in answer and (more := sock.recv(4096)):
                answer += more
        code = abs(int(answer.decode().strip().partition("errno=")[2] or errno.EPROTO))
        if code:
            raise OSError(code, f"{os.strerror(code)} ({PROGRAM})")


def _connect() -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    sock.settimeout(_PATIENCE)
    try:
        sock.connect(str(_SOCKETS / f"{WIREGUARD_DEVICE}.sock"))
    except OSError:
        sock.close()
        raise
    return sock


class WireGuard:
    """The WireGuard interface of this daemon. `public` is sent to neighbours."""

    def __init__(self, interface: _Interface, kind: str) -> None:
        self._interface = interface
        self.kind = kind
        """"kernel", or the program's name."""
        private = os.urandom(KEY_SIZE)
        self.public = RealCrypto(os.urandom).public(private)
        interface.set_key(private, WIREGUARD_PORT)
        self._peers: dict[bytes, SecurePeer] = {}

    @property
    def peers(self) -> int:
        """The number of peers."""
        return len(self._peers)

    def set_peers(self, effect: SetSecurePeers) -> None:
        """Carry out `effects.SetSecurePeers`. A remaining peer keeps the endpoint from which it was last heard."""
        wanted = {peer.key: peer for peer in effect.peers}
        try:
            for key in [key for key, peer in self._peers.items() if wanted.get(key) != peer]:
                del self._peers[key]
                self._interface.remove(key)
            for key, peer in wanted.items():
                if key not in self._peers:
                    self._interface.add(peer)
                    self._peers[key] = peer
        except OSError as error:
            # Probes detect that the path does not work, and traffic takes the tunnel.
            log.error("WireGuard: %s", error)


def open_wireguard(
    mode: str, netlink: Netlink, devices: BridgeDevices, own: PeerName
) -> tuple[WireGuard, BridgeDevices]:
    """Create the interface and the VXLAN device on it, and replace those of an earlier daemon.

    Raises `EnvironmentProblem` if WireGuard of that mode is not available; nothing is left then.
    """
    try:
        interface: _Interface
        if mode == PROGRAM:
            _start_program()
            interface = _Program()
        else:
            info = rtnl.nested(IFLA_INFO_KIND="wireguard")
            netlink.one(rtnl.create_link(WIREGUARD_DEVICE, ("IFLA_LINKINFO", info), what="make wireguard"))
            interface = _Kernel()
        made = WireGuard(interface, PROGRAM if mode == PROGRAM else "kernel")
        lower, address = netlink.index(WIREGUARD_DEVICE), tunnel_address(own)
        bridge.allow_ipv6(WIREGUARD_DEVICE)
        netlink.run(
            (
                rtnl.change_link(lower, ("IFLA_MTU", devices.mtu + Overhead.VXLAN_IPV6.value), what="mtu of wireguard"),
                rtnl.change_link(lower, up=True, what=f"wireguard up on UDP port {WIREGUARD_PORT}"),
                rtnl.new_address(lower, f"{address}/64"),
            )
        )
        return made, bridge.add_secure(netlink, devices, lower, address)
    except (OSError, EnvironmentProblem) as error:
        bridge.remove_secure(netlink)
        if isinstance(error, NetlinkError) and error.errno in (errno.EOPNOTSUPP, errno.ENOENT):
            raise EnvironmentProblem(
                f"this kernel has no WireGuard: `modprobe wireguard`, or --wireguard {PROGRAM}"
            ) from None
        raise EnvironmentProblem(f"no WireGuard: {error}") from None


def _start_program() -> None:
    """Start the program. It goes to the background by itself, and ends when its interface is deleted.

    Blocks, which is safe because the rest of the daemon does not run yet.
    """
    if shutil.which(PROGRAM) is None:
        raise EnvironmentProblem(f"no {PROGRAM} on this host: install it (Debian: apt-get install {PROGRAM})")
    deadline = time.monotonic() + _PATIENCE
    while _answers():  # an earlier daemon's program is about to notice that its interface is gone
        if time.monotonic() > deadline:
            raise EnvironmentProblem(f"another {PROGRAM} answers for {WIREGUARD_DEVICE}, without an interface: end it")
        time.sleep(0.02)
    environment = {name: value for name, value in os.environ.items() if name != "LOG_LEVEL"}
    try:
        done = subprocess.run(
            [PROGRAM, WIREGUARD_DEVICE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EnvironmentProblem(f"{PROGRAM} did not start within {_PATIENCE:g} s") from None
    if done.returncode:
        words = " ".join(done.stderr.decode(errors="replace").split())
        raise EnvironmentProblem(f"{PROGRAM}: {words[-300:] or done.returncode}")


def _answers() -> bool:
    try:
        _connect().close()
    except OSError:
        return False
    return True

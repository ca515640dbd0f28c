"""The kernel VXLAN data path as data: devices, numbers, MTU, MACs. Changes nothing; the driver applies it.

Owns the names and sizes that all hosts of an overlay must agree on. Must not know netlink, namespaces or peers.
"""

import re
from enum import Enum
from hashlib import blake2b

from msgspec import Struct

from overlay.config import Config, PeerName
from overlay.errors import ConfigError

BRIDGE = "weave"
VXLAN_PORT = 6784
"""UDP port of the kernel's VXLAN ("fastdp"); not the assigned 4789, to avoid conflicts with other overlays."""
VXLAN_DEVICE = f"vxlan-{VXLAN_PORT}"
VXLAN6_DEVICE = f"vxlan6-{VXLAN_PORT}"
"""The same to hosts with an IPv6 address, because a device uses one IP version on the underlay."""
VNI = VXLAN_PORT
CONTAINER_DEVICE = "ethwe"
TUNNEL_PORT = "vethwesleeve"
"""The userspace tunnel's port on the bridge."""
TUNNEL_DEVICE = "weavesleeve"
"""The other end of that port, from which the daemon reads."""

IPV4_HEADER = 20
IPV6_HEADER = 40
UDP_HEADER = 8
VXLAN_HEADER = 8
INNER_ETHERNET = 14
TUNNEL_HEADER = 24
"""Reserved for the userspace tunnel's own header: two six-byte peer names, eight bytes of sequence, four of flags."""
TUNNEL_TAG = 16
"""Authentication tag of an encrypted tunnel packet (AES-GCM or ChaCha20-Poly1305, RFC 5116)."""

WIREGUARD_HEADER = 16
"""Header of a WireGuard data message: type, receiver, counter; its tag comes at the end."""

_MAC = re.compile("[0-9a-f]{2}(:[0-9a-f]{2}){5}")

MIN_MTU = 1280
"""The minimum link MTU of IPv6 (RFC 8200, 5): an overlay with less could not carry IPv6."""
MAX_MTU = 65535


class Path(Enum):
    """A kind of path between two peers; the value is its overhead on an inner IP packet, in bytes."""

    VXLAN_IPV4 = IPV4_HEADER + UDP_HEADER + VXLAN_HEADER + INNER_ETHERNET
    VXLAN_IPV6 = IPV6_HEADER + UDP_HEADER + VXLAN_HEADER + INNER_ETHERNET
    TUNNEL_IPV4 = IPV4_HEADER + UDP_HEADER + TUNNEL_HEADER + TUNNEL_TAG + INNER_ETHERNET
    TUNNEL_IPV6 = IPV6_HEADER + UDP_HEADER + TUNNEL_HEADER + TUNNEL_TAG + INNER_ETHERNET
    WIREGUARD_IPV4 = IPV4_HEADER + UDP_HEADER + WIREGUARD_HEADER + TUNNEL_TAG + VXLAN_IPV6
    WIREGUARD_IPV6 = IPV6_HEADER + UDP_HEADER + WIREGUARD_HEADER + TUNNEL_TAG + VXLAN_IPV6


CLEAR_PATHS = (Path.VXLAN_IPV4, Path.VXLAN_IPV6, Path.TUNNEL_IPV4, Path.TUNNEL_IPV6)
ALL_PATHS = tuple(Path)
"""Used with a password on every peer, even if its kernel has no WireGuard, because all must have the same MTU."""


class VxlanPlan(Struct, frozen=True):
    """The data path of a host."""

    bridge: str
    device: str
    vni: int
    port: int
    mtu: int
    """MTU of the bridge, of the VXLAN device and of both ends of each veth."""
    bridge_mac: str
    open: bool
    """Whether plain VXLAN is used at all: with a password only if there are trusted subnets."""


def overlay_mtu(underlay: int, paths: tuple[Path, ...] = CLEAR_PATHS) -> int:
    """The largest inner IP packet that every one of `paths` carries over links of MTU `underlay`, in bytes.

    All peers must compute the same number whatever path each pair uses, so the costliest path decides: an encrypted
    tunnel over IPv6 adds 40 + 8 + 24 + 16 + 14 = 102, which leaves 1,398 on Ethernet. (VXLAN adds 50 or 70.) Of
    `ALL_PATHS` it is VXLAN within WireGuard over IPv6: 80 + 70 = 150, which leaves 1,350.
    """
    mtu = min(underlay - max(path.value for path in paths), MAX_MTU)
    if mtu < MIN_MTU:
        raise ConfigError(
            f"an underlay MTU of {underlay} leaves {mtu} bytes for the overlay, expected at least {MIN_MTU}: "
            "raise the underlay's MTU or set one with --mtu"
        )
    return mtu


def vxlan_plan(config: Config, underlay: int) -> VxlanPlan:
    """The data path of a host whose smallest underlay MTU is `underlay`; a configured MTU takes precedence."""
    mtu = mtu_of(config, underlay)
    clear = not config.password or bool(config.trusted_subnets)
    return VxlanPlan(BRIDGE, VXLAN_DEVICE, VNI, VXLAN_PORT, mtu, bridge_mac(config.name), clear)


def mtu_of(config: Config, underlay: int) -> int:
    """The overlay's MTU: the configured one, or `underlay` minus the overhead of the costliest path."""
    if config.mtu:
        return config.mtu
    clear = overlay_mtu(underlay)
    # On a narrow underlay WireGuard is not used, because its full-size probes get no reply there.
    return max(MIN_MTU, min(clear, underlay - max(path.value for path in ALL_PATHS))) if config.password else clear


def bridge_mac(peer: PeerName) -> str:
    """The MAC of a peer's bridge: its name, if that is a unicast MAC.

    So while the bridge exists, its MAC preserves the peer's name even if the disk is lost.
    """
    unicast = _MAC.fullmatch(peer) is not None and not int(peer[:2], 16) & 1
    return peer if unicast else stable_mac(peer, BRIDGE)


def stable_mac(peer: PeerName, container: str) -> str:
    """The MAC of `container` on the host of `peer`: the same after every restart, unicast, locally administered.

    46 bits of a hash: among 100,000 containers the chance of a collision is 1 in 14,000, and a collision is
    quarantined.
    """
    octets = bytearray(blake2b(f"{peer} {container}".encode(), digest_size=6).digest())
    octets[0] = octets[0] & 0xFC | 0x02
    return octets.hex(":")


def veth_names(container: str) -> tuple[str, str]:
    """The names of the bridge's end, and of the container's end while it is still on the host: 15 characters each."""
    tail = blake2b(container.encode(), digest_size=4).hexdigest()
    return f"vethwel{tail}", f"vethweg{tail}"

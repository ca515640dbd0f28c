"""The encrypted fast path as data: VXLAN within WireGuard. Names, numbers, and each peer's address within the tunnel.

Owns what both sides must agree on and what one must know about the other (`docs/wire.md`, "WireGuard"). Must not know
netlink, the mathematics of keys, or connections. Addresses are link-local IPv6: they are derived from the peers' names,
need no assignment, and exist on no other interface. They bind the VXLAN device to the WireGuard interface, so that it
accepts no packet that arrived another way.
"""

from hashlib import blake2b
from typing import Final

from msgspec import Struct

from overlay.config import Address, PeerName

WIREGUARD_DEVICE: Final = "weave-wg"
WIREGUARD_PORT: Final = 6785
"""UDP port of WireGuard on the underlay."""
SECURE_DEVICE: Final = "vxlan-wg"
"""The VXLAN device whose packets go through WireGuard; it is another port of the bridge."""
SECURE_PORT: Final = 6786
"""Its UDP port within WireGuard; not plain VXLAN's port, which listens on all IPv6 addresses and is filtered."""
SECURE_VNI: Final = 6785
"""Not plain VXLAN's number, so that a packet of one is never taken for one of the other."""
KEY_SIZE: Final = 32
_PREFIX: Final = "fe80::"


class SecurePeer(Struct, frozen=True):
    """The other end of a WireGuard tunnel."""

    address: str
    """Within the tunnel: the destination of VXLAN packets, and the only accepted source."""
    key: bytes
    """The public key of this incarnation."""
    endpoint: Address
    """The underlay address of its WireGuard."""


def tunnel_address(peer: PeerName) -> str:
    """The address of `peer` within the tunnel: `fe80::` and 64 bits of BLAKE2b of its name."""
    tail = blake2b(peer.encode(), digest_size=8).hexdigest()
    return _PREFIX + ":".join(tail[start : start + 4] for start in range(0, 16, 4))


def in_tunnel(host: str) -> bool:
    """Whether `host` is an address within the tunnel. (A link-local address of the underlay names its interface.)"""
    return host.startswith(_PREFIX) and "%" not in host

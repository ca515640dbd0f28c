"""The encrypted fast path as data: VXLAN within WireGuard. Names, numbers, and each peer's address within the tunnel.

Owns what both sides must agree on and what one has to know of the other (`docs/wire.md`, "WireGuard"). Must not know
netlink, keys' mathematics or who is connected. Addresses are link-local IPv6: they come from the peers' names, need
nobody's plan, are on no other interface, and bind the VXLAN device to the WireGuard interface, so that it takes no
packet that came by another way.
"""

from hashlib import blake2b
from typing import Final

from msgspec import Struct

from overlay.config import Address, PeerName

WIREGUARD_DEVICE: Final = "weave-wg"
WIREGUARD_PORT: Final = 6785
"""UDP port of WireGuard on the underlay."""
SECURE_DEVICE: Final = "vxlan-wg"
"""The VXLAN device whose packets go through it, one more port of the bridge."""
SECURE_PORT: Final = 6786
"""Its UDP port within WireGuard: another one than plain VXLAN's, which listens on all of IPv6 and is filtered."""
SECURE_VNI: Final = 6785
"""Another number than plain VXLAN's: no packet of one is ever taken for one of the other."""
KEY_SIZE: Final = 32
_PREFIX: Final = "fe80::"


class SecurePeer(Struct, frozen=True):
    """The other end of a WireGuard tunnel."""

    address: str
    """Within the tunnel: where VXLAN sends to, and the only source that is taken from it."""
    key: bytes
    """Its public key, of this incarnation."""
    endpoint: Address
    """Where its WireGuard listens on the underlay."""


def tunnel_address(peer: PeerName) -> str:
    """The address of `peer` within the tunnel: `fe80::` and 64 bits of BLAKE2b of its name."""
    tail = blake2b(peer.encode(), digest_size=8).hexdigest()
    return _PREFIX + ":".join(tail[start : start + 4] for start in range(0, 16, 4))


def in_tunnel(host: str) -> bool:
    """Whether `host` is an address within the tunnel. (One of the underlay that is link-local names its interface.)"""
    return host.startswith(_PREFIX) and "%" not in host

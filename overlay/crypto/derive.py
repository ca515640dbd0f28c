"""Derives keys from a secret: HKDF with SHA-256 (RFC 5869), and MACs. Pure functions; knows no session and no packet.

Every key of a session is derived here, so the labels below are the whole key schedule (`docs/wire.md`, Keys).
"""

import hmac
from typing import Final

from msgspec import Struct

KEY: Final = 32
"""Bytes of every secret and key: AES-256-GCM, HMAC-SHA256."""
MAC: Final = 16
"""Bytes of a MAC on the wire: HMAC-SHA256, truncated (RFC 2104, 5)."""


def extract(salt: bytes, secret: bytes) -> bytes:
    """HKDF-Extract: a uniform key of 32 bytes from a non-uniform secret."""
    return hmac.digest(salt, secret, "sha256")


def expand(key: bytes, label: str) -> bytes:
    """HKDF-Expand to one block of 32 bytes, for the purpose that `label` names."""
    return hmac.digest(key, label.encode() + b"\x01", "sha256")


def mac(key: bytes, data: bytes) -> bytes:
    """The MAC of `data`, 16 bytes."""
    return hmac.digest(key, data, "sha256")[:MAC]


def equal(a: bytes, b: bytes) -> bool:
    """Compare two MACs in constant time."""
    return hmac.compare_digest(a, b)


class RootKeys(Struct, frozen=True):
    """Root keys of the two directions of one connection, for one purpose; `send` of one side is `receive` of the other.

    They never protect data themselves: `overlay.crypto.seal` and `overlay.mesh.session` derive the key of each epoch
    from them.
    """

    send: bytes
    receive: bytes


def epoch_key(root: bytes) -> bytes:
    """The key for the packets of the epoch with this root."""
    return expand(root, "key")


def next_root(root: bytes) -> bytes:
    """The root of the next epoch; it does not reveal the current one."""
    return expand(root, "next")

"""From one secret, many: HKDF with SHA-256 (RFC 5869), and MACs. Pure functions; knows no session and no packet.

Every key of a session comes from here, so that the labels below are the whole key schedule (`docs/wire.md`, Keys).
"""

import hmac
from typing import Final

from msgspec import Struct

KEY: Final = 32
"""Bytes of every secret and key: AES-256-GCM, HMAC-SHA256."""
MAC: Final = 16
"""Bytes of a MAC on the wire: HMAC-SHA256, truncated (RFC 2104, 5)."""


def extract(salt: bytes, secret: bytes) -> bytes:
    """HKDF-Extract: a uniform key of 32 bytes from a secret that is not uniform."""
    return hmac.digest(salt, secret, "sha256")


def expand(key: bytes, label: str) -> bytes:
    """HKDF-Expand to one block of 32 bytes, for the purpose that `label` names."""
    return hmac.digest(key, label.encode() + b"\x01", "sha256")


def mac(key: bytes, data: bytes) -> bytes:
    """The MAC of `data`, 16 bytes."""
    return hmac.digest(key, data, "sha256")[:MAC]


def equal(a: bytes, b: bytes) -> bool:
    """Compare two MACs in a time that does not tell where they differ."""
    return hmac.compare_digest(a, b)


class RootKeys(Struct, frozen=True):
    """Roots of the two directions of one connection, for one purpose; `send` of one side is `receive` of the other.

    They never protect anything themselves: `overlay.crypto.seal` and `overlay.mesh.session` derive the key of each
    epoch from them.
    """

    send: bytes
    receive: bytes


def epoch_key(root: bytes) -> bytes:
    """What protects the packets of the epoch whose root this is."""
    return expand(root, "key")


def next_root(root: bytes) -> bytes:
    """The root of the next epoch; there is no way back from it."""
    return expand(root, "next")

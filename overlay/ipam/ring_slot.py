"""The values derived from one token. Pure data work; knows no ring and no other tokens."""

from hashlib import blake2b

import msgspec

from overlay.config import PeerName
from overlay.replicated.interned import derived
from overlay.replicated.vectors import Known
from overlay.wire.ring import Token

_encode = msgspec.msgpack.Encoder().encode


class Slot:
    """One token with its derived values. Immutable."""

    __slots__ = ("alone", "end", "fingerprint", "known", "owner", "start", "token", "version")

    def __init__(self, token: Token) -> None:
        self.token = token
        self.start: int = token.start
        self.alone: tuple[int, ...] = (token.start,)
        """The starts of an owner that owns only this."""
        self.end: int = token.last + 1
        self.owner: PeerName = token.owner
        self.version: int = token.version
        self.fingerprint = int.from_bytes(blake2b(_encode(token), digest_size=8).digest(), "big")
        """A 64-bit hash of the token, the same in every process."""
        self.known: Known = (self.start, self.version, self.fingerprint & 0xFFFFFFFF)
        """The entry of this token in a vector."""


def slot_of(token: Token) -> Slot:
    """The slot of a token."""
    return derived(token, "slot", Slot)

"""The replicated topology on the wire: who is linked to whom. Data, and what follows from it; `docs/wire.md` explains.

What follows from a record is kept with it: the peers of a simulated world pass records on as objects, and so each is
hashed and looked through once.
"""

from functools import cached_property
from hashlib import blake2b
from itertools import pairwise
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from overlay.config import PeerName
from overlay.wirebase import Wire

Counter = Annotated[int, Meta(ge=0, le=2**62)]
"""An incarnation or a version: bounded, so that one more than a stranger's still fits the wire."""


class Link(Wire, frozen=True):
    """One connection as its owner sees it: to whom, at which address of the other side, and how far it is."""

    peer: PeerName
    address: str
    """"host:port" of the other side's control port as the owner knows it (for discovery)."""
    outbound: bool
    established: bool


class Relinked(NamedTuple):
    """What changed between two records of a peer."""

    peer: PeerName
    lost: tuple[PeerName, ...]
    """With whom it says to be linked no more."""
    gained: tuple[PeerName, ...]
    """With whom it says to be linked now."""


_encode = msgspec.msgpack.Encoder().encode


class PeerRecord(Wire, frozen=True, dict=True):
    """What one peer says of itself. Only `name` changes it; higher (uid, version) wins.

    `uid` is the incarnation: drawn higher at every start. `links` are sorted by peer.
    """

    name: PeerName
    uid: Counter
    version: Counter
    nickname: str
    links: tuple[Link, ...]
    gone: bool = False
    """A farewell: this incarnation has left for good."""
    key: Annotated[bytes, Meta(max_length=32)] = b""
    """Its public key (X25519), by which peers that know each other spare the PAKE; empty without a password."""

    @cached_property
    def fingerprint(self) -> int:
        """64 bits of the wire form; a topology's digest is the sum of its records' modulo 2^64."""
        return int.from_bytes(blake2b(encode_record(self), digest_size=8).digest(), "big")

    @cached_property
    def linked(self) -> dict[PeerName, None]:
        """To whom it says to have established links, in order. Not to be changed."""
        return {link.peer: None for link in self.links if link.established}

    def relinked(self, before: "PeerRecord") -> Relinked | None:
        """Which links it has no more and which are new, compared with another record of the peer; None: the same."""
        theirs = before.linked
        found = self._relinked.get(id(theirs))
        if found is None:
            mine, change = self.linked, None
            if mine != theirs:
                lost = tuple([peer for peer in theirs if peer not in mine])
                change = Relinked(self.name, lost, tuple([peer for peer in mine if peer not in theirs]))
            found = self._relinked[id(theirs)] = (theirs, change)
        return found[1]

    @cached_property
    def _relinked(self) -> "dict[int, tuple[dict[PeerName, None], Relinked | None]]":
        """By identity, the links that it was compared with; not their records, for these would keep all before them."""
        return {}

    @cached_property
    def appeared(self) -> Relinked:
        """The same, compared with nothing."""
        return Relinked(self.name, (), tuple(self.linked))

    @cached_property
    def known(self) -> tuple[Any, ...]:
        """What a vector says of it."""
        return (self.name, self.uid, self.version)

    @cached_property
    def sound(self) -> bool:
        """Whether the name is of a length that is allowed, and the links are sorted, each once."""
        return 0 < len(self.name) <= 64 and all(one.peer < other.peer for one, other in pairwise(self.links))


class TopologyDelta(Wire, frozen=True, tag=2):
    """Peer records that changed, sorted by name."""

    records: tuple[PeerRecord, ...]


def encode_record(record: PeerRecord) -> bytes:
    """The wire form of one record."""
    return _encode(TopologyDelta((record,)))


class TopologyVector(Wire, frozen=True, tag=3):
    """(name, uid, version) of every peer the sender knows, sorted."""

    known: tuple[tuple[PeerName, Counter, Counter], ...]

"""The replicated topology on the wire: which peers are linked. Data; `docs/wire.md` explains."""

from typing import Annotated

import msgspec
from msgspec import Meta

from overlay.config import PeerName
from overlay.wire.base import Wire

Counter = Annotated[int, Meta(ge=0, le=2**62)]
"""An incarnation or a version; limited, so that a value one above any received one still fits the wire."""


class TopologyLink(Wire, frozen=True):
    """One connection as its owner sees it: the peer, the other side's address, and the state."""

    peer: PeerName
    address: str
    """"host:port" of the other side's control port as the owner knows it (for discovery)."""
    outbound: bool
    established: bool


_encode = msgspec.msgpack.Encoder().encode


class PeerRecord(Wire, frozen=True, dict=True):
    """What one peer declares about itself. Only `name` changes it; higher (uid, version) wins.

    `uid` is the incarnation: higher at every start. `links` are sorted by peer.
    """

    name: PeerName
    uid: Counter
    version: Counter
    nickname: str
    links: tuple[TopologyLink, ...]
    gone: bool = False
    """A farewell: this incarnation has left for good."""
    key: Annotated[bytes, Meta(max_length=32)] = b""
    """Its public key (X25519), with which known peers skip the PAKE; empty without a password."""


class TopologyDelta(Wire, frozen=True, tag=2):
    """Peer records that changed, sorted by name."""

    records: tuple[PeerRecord, ...]


def encode_record(record: PeerRecord) -> bytes:
    """The wire form of one record."""
    return _encode(TopologyDelta((record,)))


class TopologyVector(Wire, frozen=True, tag=3):
    """(name, uid, version) of every peer that the sender knows, sorted."""

    known: tuple[tuple[PeerName, Counter, Counter], ...]

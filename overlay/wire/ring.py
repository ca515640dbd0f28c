"""Messages of address management: the ring's tokens, donation, first agreement. Data; `docs/wire.md` explains.

Addresses are sent as offsets from the first address of the range (which is 0), and extents include their last address,
so that an IPv6 range of up to 2**64 addresses fits MessagePack's integers.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from overlay.config import PeerName
from overlay.wire.base import Wire

Offset = Annotated[int, Meta(ge=0)]
Hash = Annotated[int, Meta(ge=0)]
Version = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Nonce = Annotated[int, Meta(ge=0)]
Range = Annotated[str, Meta(max_length=64)]
Owner = Annotated[PeerName, Meta(min_length=1, max_length=64)]


_encode = msgspec.msgpack.Encoder().encode


class Token(Wire, frozen=True, dict=True):
    """One extent of the ring: `owner` holds the offsets `start` to `last`. Only `owner` writes the next version.

    An extent can only shrink (its owner splits it, and creates new tokens after it), and tokens never vanish. Taking
    over a removed peer's token raises its version to the next multiple of 2**32, above all versions that the peer
    itself can write.
    """

    start: Offset
    last: Offset
    owner: Owner
    version: Version
    free: Offset = 0
    """Approximate number of free addresses in the extent: a hint for choosing a donor, within a factor of two."""


class Lineage(Wire, frozen=True):
    """The first agreement that a ring comes from. The higher (kind, founders, identity) wins."""

    kind: Annotated[int, Meta(ge=0, le=255)]
    """0: an agreement among the initial peers; 1: a configured seed set."""
    founders: Annotated[int, Meta(ge=1, le=2**32)]
    """Number of peers that the range was divided among."""
    identity: Hash
    """Hash of range, founders and, for an agreement, its nonce."""


class RingDelta(Wire, frozen=True, tag=40):
    """Tokens of one ring, sorted by `start`; `range` is a.b.c.d/n."""

    range: Range
    lineage: Lineage
    tokens: tuple[Token, ...]


class RingVector(Wire, frozen=True, tag=41):
    """The sender's tokens: (start, version, low 32 bits of the token's hash), sorted. `lineage` None: no ring."""

    range: Range
    lineage: Lineage | None
    known: tuple[tuple[Offset, Version, int], ...]


class SpaceRequest(Wire, frozen=True, tag=42):
    """Requests free space between `start` and `last`; if they are equal, exactly that address.

    `nonce` is random for each request: a request that arrives twice gets two replies, but only one grant.
    """

    nonce: Nonce
    range: Range
    lineage: Lineage
    start: Offset
    last: Offset


class SpaceDonation(Wire, frozen=True, tag=43):
    """The reply that grants space: `ring` holds all tokens that the donation changed."""

    nonce: Nonce
    ring: RingDelta


class SpaceDenial(Wire, frozen=True, tag=44):
    """The reply that denies space. `holder`: the container with the one requested address, if that is the reason.

    `ring` holds (some of) the tokens in question, in case the requester's ring is out of date.
    """

    nonce: Nonce
    holder: str
    ring: RingDelta


class Ballot(Wire, frozen=True, order=True):
    """A proposal's number: unique, because a proposer never uses a round twice."""

    round: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    proposer: Owner


class Proposal(Wire, frozen=True):
    """The value of the first agreement: the peers that divide the range, sorted. `nonce` tells equal sets apart."""

    founders: tuple[Owner, ...]
    nonce: Nonce


class Trigger(Wire, frozen=True, tag=45):
    """Asks the receiver to propose: the sender needs a ring, but yields to the receiver or is an observer."""

    range: Range
    observer: bool


class Prepare(Wire, frozen=True, tag=46):
    """Paxos phase 1a."""

    range: Range
    ballot: Ballot


class Promise(Wire, frozen=True, tag=47):
    """Paxos phase 1b: the sender will accept nothing below `ballot`; includes what it has accepted so far."""

    ballot: Ballot
    accepted: Ballot | None
    value: Proposal | None


class Propose(Wire, frozen=True, tag=48):
    """Paxos phase 2a: accept `value` (the tag "accept" is the mesh's)."""

    range: Range
    ballot: Ballot
    value: Proposal


class Accepted(Wire, frozen=True, tag=49):
    """Paxos phase 2b."""

    ballot: Ballot


class Refusal(Wire, frozen=True, tag=50):
    """Reply to `Prepare` and `Propose`: the sender has promised `promised`, so it cannot follow `ballot`."""

    ballot: Ballot
    promised: Ballot


class Abstention(Wire, frozen=True, tag=51):
    """Reply to `Prepare`: the sender does not vote; it is an observer, or has another range (then `range` differs)."""

    ballot: Ballot
    range: Range


class Decided(Wire, frozen=True, tag=52):
    """There is a ring already: the complete ring."""

    ring: RingDelta


PaxosMessage = Trigger | Prepare | Promise | Propose | Accepted | Refusal | Abstention
"""Messages of the first agreement."""

IpamMessage = SpaceRequest | SpaceDonation | SpaceDenial | PaxosMessage | Decided
"""Unicasts of address management."""


class StoredRing(Wire, frozen=True):
    """A peer's ring as stored on its disk; never on the wire."""

    name: PeerName
    ring: RingDelta

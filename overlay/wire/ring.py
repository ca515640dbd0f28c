"""What address management sends: the ring's tokens, donation, first agreement. Data; `docs/wire.md` explains.

Addresses travel as offsets from the first address of the range (0 is its first address) and extents with their last
address included, so that an IPv6 range of up to 2**64 addresses fits MessagePack's integers.
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

    An extent only ever shrinks (its owner splits it, making new tokens behind) and tokens never vanish. Taking over
    a removed peer's token raises its version to the next multiple of 2**32, above all that the peer itself can write.
    """

    start: Offset
    last: Offset
    owner: Owner
    version: Version
    free: Offset = 0
    """About how many addresses of the extent are free: a hint for those who look for a donor, at most half wrong."""


class Lineage(Wire, frozen=True):
    """Which first agreement a ring stems from. Between two the higher (kind, founders, identity) wins."""

    kind: Annotated[int, Meta(ge=0, le=255)]
    """0: an agreement among the initial peers; 1: a configured seed set."""
    founders: Annotated[int, Meta(ge=1, le=2**32)]
    """Among how many peers the range was divided."""
    identity: Hash
    """Hash of range, founders and, for an agreement, its nonce."""


class RingDelta(Wire, frozen=True, tag=40):
    """Tokens of one ring, sorted by `start`; `range` is a.b.c.d/n."""

    range: Range
    lineage: Lineage
    tokens: tuple[Token, ...]


class RingVector(Wire, frozen=True, tag=41):
    """What the sender holds: (start, version, low 32 bits of the token's hash), sorted. `lineage` None: no ring."""

    range: Range
    lineage: Lineage | None
    known: tuple[tuple[Offset, Version, int], ...]


class SpaceRequest(Wire, frozen=True, tag=42):
    """Asks the receiver for free space between `start` and `last`; for exactly that one address where they are equal.

    `nonce` is drawn for each question: one that arrives twice is answered twice, but granted once.
    """

    nonce: Nonce
    range: Range
    lineage: Lineage
    start: Offset
    last: Offset


class SpaceDonation(Wire, frozen=True, tag=43):
    """The answer that grants: `ring` holds all tokens that the donation changed."""

    nonce: Nonce
    ring: RingDelta


class SpaceDenial(Wire, frozen=True, tag=44):
    """The answer that does not. `holder` is the container that has the one address asked for, if that is why.

    `ring` holds (some of) the tokens in question, for an asker whose ring is behind.
    """

    nonce: Nonce
    holder: str
    ring: RingDelta


class Ballot(Wire, frozen=True, order=True):
    """A proposal's number: unique, because a proposer never uses a round twice."""

    round: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    proposer: Owner


class Proposal(Wire, frozen=True):
    """What the first agreement decides: who divides the range, sorted. `nonce` tells equal sets apart."""

    founders: tuple[Owner, ...]
    nonce: Nonce


class Trigger(Wire, frozen=True, tag=45):
    """Asks the receiver to propose: the sender needs a ring, but leaves it to the receiver or is an observer."""

    range: Range
    observer: bool


class Prepare(Wire, frozen=True, tag=46):
    """Paxos phase 1a."""

    range: Range
    ballot: Ballot


class Promise(Wire, frozen=True, tag=47):
    """Paxos phase 1b: the sender accepts nothing below `ballot` any more; what it has accepted so far, if anything."""

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
    """To `Prepare` and `Propose`: the sender has promised `promised` and cannot follow `ballot`."""

    ballot: Ballot
    promised: Ballot


class Abstention(Wire, frozen=True, tag=51):
    """To `Prepare`: the sender is an observer, or divides another range (then `range` differs), and does not vote."""

    ballot: Ballot
    range: Range


class Decided(Wire, frozen=True, tag=52):
    """There is a ring already: this one, whole."""

    ring: RingDelta


PaxosMessage = Trigger | Prepare | Promise | Propose | Accepted | Refusal | Abstention
"""What the first agreement consists of."""

IpamMessage = SpaceRequest | SpaceDonation | SpaceDenial | PaxosMessage | Decided
"""What address management sends as a unicast."""


class StoredRing(Wire, frozen=True):
    """A peer's ring as it is on its disk; never on the wire."""

    name: PeerName
    ring: RingDelta

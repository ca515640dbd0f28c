"""What travels on a control connection and in a control datagram: handshake, gossip, relayed unicasts, signs of life.

Data alone; `docs/wire.md` specifies every field and `overlay.mesh.session` the framing. The payloads of gossip and of
unicasts belong to their channels; this module only names the unions in which they may stand.
"""

from enum import IntEnum
from typing import Annotated

from msgspec import Meta

from overlay.config import PeerName
from overlay.crypto.derive import MAC
from overlay.crypto.pake import MAX_PAKE
from overlay.crypto.secure_peer import KEY_SIZE
from overlay.wire.base import Wire
from overlay.wire.origins import OriginDelta, OriginVector
from overlay.wire.policy import PolicyDelta, PolicyVector
from overlay.wire.ring import IpamMessage, RingDelta, RingVector
from overlay.wire.topology import Counter, TopologyDelta, TopologyVector

Delta = TopologyDelta | RingDelta | OriginDelta | PolicyDelta
"""News of one channel."""

Vector = TopologyVector | RingVector | OriginVector | PolicyVector
"""What a peer holds of one channel."""

Body = IpamMessage
"""What a unicast may carry."""

Port = Annotated[int, Meta(ge=1, le=65535)]
Name = Annotated[PeerName, Meta(min_length=1, max_length=64)]
Nonce = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Mac = Annotated[bytes, Meta(max_length=MAC)]
Interval = Annotated[int, Meta(ge=1, le=2**62)]


class Reason(IntEnum):
    """Why one side ends a connection on purpose; the other decides by it whether to dial again."""

    LEAVING = 1
    """The sender stops for good or for a planned restart: it is not lost, and no beacon calls it."""
    DUPLICATE = 2
    """There is a better connection between the same two peers."""
    SELF = 3
    """The sender has dialled itself."""
    NAME_COLLISION = 4
    """Another process bears the sender's name."""
    FULL = 5
    """No room for one more connection; `elsewhere` names peers that may have some."""
    PROTOCOL = 6
    """The receiver said something that the protocol does not allow."""
    PASSWORD = 7
    """The passwords differ, or only one side has one."""
    BUSY = 8
    """Too many strangers ask for computations; the receiver may try again later."""


class DigestKind(IntEnum):
    """On what occasion digests are sent."""

    OPENING = 0
    """On a new connection: a difference is asked for at once, both ways."""
    ROUND = 1
    """Periodic anti-entropy: likewise."""
    ANNOUNCE = 2
    """To a lazy neighbour: asked for only if the difference outlasts the time that the tree needs."""


class Hello(Wire, frozen=True, tag=1):
    """First message of each side. `nonce` is drawn for this connection; `port` is the sender's control port."""

    name: Name
    nickname: Annotated[str, Meta(max_length=256)]
    uid: Counter
    nonce: Nonce
    port: Port
    features: tuple[str, ...] = ()
    secured: bool = False
    """The sender has a password, and goes on only after a proof that the receiver knows it."""
    trusted: bool = False
    """The receiver's address is in one of the sender's trusted subnets."""


class Accept(Wire, frozen=True, tag=4):
    """The sender takes this connection; `nonce` repeats the receiver's. Established once it came (both ways)."""

    nonce: Nonce
    tunnel_key: Annotated[bytes, Meta(max_length=KEY_SIZE)] = b""
    """With a password: public key of the sender's WireGuard interface, if it has one."""
    tunnel_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """The UDP port of it."""


class Goodbye(Wire, frozen=True, tag=5):
    """The sender ends the connection: `reason` is a `Reason` (unknown ones count as a plain end)."""

    reason: int
    text: str
    elsewhere: tuple[str, ...] = ()
    """Control addresses ("host:port") that may take the receiver instead."""


class Namesake(Wire, frozen=True, tag=18):
    """A live peer at `address`, another than the receiver, has shown itself to the sender by the receiver's name."""

    address: Annotated[str, Meta(max_length=64)]
    nickname: Annotated[str, Meta(max_length=256)]


class PakeShare(Wire, frozen=True, tag=13):
    """A side's share of the PAKE; the listener's bears the MAC that confirms the keys."""

    share: Annotated[bytes, Meta(min_length=1, max_length=MAX_PAKE)]
    proof: Mac = b""


class Resume(Wire, frozen=True, tag=14):
    """A public key (X25519) for this connection, and a MAC of a peer that is known already."""

    public: Annotated[bytes, Meta(min_length=32, max_length=32)]
    proof: Mac


class Confirm(Wire, frozen=True, tag=15):
    """The dialler's MAC that confirms the keys: from here on all frames are sealed."""

    proof: Mac


class Decline(Wire, frozen=True, tag=16):
    """The listener does not know the secret of a `Resume`: do the PAKE."""


class Rekey(Wire, frozen=True, tag=17):
    """The sender's next frame is sealed under its next key. Never leaves the session."""


class News(Wire, frozen=True, tag=6):
    """What changed, (channel, delta) sorted by channel. An `answer` was asked for by a `Want`."""

    items: tuple[tuple[str, Delta], ...]
    answer: bool = False


class Digests(Wire, frozen=True, tag=7):
    """(channel, digest) of the sender's states, sorted by channel; `kind` is a `DigestKind`."""

    kind: int
    items: tuple[tuple[str, int], ...]


class Want(Wire, frozen=True, tag=8):
    """The sender holds `vector` of `channel` and wants what it lacks; with `echo` the receiver asks back."""

    channel: str
    vector: Vector
    echo: bool
    named: bool = False
    """Only of what the vector names; it is not all that the sender holds."""


class Prune(Wire, frozen=True, tag=9):
    """Stop pushing news over this connection; announce them."""


class Graft(Wire, frozen=True, tag=10):
    """Push news over this connection from now on."""


class Routed(Wire, frozen=True, tag=11):
    """A unicast on its way: each hop sends it to its next hop for `destination` with `ttl` less one."""

    source: Name
    destination: Name
    channel: str
    ttl: Annotated[int, Meta(ge=0, le=255)]
    body: Body


class StreamBeat(Wire, frozen=True, tag=12):
    """A heartbeat on TCP, for as long as those on UDP do not arrive. Fields as in `Beat`.

    It also carries clocks, when somebody on a peer's host wants to know how far they are apart.
    """

    interval: Interval
    hears: bool
    clock: Counter = 0
    """The sender's wall clock, in nanoseconds; 0: not told."""
    asks: bool = False
    """The sender asks for the receiver's clock, which comes in another one."""


class Beat(Wire, frozen=True, tag=60):
    """A heartbeat of an established connection. `connection` is the XOR of both sides' nonces."""

    name: Name
    connection: int
    interval: Interval
    """Nanoseconds until the sender's next beat at the latest."""
    hears: bool
    """The sender has heard datagrams of the receiver lately."""
    count: Counter = 0
    """With a password: how many beats the sender has sent on this connection."""
    mac: Mac = b""
    """With a password: of the datagram with an empty MAC, under the connection's beat key."""


class Beacon(Wire, frozen=True, tag=61):
    """Says: here I am, without a connection to you. `port` is the control port; an `answer` is not answered."""

    name: Name
    uid: Counter
    port: Port
    answer: bool = False
    count: Counter = 0
    """With a password, to a peer whose public key is known: rises with every beacon of the sender's incarnation."""
    mac: Mac = b""
    """Likewise: of the datagram with an empty MAC, under the two peers' beacon key."""


Envelope = (
    Hello
    | Accept
    | Goodbye
    | Namesake
    | PakeShare
    | Resume
    | Confirm
    | Decline
    | Rekey
    | News
    | Digests
    | Want
    | Prune
    | Graft
    | Routed
    | StreamBeat
)
"""What may stand as a whole message on a control connection."""

DatagramMessage = Beat | Beacon
"""What may stand as a whole datagram on the control port."""

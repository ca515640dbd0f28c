"""Messages of control connections and control datagrams: handshake, gossip, relayed unicasts, heartbeats and beacons.

Data alone; `docs/wire.md` specifies every field and `overlay.mesh.session` the framing. The payloads of gossip and of
unicasts belong to their channels; this module only names the unions of the allowed types.
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
"""Changes of one channel."""

Vector = TopologyVector | RingVector | OriginVector | PolicyVector
"""A summary of a peer's state of one channel."""

Body = IpamMessage
"""The payload of a unicast."""

Port = Annotated[int, Meta(ge=1, le=65535)]
Name = Annotated[PeerName, Meta(min_length=1, max_length=64)]
Nonce = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Mac = Annotated[bytes, Meta(max_length=MAC)]
Interval = Annotated[int, Meta(ge=1, le=2**62)]


class Reason(IntEnum):
    """Why one side ends a connection on purpose; the other side decides by it whether to dial again."""

    LEAVING = 1
    """The sender stops for good or for a planned restart: it is not lost, so no beacon calls it."""
    DUPLICATE = 2
    """There is a better connection between the same two peers."""
    SELF = 3
    """The sender has dialled itself."""
    NAME_COLLISION = 4
    """Another process has the sender's name."""
    FULL = 5
    """The connection limit is reached; `elsewhere` names peers that may have room."""
    PROTOCOL = 6
    """The receiver sent something that the protocol does not allow."""
    PASSWORD = 7
    """The passwords differ, or only one side has one."""
    BUSY = 8
    """Too many strangers request computations; the receiver may try again later."""


class DigestKind(IntEnum):
    """The occasion on which digests are sent."""

    OPENING = 0
    """On a new connection: a difference is requested at once, by both sides."""
    ROUND = 1
    """Periodic anti-entropy: as for `OPENING`."""
    ANNOUNCE = 2
    """To a lazy neighbour: a difference is requested only if it outlasts the time that the tree needs."""


class Hello(Wire, frozen=True, tag=1):
    """First message of each side. `nonce` is random for this connection; `port` is the sender's control port."""

    name: Name
    nickname: Annotated[str, Meta(max_length=256)]
    uid: Counter
    nonce: Nonce
    port: Port
    features: tuple[str, ...] = ()
    secured: bool = False
    """The sender has a password, and continues only after a proof that the receiver knows it."""
    trusted: bool = False
    """The receiver's address is in one of the sender's trusted subnets."""


class Accept(Wire, frozen=True, tag=4):
    """The sender accepts this connection (established for the receiver); `nonce` repeats the receiver's."""

    nonce: Nonce
    tunnel_key: Annotated[bytes, Meta(max_length=KEY_SIZE)] = b""
    """With a password: public key of the sender's WireGuard interface, if it has one."""
    tunnel_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """The UDP port of that interface."""


class Goodbye(Wire, frozen=True, tag=5):
    """The sender ends the connection: `reason` is a `Reason` (unknown ones count as a plain end)."""

    reason: int
    text: str
    elsewhere: tuple[str, ...] = ()
    """Control addresses ("host:port") that may take the receiver instead."""


class Namesake(Wire, frozen=True, tag=18):
    """A live peer at `address`, other than the receiver, has used the receiver's name with the sender."""

    address: Annotated[str, Meta(max_length=64)]
    nickname: Annotated[str, Meta(max_length=256)]


class PakeShare(Wire, frozen=True, tag=13):
    """A side's share of the PAKE; the listener's message has the MAC that confirms the keys."""

    share: Annotated[bytes, Meta(min_length=1, max_length=MAX_PAKE)]
    proof: Mac = b""


class Resume(Wire, frozen=True, tag=14):
    """A public key (X25519) for this connection, and a MAC of a peer that is already known."""

    public: Annotated[bytes, Meta(min_length=32, max_length=32)]
    proof: Mac


class Confirm(Wire, frozen=True, tag=15):
    """The dialler's MAC that confirms the keys: from now on all frames are sealed."""

    proof: Mac


class Decline(Wire, frozen=True, tag=16):
    """The listener does not know the secret of a `Resume`; the sides use the PAKE instead."""


class Rekey(Wire, frozen=True, tag=17):
    """The sender's next frame is sealed under its next key. Handled inside the session only."""


class News(Wire, frozen=True, tag=6):
    """Changes as (channel, delta), sorted by channel. `answer`: a `Want` requested them."""

    items: tuple[tuple[str, Delta], ...]
    answer: bool = False


class Digests(Wire, frozen=True, tag=7):
    """(channel, digest) of the sender's states, sorted by channel; `kind` is a `DigestKind`."""

    kind: int
    items: tuple[tuple[str, int], ...]


class Want(Wire, frozen=True, tag=8):
    """The sender's state of `channel` is `vector`; it requests what it lacks. `echo`: the receiver may request back."""

    channel: str
    vector: Vector
    echo: bool
    named: bool = False
    """The vector lists only some keys, and only these are requested."""


class Prune(Wire, frozen=True, tag=9):
    """Stop pushing changes over this connection; announce digests instead."""


class Graft(Wire, frozen=True, tag=10):
    """Push changes over this connection from now on."""


class Routed(Wire, frozen=True, tag=11):
    """A unicast in transit: each hop sends it to its next hop for `destination` with `ttl` reduced by one."""

    source: Name
    destination: Name
    channel: str
    ttl: Annotated[int, Meta(ge=0, le=255)]
    body: Body


class StreamBeat(Wire, frozen=True, tag=12):
    """A heartbeat on TCP, used while those on UDP do not arrive. Fields as in `Beat`.

    It also carries clock readings, to measure the clock offsets between hosts.
    """

    interval: Interval
    hears: bool
    clock: Counter = 0
    """The sender's wall clock, in nanoseconds; 0: not included."""
    asks: bool = False
    """The sender requests the receiver's clock, which comes in another `StreamBeat`."""


class Beat(Wire, frozen=True, tag=60):
    """A heartbeat of an established connection. `connection` is the XOR of both sides' nonces."""

    name: Name
    connection: int
    interval: Interval
    """Maximum nanoseconds until the sender's next heartbeat."""
    hears: bool
    """The sender has recently received datagrams of the receiver."""
    count: Counter = 0
    """With a password: number of heartbeats that the sender has sent on this connection."""
    mac: Mac = b""
    """With a password: MAC of the datagram with an empty `mac`, under the connection's heartbeat key."""


class Beacon(Wire, frozen=True, tag=61):
    """Calls a peer that the sender has no connection to. `port` is the control port; an `answer` gets no reply."""

    name: Name
    uid: Counter
    port: Port
    answer: bool = False
    count: Counter = 0
    """With a password, to a peer whose public key is known: increases with every beacon of the sender's incarnation."""
    mac: Mac = b""
    """Likewise: MAC of the datagram with an empty `mac`, under the two peers' beacon key."""


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
"""The messages allowed on a control connection."""

DatagramMessage = Beat | Beacon
"""The datagrams allowed on the control port."""

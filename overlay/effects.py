"""What a peer wants done: the only vocabulary that leaves a core. A driver carries a list out in its order.

Ordering duty: a `Persist` is durable before any effect behind it in the list is carried out (persist before send).
The last group never reaches a driver: it is how the cores of one peer ask each other, and `node.py` consumes it.
"""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from overlay.compiled_policy import CompiledPolicy
from overlay.config import Address, PeerName
from overlay.crypto.derive import RootKeys
from overlay.crypto.secure_peer import SecurePeer
from overlay.wire.codec import Body, DatagramMessage, Delta, Message
from overlay.wire.envelopes import StreamBeat


class Effect(Struct, frozen=True):
    """Base of all effects."""


class Dial(Effect, frozen=True):
    """Open a control connection; ends in `TcpOpened` with this address as `dialled`, or in `DialFailed`."""

    address: Address


class SendTcp(Effect, frozen=True):
    """Queue a message on a control connection, in order. On a connection that is gone: dropped silently."""

    conn: int
    message: Message


class Secure(Effect, frozen=True):
    """On this control connection everything after what was queued before is sealed, both ways, under these roots."""

    conn: int
    keys: RootKeys


class Compute(Effect, frozen=True):
    """Carry out `work`, a pure function that takes milliseconds, off the loop; ends in `Computed`, in any order."""

    job: int
    work: Callable[[], object]


class CloseTcp(Effect, frozen=True):
    """End a control connection after what was queued before; no `TcpClosed` follows."""

    conn: int
    reason: str


class SendDatagram(Effect, frozen=True):
    """Send one datagram from the control port; it may be lost."""

    destination: Address
    message: DatagramMessage


class TellClock(Effect, frozen=True):
    """Send `beat` on this connection with the wall clock of the moment in it."""

    conn: int
    beat: StreamBeat


class Persist(Effect, frozen=True):
    """Write `data` under `key`, durably and atomically, before anything behind this effect is done."""

    key: str
    data: bytes


class Reply(Effect, frozen=True):
    """The answer to the request of that number: `value` (a str, a tuple of str or None), or `error` if not empty."""

    request: int
    value: str | tuple[str, ...] | None = None
    error: str = ""


class Evicted(Effect, frozen=True):
    """`address` ("a.b.c.d/n") was given to somebody who claimed it: `container`, which is `Idle`, has it no more."""

    container: str
    address: str


class Log(Effect, frozen=True):
    """One line for the log of this peer."""

    level: Literal["debug", "info", "warning", "error"]
    text: str


# --- data path --------------------------------------------------------------------------------------------------


class SetForwarding(Effect, frozen=True):
    """Frames for `mac` go to the underlay host `remote`; ARP/ND questions for `addresses` are answered with `mac`.

    An empty `remote` means the userspace tunnel, which knows the way itself (`Tunnel`); one within WireGuard is told by
    its address (`wireguard.in_tunnel`).
    Replaces what stood for that MAC before. `addresses` are IP literals without a prefix length, sorted.
    """

    mac: str
    remote: str
    addresses: tuple[str, ...]


class RemoveForwarding(Effect, frozen=True):
    """Nothing is known of `mac` any more."""

    mac: str


class Announce(Effect, frozen=True):
    """Tell everything on this host's bridge which MAC an address has now: each (IP literal, MAC) once.

    A gratuitous ARP request, or an unsolicited ND advertisement, out of the bridge's own ports; it never leaves the
    host, for every peer tells its own.
    """

    addresses: tuple[tuple[str, str], ...]


class SetFlood(Effect, frozen=True):
    """Broadcast, multicast and unknown unicast frames go to exactly these underlay hosts (sorted)."""

    remotes: tuple[str, ...]


class SetSources(Effect, frozen=True):
    """The kernel takes VXLAN packets from exactly these underlay hosts (sorted) and drops all others'."""

    hosts: tuple[str, ...]


class SetPolicy(Effect, frozen=True):
    """From now on this host's packet filter decides by exactly this; established flows that it denies end in 1 s."""

    policy: CompiledPolicy


class SetSecurePeers(Effect, frozen=True):
    """The WireGuard interface has exactly these peers; those that it has already are left as they are."""

    peers: tuple[SecurePeer, ...]


class SendProbe(Effect, frozen=True):
    """Send a probe of `size` bytes to a neighbour at `address`, or the answer to one; ends in `ProbeHeard` over there.

    `fast`: over the kernel's path, `size` the Ethernet frame's; else in the tunnel, `size` the UDP payload's. `via` is
    the neighbour's address within WireGuard, if the kernel's path goes through it.
    """

    peer: PeerName
    address: Address
    fast: bool
    nonce: int
    size: int
    answer: bool
    via: str = ""


class ResizeTunnel(Effect, frozen=True):
    """UDP payloads of up to `size` bytes arrive at this neighbour. Consumed by the node."""

    peer: PeerName
    size: int


# --- DNS --------------------------------------------------------------------------------------------------------


class DnsAnswer(Effect, frozen=True):
    """Send this packet back to the client that asked `query`, which is then forgotten; an empty one: send nothing."""

    query: int
    payload: bytes


class DnsForward(Effect, frozen=True):
    """Ask the host's own name servers in order and relay the first answer to `query`; all fail: SERVFAIL."""

    query: int
    payload: bytes


# --- between the cores of one peer ------------------------------------------------------------------------------


class Broadcast(Effect, frozen=True):
    """News of a channel's state, for every peer; the channel has merged it already."""

    channel: str
    delta: Delta


class Unicast(Effect, frozen=True):
    """A message for one peer, over as many hops as it takes; lost if there is no route or a connection breaks."""

    destination: PeerName
    channel: str
    body: Body


class Notify(Effect, frozen=True):
    """Hand this input to the other cores of the same peer (`Deliver`, `PeersChanged`, `PathsChanged`)."""

    input: object

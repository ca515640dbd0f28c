"""The actions that a peer requests: the only vocabulary that leaves a core. A driver executes a list in order.

Ordering rule: a `Persist` is durable before any later effect in the list is executed (persist before send). The last
group never reaches a driver: the cores of one peer use it to call each other, and `node.py` consumes it.
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
    """Open a control connection; results in `TcpOpened` with this address as `dialled`, or in `DialFailed`."""

    address: Address


class SendTcp(Effect, frozen=True):
    """Queue a message on a control connection, in order. Dropped silently if the connection is gone."""

    conn: int
    message: Message


class Secure(Effect, frozen=True):
    """Seal everything on this control connection after the messages queued so far, both ways, under these roots."""

    conn: int
    keys: RootKeys


class Compute(Effect, frozen=True):
    """Run `work`, a pure function that takes milliseconds, off the loop; results in `Computed`, in any order."""

    job: int
    work: Callable[[], object]


class CloseTcp(Effect, frozen=True):
    """Close a control connection after the messages queued so far; no `TcpClosed` follows."""

    conn: int
    reason: str


class SendDatagram(Effect, frozen=True):
    """Send one datagram from the control port; it may be lost."""

    destination: Address
    message: DatagramMessage


class TellClock(Effect, frozen=True):
    """Send `beat` on this connection, with the current wall clock in it."""

    conn: int
    beat: StreamBeat


class Persist(Effect, frozen=True):
    """Write `data` under `key`, durably and atomically, before any later effect is executed."""

    key: str
    data: bytes


class Reply(Effect, frozen=True):
    """The reply to the request of that number: `value` (a str, a tuple of str or None), or `error` if not empty."""

    request: int
    value: str | tuple[str, ...] | None = None
    error: str = ""


class Evicted(Effect, frozen=True):
    """`container`, which is `Idle`, has lost `address` ("a.b.c.d/n") to another container that claimed it."""

    container: str
    address: str


class Log(Effect, frozen=True):
    """One line for the log of this peer."""

    level: Literal["debug", "info", "warning", "error"]
    text: str


# --- data path --------------------------------------------------------------------------------------------------


class SetForwarding(Effect, frozen=True):
    """Send frames for `mac` to the underlay host `remote`; answer ARP/ND requests for `addresses` with `mac`.

    An empty `remote` means the userspace tunnel, which has its own routes (`Tunnel`); a remote within WireGuard is
    recognised by its address (`secure_peer.in_tunnel`). Replaces the previous entry of that MAC. `addresses` are IP
    literals without a prefix length, sorted.
    """

    mac: str
    remote: str
    addresses: tuple[str, ...]


class RemoveForwarding(Effect, frozen=True):
    """Remove the forwarding entry of `mac`."""

    mac: str


class Announce(Effect, frozen=True):
    """Tell all ports of this host's bridge the new MAC of each address: (IP literal, MAC), each once.

    A gratuitous ARP request, or an unsolicited ND advertisement, sent to the bridge's own ports. It never leaves the
    host, because every peer informs its own containers.
    """

    addresses: tuple[tuple[str, str], ...]


class SetFlood(Effect, frozen=True):
    """Send broadcast, multicast and unknown unicast frames to exactly these underlay hosts (sorted)."""

    remotes: tuple[str, ...]


class SetSources(Effect, frozen=True):
    """Accept VXLAN packets in the kernel from exactly these underlay hosts (sorted) and drop all others."""

    hosts: tuple[str, ...]


class SetPolicy(Effect, frozen=True):
    """Make this host's packet filter enforce exactly this; established flows that it denies end within 1 s."""

    policy: CompiledPolicy


class SetSecurePeers(Effect, frozen=True):
    """Set the peers of the WireGuard interface to exactly these; unchanged ones are not touched."""

    peers: tuple[SecurePeer, ...]


class SendProbe(Effect, frozen=True):
    """Send a probe of `size` bytes to a neighbour at `address`, or the reply to one; results in its `ProbeHeard`.

    `fast`: over the kernel's path, `size` is the Ethernet frame's; otherwise in the tunnel, `size` is the UDP
    payload's. `via` is the neighbour's address within WireGuard, if the kernel's path uses it.
    """

    peer: PeerName
    address: Address
    fast: bool
    nonce: int
    size: int
    answer: bool
    via: str = ""


class ResizeTunnel(Effect, frozen=True):
    """Set the size of UDP payloads that arrive at this neighbour. Consumed by the node."""

    peer: PeerName
    size: int


# --- DNS --------------------------------------------------------------------------------------------------------


class DnsAnswer(Effect, frozen=True):
    """Send this packet to the client that sent `query`, which is then forgotten; an empty packet: send nothing."""

    query: int
    payload: bytes


class DnsForward(Effect, frozen=True):
    """Ask the host's own name servers in order and relay the first answer to `query`; if all fail, SERVFAIL."""

    query: int
    payload: bytes


# --- between the cores of one peer ------------------------------------------------------------------------------


class Broadcast(Effect, frozen=True):
    """Spread changes of a channel's state to every peer; the channel has merged them already."""

    channel: str
    delta: Delta


class Unicast(Effect, frozen=True):
    """Send a message to one peer, over any number of hops; lost if there is no route or a connection breaks."""

    destination: PeerName
    channel: str
    body: Body


class Notify(Effect, frozen=True):
    """Pass this input to the other cores of the same peer (`Deliver`, `PeersChanged`, `PathsChanged`)."""

    input: object

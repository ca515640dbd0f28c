"""The events of a peer: the only vocabulary that enters a core. Data alone; the cores define the reactions.

Inputs contain no times: `handle(input, now)` passes them. A `request` is a number that the driver chose; the core
replies to it exactly once with `effects.Reply`, at once or later.
"""

from functools import cached_property

from msgspec import Struct

from overlay.config import Address, PeerName
from overlay.crypto.derive import RootKeys
from overlay.crypto.secure_peer import SecurePeer
from overlay.wire.codec import DatagramMessage, Message
from overlay.wire.origins import Change, EnforcerValue


class Input(Struct, frozen=True):
    """Base of all inputs."""


class Wake(Input, frozen=True):
    """The time from `deadline()` has come."""


# --- the underlay -----------------------------------------------------------------------------------------------


class TcpOpened(Input, frozen=True):
    """A control connection is open and both sides have agreed on a protocol version. `conn` is the driver's number.

    `dialled` is the address that was dialled, or None for an incoming connection. `binding` is derived from the bytes
    of the negotiation, and is equal on both sides if nobody has modified them.
    """

    conn: int
    local: Address
    remote: Address
    dialled: Address | None
    binding: bytes = b""


class DialFailed(Input, frozen=True):
    """The dial of `effects.Dial` failed (refused, timed out, no common version)."""

    address: Address
    reason: str


class TcpMessage(Input, frozen=True):
    """One complete message arrived on a control connection, decoded."""

    conn: int
    message: Message


class TcpClosed(Input, frozen=True):
    """A control connection has closed, from either side. Never sent for one that `effects.CloseTcp` has closed."""

    conn: int
    reason: str


class Datagram(Input, frozen=True):
    """One datagram arrived on the control port (UDP), decoded."""

    source: Address
    message: DatagramMessage


class Computed(Input, frozen=True):
    """`effects.Compute` is done; the result of its function."""

    job: int
    result: object


class ProbeHeard(Input, frozen=True):
    """A neighbour's probe, or its reply to one of ours, arrived on one of the two paths (`fast`: the kernel's).

    `size` is the probe's: the frame's on the kernel's path, the UDP payload's in the tunnel.
    """

    peer: PeerName
    fast: bool
    nonce: int
    size: int
    answer: bool


class HostReaddressed(Input, frozen=True):
    """The host's own addresses have changed to these: IP literals without zone, sorted."""

    addresses: tuple[str, ...]


class TrafficSeen(Input, frozen=True):
    """The kernel has recently forwarded frames to or from containers of these peers."""

    peers: tuple[PeerName, ...]


# --- commands (control API, lab) --------------------------------------------------------------------------------


class Connect(Input, frozen=True):
    """Dial these addresses now and for ever. With `replace`, forget all earlier ones first."""

    request: int
    addresses: tuple[Address, ...]
    replace: bool = False


class Forget(Input, frozen=True):
    """Stop dialling these addresses. Open connections are not closed."""

    request: int
    addresses: tuple[Address, ...]


class AskClocks(Input, frozen=True):
    """Ask every neighbour for its wall clock; `wall` is this host's own, in nanoseconds.

    The reply comes after all neighbours have answered; a neighbour with an old version never does.
    """

    request: int
    wall: int


class Leave(Input, frozen=True):
    """Say farewell to all neighbours: this peer stops for good or for a planned restart, and counts as gone at once."""

    request: int


class RemovePeer(Input, frozen=True):
    """Take over the address space of a peer that will not come back. `peer` is a name or a nickname."""

    request: int
    peer: str


class ChangePolicy(Input, frozen=True):
    """Set a policy (`accept`: allow, else deny), or remove it. Replies with lines that describe its effect here.

    `force`: even if it matches nobody, contradicts another one or has no effect.
    """

    request: int
    rule: str
    """`from X to Y` (`overlay.policy.words`)."""
    accept: bool
    remove: bool = False
    force: bool = False


class RemovePolicies(Input, frozen=True):
    """Remove policies by their numbers in the table, or all of them. Replies with the removed ones."""

    request: int
    numbers: tuple[int, ...]
    all: bool = False


class Prime(Input, frozen=True):
    """Reply once addresses can be allocated here (the ring exists); starts the first agreement if necessary."""

    request: int


class Allocate(Input, frozen=True):
    """Give `container` one address of `subnet` (CIDR; empty: the default subnet); the same one if it already has one.

    Replies with "a.b.c.d/n".
    """

    request: int
    container: str
    subnet: str = ""


class Claim(Input, frozen=True):
    """Book `address` ("a.b.c.d/n") for `container`. An address outside of the range is accepted without the ring."""

    request: int
    container: str
    address: str


class Release(Input, frozen=True):
    """Free one address ("a.b.c.d"; empty: all) of `container`. Replies with the freed addresses."""

    request: int
    container: str
    address: str = ""


class AddressBatch(Input, frozen=True):
    """Several requests at once, each with a reply of its own."""

    requests: tuple[Allocate | Claim | Release, ...]


class Idle(Input, frozen=True):
    """Whether `container` has stopped. Another container, here or on another peer, may then claim its addresses.

    It stays in effect until the next `Idle`, or until the container itself requests an address.
    """

    container: str
    idle: bool


class CancelRequest(Input, frozen=True):
    """The client of `request` is gone; a pending request is dropped without a reply."""

    request: int


# --- containers of this host ------------------------------------------------------------------------------------


class Attached(Input, frozen=True):
    """A container's `ethwe` is attached to the bridge; peers may forward to it. A repeated input replaces the first."""

    container: str
    mac: str
    addresses: tuple[str, ...]
    """Each "a.b.c.d/n" (or IPv6), at least one."""
    names: tuple[str, ...] = ()
    """Names that policies may use for it, in lower case."""
    labels: tuple[tuple[str, str], ...] = ()


class Detached(Input, frozen=True):
    """The container's `ethwe` is gone."""

    container: str


class RegisterName(Input, frozen=True):
    """Add DNS names for a container's address. `name` is fully qualified with a final dot."""

    container: str
    name: str
    address: str


class UnregisterName(Input, frozen=True):
    """Remove the DNS entries of `container` that match; empty `name` or `address` match all."""

    container: str
    name: str = ""
    address: str = ""


class NameEntry(Struct, frozen=True):
    """One name of a batch: `name` is fully qualified with a final dot. To remove, an empty `address` matches all."""

    container: str
    name: str
    address: str


class RegisterNames(Input, frozen=True):
    """Add all these DNS names at once, or none if one of them is refused."""

    entries: tuple[NameEntry, ...]


class UnregisterNames(Input, frozen=True):
    """Remove all matching DNS names at once."""

    entries: tuple[NameEntry, ...]


class NameServers(Input, frozen=True):
    """Addresses of this host's name server for containers: IP literals that no policy blocks."""

    addresses: tuple[str, ...]


class PolicyEnforced(Input, frozen=True):
    """How the packet filter enforces the last `effects.SetPolicy`: `conntrack`, `stateless`, or `off` if it cannot."""

    state: str
    problem: str = ""


class DnsQuery(Input, frozen=True):
    """A DNS query as received from a client; always answered with `effects.DnsAnswer` or `DnsForward`."""

    query: int
    payload: bytes
    tcp: bool = False


# --- between the cores of one peer ------------------------------------------------------------------------------


class Deliver(Input, frozen=True):
    """A unicast for one of this peer's channels, from `source`. Made by the mesh, routed by the node."""

    source: PeerName
    channel: str
    body: Message


class PeersChanged(Input, frozen=True, dict=True):
    """The set of reachable peers (including this one, sorted)."""

    reachable: tuple[PeerName, ...]

    @cached_property
    def members(self) -> frozenset[PeerName]:
        """The same as a set, built once for all cores."""
        return frozenset(self.reachable)


class PathsChanged(Input, frozen=True):
    """The neighbours with an established connection to which the kernel may forward, and their addresses."""

    paths: tuple[tuple[PeerName, str], ...]
    """Unencrypted: the underlay address (an IP literal)."""
    secure: tuple[tuple[PeerName, SecurePeer], ...] = ()
    """Through WireGuard."""


class Neighbour(Struct, frozen=True):
    """An established control connection, as the data path sees it."""

    peer: PeerName
    address: Address
    """Address of its tunnel: the host that the connection goes to, and the other side's control port."""
    connection: int
    """The connection's number, equal on both sides; different for every connection."""
    outbound: bool
    keys: RootKeys | None
    """Roots of the data path's keys (`overlay.crypto.seal`). None: unencrypted, by agreement of both sides."""
    tunnel: SecurePeer | None = None
    """The other side's WireGuard, if the kernels may carry encrypted traffic."""


class NeighboursChanged(Input, frozen=True):
    """The established connections, sorted by peer; one is new if its `connection` is."""

    neighbours: tuple[Neighbour, ...]


class NeighbourMoved(Input, frozen=True):
    """A heartbeat, which an off-path attacker cannot forge, shows a new source address of a neighbour's datagrams."""

    peer: PeerName
    source: Address


class RoutesChanged(Input, frozen=True):
    """Next hops may have changed: `mesh.routes.next_hop` and `broadcast_next_hops` compute them on demand."""


class CarriersChanged(Input, frozen=True):
    """The neighbours whose traffic goes through the userspace tunnel, sorted; the kernel carries all other traffic."""

    tunnelled: tuple[PeerName, ...]


class NeighboursLost(Input, frozen=True):
    """These are no neighbours any more; `CarriersChanged` and `PathsChanged` follow."""

    peers: tuple[PeerName, ...]
    silent: tuple[PeerName, ...]
    """Those of them to which the kernel's path did not answer before."""


class PeerLeft(Input, frozen=True):
    """`peer` said farewell (or its record says so): its announcements are void at once, without any hold."""

    peer: PeerName


class PeerForgotten(Input, frozen=True):
    """`peer` was unreachable for longer than the hold and its record is dropped; no state of it is kept."""

    peer: PeerName


class PoliciesChanged(Input, frozen=True):
    """Gossip has changed the policies. Created by the table's merge."""


class Enforcing(Input, frozen=True):
    """How this peer enforces policies, to be announced to all peers."""

    value: EnforcerValue


class OriginChanged(Input, frozen=True):
    """Gossip has changed entries of an origin map: old and new values, for cores that index them.

    Created by the map's merge; the node routes it to the core that owns `channel`.
    """

    channel: str
    changes: tuple[Change, ...]


class QuarantineChanged(Input, frozen=True):
    """Addresses that endpoints lost to, or regained from, another endpoint. Each (origin, container, IP literal)."""

    added: tuple[tuple[PeerName, str, str], ...]
    removed: tuple[tuple[PeerName, str, str], ...]

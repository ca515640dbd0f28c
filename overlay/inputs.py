"""What can happen to a peer: the only vocabulary that enters a core. Data alone; who reacts how stands in the cores.

Times never stand in an input: `handle(input, now)` carries them. A `request` is a number that the driver chose; the
core answers it exactly once with `effects.Reply`, at once or later.
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
    """The time that `deadline()` asked for has come."""


# --- the network underneath -------------------------------------------------------------------------------------


class TcpOpened(Input, frozen=True):
    """A control connection stands and both sides have agreed on a protocol version. `conn` is the driver's number.

    `dialled` is the address that was dialled, or None for a connection that came in. `binding` stands for the bytes
    of the negotiation, equal on both sides if nobody has changed them.
    """

    conn: int
    local: Address
    remote: Address
    dialled: Address | None
    binding: bytes = b""


class DialFailed(Input, frozen=True):
    """The connection that `effects.Dial` asked for could not be made (refused, timed out, no common version)."""

    address: Address
    reason: str


class TcpMessage(Input, frozen=True):
    """One whole message arrived on a control connection, decoded."""

    conn: int
    message: Message


class TcpClosed(Input, frozen=True):
    """A control connection is gone, no matter which side ended it. Never sent for one that `effects.CloseTcp` has
    ended."""

    conn: int
    reason: str


class Datagram(Input, frozen=True):
    """One datagram arrived on the control port (UDP), decoded."""

    source: Address
    message: DatagramMessage


class Computed(Input, frozen=True):
    """`effects.Compute` is done: what its function returned."""

    job: int
    result: object


class ProbeHeard(Input, frozen=True):
    """A neighbour's probe came over one of the two paths (`fast`: the kernel's), or its answer to one of ours.

    `size` is the probe's: the frame's on the kernel's path, the UDP payload's in the tunnel.
    """

    peer: PeerName
    fast: bool
    nonce: int
    size: int
    answer: bool


class HostReaddressed(Input, frozen=True):
    """The host's own addresses have changed and are now these: IP literals without zone, sorted."""

    addresses: tuple[str, ...]


class TrafficSeen(Input, frozen=True):
    """The kernel has forwarded frames to or from containers of these peers lately."""

    peers: tuple[PeerName, ...]


# --- commands (control API, lab) --------------------------------------------------------------------------------


class Connect(Input, frozen=True):
    """Dial these addresses now and for ever. With `replace`, forget all earlier ones first."""

    request: int
    addresses: tuple[Address, ...]
    replace: bool = False


class Forget(Input, frozen=True):
    """Stop dialling these addresses. Connections that stand are not closed."""

    request: int
    addresses: tuple[Address, ...]


class AskClocks(Input, frozen=True):
    """Ask every neighbour for its wall clock; `wall` is this host's own, in nanoseconds.

    Replied to when all have answered, which a neighbour of an old version never does.
    """

    request: int
    wall: int


class Leave(Input, frozen=True):
    """Say farewell to all neighbours: this peer stops for good or for a planned restart, and is gone at once."""

    request: int


class RemovePeer(Input, frozen=True):
    """Take over the address space of a peer that will never come back. `peer` is a name or a nickname."""

    request: int
    peer: str


class ChangePolicy(Input, frozen=True):
    """Set a policy (`accept`: allow, else deny), or take it back. Replies with lines about what that means here.

    `force`: though it names nobody, contradicts another one or has no effect.
    """

    request: int
    rule: str
    """`from X to Y` (`overlay.policy.words`)."""
    accept: bool
    remove: bool = False
    force: bool = False


class RemovePolicies(Input, frozen=True):
    """Take back policies by their numbers in the table, or all of them. Replies with those taken back."""

    request: int
    numbers: tuple[int, ...]
    all: bool = False


class Prime(Input, frozen=True):
    """Reply once addresses can be allocated here (the ring exists), having started the first agreement if need be."""

    request: int


class Allocate(Input, frozen=True):
    """Give `container` one address of `subnet` (CIDR; empty: the default subnet); the same again when it has one.

    Replies with "a.b.c.d/n".
    """

    request: int
    container: str
    subnet: str = ""


class Claim(Input, frozen=True):
    """Book `address` ("a.b.c.d/n") for `container`. An address outside of the range is accepted as it is."""

    request: int
    container: str
    address: str


class Release(Input, frozen=True):
    """Free one address ("a.b.c.d"; empty: all) of `container`. Replies with the addresses freed."""

    request: int
    container: str
    address: str = ""


class Idle(Input, frozen=True):
    """Whether `container` has stopped: an address that it keeps goes to the container that claims it, here or on
    another peer.

    True until it is said otherwise, or until the container itself asks for an address.
    """

    container: str
    idle: bool


class CancelRequest(Input, frozen=True):
    """The client that waited for the answer to `request` is gone; a pending one is dropped without a reply."""

    request: int


# --- containers of this host ------------------------------------------------------------------------------------


class Attached(Input, frozen=True):
    """A container's `ethwe` is plugged into the bridge; peers may forward to it. Said again: replaces."""

    container: str
    mac: str
    addresses: tuple[str, ...]
    """Each "a.b.c.d/n" (or IPv6), at least one."""
    names: tuple[str, ...] = ()
    """What policies may call it, in lower case."""
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


class NameServers(Input, frozen=True):
    """Where this host's name server answers containers: IP literals that no policy cuts."""

    addresses: tuple[str, ...]


class PolicyEnforced(Input, frozen=True):
    """How the packet filter keeps to the last `effects.SetPolicy`: `conntrack`, `stateless`, or `off` if it cannot."""

    state: str
    problem: str = ""


class DnsQuery(Input, frozen=True):
    """A DNS query as it came from a client; always answered with `effects.DnsAnswer` or `DnsForward`."""

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
    """The set of reachable peers (this one among them, sorted) is now this."""

    reachable: tuple[PeerName, ...]

    @cached_property
    def members(self) -> frozenset[PeerName]:
        """The same as a set, made once for all cores."""
        return frozenset(self.reachable)


class PathsChanged(Input, frozen=True):
    """To which neighbours with an established connection the kernel may forward, and where they are."""

    paths: tuple[tuple[PeerName, str], ...]
    """In clear: the underlay address (an IP literal)."""
    secure: tuple[tuple[PeerName, SecurePeer], ...] = ()
    """Through WireGuard."""


class Neighbour(Struct, frozen=True):
    """An established control connection, as the data path needs to know it."""

    peer: PeerName
    address: Address
    """Where its tunnel is spoken to: the host that the connection goes to, and the other side's control port."""
    connection: int
    """The connection's number, equal on both sides; another one with every connection."""
    outbound: bool
    keys: RootKeys | None
    """Roots of the data path's keys (`overlay.crypto.seal`). None: in clear, by agreement of both sides."""
    tunnel: SecurePeer | None = None
    """The other side's WireGuard, if the kernels may carry what is encrypted."""


class NeighboursChanged(Input, frozen=True):
    """The established connections, sorted by peer, are now these; one is new if its `connection` is."""

    neighbours: tuple[Neighbour, ...]


class NeighbourMoved(Input, frozen=True):
    """A heartbeat, which nobody off the path can forge, says where datagrams of a neighbour come from now."""

    peer: PeerName
    source: Address


class RoutesChanged(Input, frozen=True):
    """Next hops may be other ones now: `mesh.routes.next_hop` and `broadcast_next_hops` tell, computed when asked."""


class CarriersChanged(Input, frozen=True):
    """The neighbours whose traffic goes through the userspace tunnel, sorted; the kernel carries that of the others."""

    tunnelled: tuple[PeerName, ...]


class PeerLeft(Input, frozen=True):
    """`peer` said farewell (or its record says so): what it announced is void at once, without any hold."""

    peer: PeerName


class PeerForgotten(Input, frozen=True):
    """`peer` was unreachable for longer than the hold and its record is dropped; nothing of it is kept."""

    peer: PeerName


class PoliciesChanged(Input, frozen=True):
    """Gossip has changed the policies. Made by the table when it merges."""


class Enforcing(Input, frozen=True):
    """How this peer enforces policies, for all peers to know."""

    value: EnforcerValue


class OriginChanged(Input, frozen=True):
    """Entries of an origin map changed by gossip: what they were and are, for those who keep an index of them.

    Made by the map when it merges; routed by the node to the core that owns `channel`.
    """

    channel: str
    changes: tuple[Change, ...]


class QuarantineChanged(Input, frozen=True):
    """Addresses that endpoints lost to, or got back from, another endpoint. Each (origin, container, IP literal)."""

    added: tuple[tuple[PeerName, str, str], ...]
    removed: tuple[tuple[PeerName, str, str], ...]

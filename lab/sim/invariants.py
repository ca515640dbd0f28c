"""Invariants over all peers together, in every situation; checked during a run when the state may have changed.

Owns the conditions; the backend reports changes. Immediate violations: an address that two live containers have, a
range that two peers own, a ring that goes back, a second agreement, a rule that sends a packet back or twice, a peer
whose own structures contradict each other. Beliefs that still differ when nothing has changed for `QUIET` are a
violation too, because nothing would make them equal, and so is a name whose container is gone by then.
"""

from collections.abc import Callable, Mapping, MutableMapping
from functools import partial
from itertools import pairwise

import msgspec

from lab.errors import Violation
from lab.sim.flows import Flow
from lab.sim.kernel import BridgePort, Kernel
from lab.sim.passed_flows import judged_flow
from lab.sim.ring_history import RingHistory
from lab.sim.votes import Votes
from lab.sim.world import Peer, World
from overlay.env import MILLISECOND, SECOND
from overlay.ipam.paxos import KEY as PAXOS_KEY
from overlay.ipam.paxos import Acceptor
from overlay.ipam.space import RING_KEY
from overlay.node import Node
from overlay.wire.origins import NameValue

__all__ = ["QUIET", "Invariants"]

QUIET = 60 * SECOND
"""Longer than any delay before peers compare their state."""
_SOON = 20 * MILLISECOND
"""Changes of forwarding within this time are checked together."""
_SWEEP = SECOND
_AT_ONCE = 4
"""The interval at which changed peers check their own structures, and how many of them do so at a time."""


class Invariants:
    """Watches a world. Calls `found` with the first violation; checks nothing after that."""

    def __init__(
        self,
        world: World,
        kernels: Mapping[str, Kernel],
        alive: Callable[[str, str], bool],
        found: Callable[[Violation], None],
    ) -> None:
        self.looked = 0
        """Number of checks."""
        self._world = world
        self._kernels = kernels
        self._alive = alive
        self._found = found
        self._violated = False
        self._by_hand: dict[str, None] = {}
        self._spoiled = False
        self._removed: dict[str, None] = {}
        self._lineages: MutableMapping[str, dict[int, None]] = {}
        self._electors: dict[int, tuple[str, int]] = {}
        """Ring of an agreement -> the first peer that had it, and how many peers had to agree."""
        self._voted: dict[str, None] = {}
        self._forgot = False
        """A peer has lost its part in an agreement with its disk."""
        self._votes = Votes()
        self._rings = RingHistory()
        self._keys: dict[str, dict[str, None]] = {}
        """What each peer has ever written to its disk."""
        self._disk_lost = False
        """A peer has lost some of it, so it may write a version of an entry for the second time."""
        self._forwarding_due = False
        self._changed: dict[str, None] = {}
        self._sweeping = False
        self._moved = 0
        self._waiting = False

    # --- reports from the backend ------------------------------------------------------------------------------------

    def by_hand(self, address: str) -> None:
        """A user chose this address: no protocol can keep two users from choosing the same one."""
        self._by_hand[address.partition("/")[0]] = None

    def peer_removed(self, peer: str) -> None:
        """A user has declared a peer dead. If the peer lives, or two users do so, addresses may be allocated twice, and
        that is expected. Everything that a single peer takes over from a dead one is its own."""
        host = self._world.peers.get(peer)
        if host is None or peer in self._removed or host.node is not None or self._has_containers(peer):
            self._spoiled = True
        self._removed[peer] = None

    def peer_starts(self, host: str) -> None:
        """A daemon starts with what is on the disk of its host."""
        self._world.peers[host].disk.watch = partial(self._wrote, host)
        stored = self._world.peers[host].disk.stored
        if host in self._removed and RING_KEY in stored:
            self._spoiled = True
        if host in self._voted and PAXOS_KEY not in stored:
            self._forgot = True
        if any(key not in stored for key in self._keys.get(host, ())):
            self._disk_lost = True

    def _wrote(self, host: str, key: str, data: bytes) -> None:
        """A peer's disk has taken something."""
        self._keys.setdefault(host, {})[key] = None
        node = self._world.peers[host].node
        if key != PAXOS_KEY or node is None or self._forgot:
            return
        majority = node.config.initial_peer_count // 2 + 1
        if node.config.initial_peer_count and 2 * majority > len(self._world.peers):
            text = self._votes.accepted(host, msgspec.msgpack.decode(data, type=Acceptor), majority)
            if text:
                self._violate("two agreements", text, (host,))

    def _has_containers(self, host: str) -> bool:
        ports = self._kernels[host].ports.values()
        return self._world.peers[host].powered and any(self._alive(host, port.container) for port in ports)

    def flow_passed(self, flow: Flow) -> None:
        """The first packet of a flow arrived: no policy that all peers there agree on may forbid it."""
        passed = judged_flow(self._world, flow)
        if passed is None:
            return
        self.looked += 1
        if passed:
            self._violate("policy", passed, (flow.sender, flow.receiver), (flow.source, flow.destination))

    def forwarding_changed(self) -> None:
        """A kernel's tables, a container or its network changed."""
        self.moved()
        if not self._forwarding_due:
            self._forwarding_due = True
            self._world.scheduler.after(_SOON, self._look_at_forwarding)

    def peer_changed(self, host: str) -> None:
        """A peer changed a belief."""
        self.moved()
        node = self._world.peers[host].node
        if PAXOS_KEY in self._world.peers[host].disk.stored:
            self._voted[host] = None
        if node is not None and (lineage := node.ipam.owned[0]) is not None:
            self._check_history(host, node)
            self._lineages.setdefault(host, {})[lineage.identity] = None
            if lineage.kind == 0 and lineage.identity not in self._electors:
                self._agreed_twice(host, lineage.identity, node.config.initial_peer_count)
        self._changed[host] = None
        if not self._sweeping:
            self._sweeping = True
            self._world.scheduler.after(_SWEEP, self._sweep)

    def _check_history(self, host: str, node: Node) -> None:
        text = self._rings.look(host, self._world.peers[host].life, node.ipam.ring)
        if text and not (self._spoiled or self._disk_lost):
            self._violate("ring goes back", text, (host,))

    def _agreed_twice(self, host: str, ring: int, count: int) -> None:
        """Two majorities of the same peers have a peer in common, which cannot have agreed to two rings."""
        majority = count // 2 + 1 if count else 0
        for other, needed in self._electors.values():
            if majority and needed and majority + needed > len(self._world.peers) and not self._forgot:
                text = f"{other} and {host} divided the range twice, though each needed {majority} peers to agree"
                self._violate("two agreements", text, (other, host))
        self._electors[ring] = host, majority

    def moved(self) -> None:
        """Something happened or changed: the quiet time starts again."""
        self._moved = self._world.now
        if not self._waiting:
            self._waiting = True
            self._world.scheduler.after(QUIET, self._look_at_beliefs)

    # --- immediate checks --------------------------------------------------------------------------------------------

    def _look_at_forwarding(self) -> None:
        self._forwarding_due = False
        self.looked += 1
        holders: dict[str, tuple[str, BridgePort]] = {}
        macs: dict[str, str] = {}
        for host, kernel in self._kernels.items():
            peer = self._world.peers[host]
            if not peer.powered:
                continue
            self._check_rules(peer, kernel)
            for port in kernel.ports.values():
                if self._alive(host, port.container):
                    self._check_port(host, port, holders, macs)

    def _check_rules(self, peer: Peer, kernel: Kernel) -> None:
        if len(set(kernel.flood)) != len(kernel.flood):
            self._violate("duplicate delivery", f"{peer.name} floods to one host twice", (peer.name,), kernel.flood)
        own = [remote for remote in kernel.flood if remote == peer.address]
        own += [rule.remote for rule in kernel.remote.values() if rule.remote == peer.address]
        if own:
            self._violate("forwarding loop", f"{peer.name} forwards to itself", (peer.name,), tuple(own))

    def _check_port(
        self, host: str, port: BridgePort, holders: dict[str, tuple[str, BridgePort]], macs: dict[str, str]
    ) -> None:
        before = macs.setdefault(port.mac, host)
        if before != host:
            text = f"containers of {before} and {host} have the MAC {port.mac}: what is sent to it arrives twice"
            self._violate("duplicate delivery", text, (before, host))
        for address in port.addresses:
            other = holders.setdefault(address, (host, port))
            if other[1].container != port.container and not self._excused(address, other[0], host):
                text = (
                    f"{address} is the address of two containers: {other[1].container[:12]} on {other[0]} and "
                    f"{port.container[:12]} on {host}"
                )
                self._violate("address twice", text, (other[0], host), (address,))

    def _excused(self, address: str, first: str, second: str) -> bool:
        """A user chose it, or two networks allocated it before they merged: then peers quarantine the loser."""
        ours, theirs = self._lineages.get(first, {}), self._lineages.get(second, {})
        return self._spoiled or address in self._by_hand or len({**ours, **theirs}) != 1

    def _sweep(self) -> None:
        for host in list(self._changed)[:_AT_ONCE]:
            del self._changed[host]
            self._check_peer(self._world.peers[host])
        self._check_ranges()
        self._sweeping = bool(self._changed)
        if self._sweeping:
            self._world.scheduler.after(_SWEEP, self._sweep)

    def _check_ranges(self) -> None:
        """Only the owner changes its tokens, so two peers can never both believe that they own a range."""
        owned: dict[object, list[tuple[int, int, str]]] = {}
        for peer in self._world.running():
            assert peer.node is not None
            lineage, extents = peer.node.ipam.owned
            if lineage is not None and not self._spoiled:
                owned.setdefault(lineage, []).extend((start, end, peer.name) for start, end in extents)
        for ranges in owned.values():
            ranges.sort()
            for (_, end, one), (start, _, other) in pairwise(ranges):
                if start < end:
                    text = f"{one} and {other} both own addresses from offset {start} on"
                    self._violate("range twice", text, (one, other))

    def _check_peer(self, peer: Peer) -> None:
        if peer.node is None or self._violated:
            return
        self.looked += 1
        try:
            peer.node.check_invariants()
        except AssertionError as error:
            where = error.__traceback__
            while where is not None and where.tb_next is not None:
                where = where.tb_next
            place = f"{where.tb_frame.f_code.co_qualname}:{where.tb_lineno}" if where is not None else ""
            self._violate("contradiction", f"{peer.name} contradicts itself: {error or place} ({place})", (peer.name,))

    # --- checks when nothing changes ---------------------------------------------------------------------------------

    def _look_at_beliefs(self) -> None:
        now = self._world.now
        if now < self._moved + QUIET:
            self._world.scheduler.at(self._moved + QUIET, self._look_at_beliefs)
            return
        self._waiting = False
        self.looked += 1
        running = {peer.node.config.name: peer for peer in self._world.running() if peer.node is not None}
        for name, peer in running.items():
            self._check_peer(peer)
            assert peer.node is not None
            if peer.stopped:
                continue  # a stopped process does not run, so its beliefs cannot change
            self._check_names(peer, peer.node)
            for other in peer.node.mesh.reachable:
                if other != name:
                    self._compare(peer, running.get(other), other)

    def _check_names(self, peer: Peer, node: Node) -> None:
        """No name outlives its container. Owners with a colon are the host itself, and not containers."""
        values = (value for _, value in node.registry.channel.entries_of(node.config.name) if not self._disk_lost)
        for value in values:
            if not isinstance(value, NameValue) or ":" in value.container:
                continue
            if not self._alive(peer.name, value.container):
                text = f"{peer.name} answers with {value.address} for {value.name}, whose container is gone"
                self._violate("name outlives its container", text, (peer.name,), (value.address,))
                return

    def _compare(self, peer: Peer, other: Peer | None, name: str) -> None:
        node = peer.node
        assert node is not None
        if other is None or other.node is None:
            self._violate("no convergence", f"{peer.name} takes {name} for alive, which is not", (peer.name,))
            return
        if other.stopped:
            return
        theirs = other.node
        beliefs = {
            "who is there": (node.mesh.topology_digest, theirs.mesh.topology_digest),
            "the ring": (node.ipam.ring_digest, theirs.ipam.ring_digest),
            "names": (node.registry.dns_digest, theirs.registry.dns_digest),
            "endpoints": (node.endpoints.digest, theirs.endpoints.digest),
            "policies": (node.policies.digest, theirs.policies.digest),
        }
        for what, (ours, other_digest) in beliefs.items():
            if ours != other_digest:
                text = f"{peer.name} and {other.name} differ about {what}, {QUIET // SECOND} s after anything moved"
                self._violate("no convergence", text, (peer.name, other.name))
                return

    def _violate(self, what: str, text: str, hosts: tuple[str, ...], addresses: tuple[str, ...] = ()) -> None:
        if not self._violated:
            self._violated = True
            self._found(Violation(what, text, hosts, addresses))

"""Tunnels of several peers in memory: real bytes, real routes over a given graph, links that lose and shrink."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from random import Random

from overlay.config import Address, PeerName
from overlay.crypto.derive import RootKeys
from overlay.datapath.inner import VNET
from overlay.datapath.tunnel import Holder, Tunnel
from overlay.datapath.tunnel_session import datagrams
from overlay.env import SECOND
from overlay.inputs import Neighbour
from overlay.mesh.routes import Routes
from overlay.mesh.topology import Topology
from overlay.wire.topology import PeerRecord, TopologyDelta, TopologyLink

Edge = tuple[int, int]
HOLD = 300 * SECOND


def name(index: int) -> PeerName:
    return f"00:00:00:00:00:{index:02x}"


def mac(index: int) -> bytes:
    """Of the one container of peer `index`."""
    return bytes((2, 0, 0, 0, 0, index))


def ipv4(source: int, destination: bytes, payload: bytes, *, df: bool = False) -> bytes:
    """A frame with an ICMP-like payload from a peer's container to a MAC."""
    body = bytes((8, 0, 0, 0)) + payload
    head = b"\x45\x00" + (20 + len(body)).to_bytes(2, "big") + b"\x00\x07" + (b"\x40\x00" if df else bytes(2))
    head += b"\x40\x01" + bytes(2) + bytes((10, 0, 0, source)) + bytes((10, 0, 0, destination[5]))
    return destination + mac(source) + b"\x08\x00" + head + body


class Tunnels:
    """Peers 0 to `count`-1, joined along `edges`; peer i has one container with `mac(i)`."""

    def __init__(self, count: int, edges: Iterable[Edge], *, sealed: bool = False, seed: int = 0) -> None:
        self.rng = Random(seed)
        self.now = 0
        self.count = count
        self.sealed = sealed
        self.loss = 0.0
        self.duplicate = 0.0
        self.shuffle = False
        self.limit: dict[Edge, int] = {}
        """Bytes of the largest UDP payload that passes from one to the other."""
        self.delivered: list[list[bytes]] = [[] for _ in range(count)]
        """Frames written to each port, super-packets as they are."""
        self.written: list[list[bytes]] = [[] for _ in range(count)]
        self.carried = 0
        """Datagrams that arrived anywhere."""
        self.captured: list[tuple[int, bytes, tuple[str, int]]] = []
        self.fast: set[Edge] = set()
        self._air: deque[tuple[int, int, bytes]] = deque()
        self.topologies = [Topology(name(index), f"p{index}", 1) for index in range(count)]
        self.tunnels: list[Tunnel] = []
        self._versions = 1
        for index, topology in enumerate(self.topologies):
            routes = Routes(topology)
            holder = Holder(
                lambda text: name(int(text[-2:], 16)) if int(text[-2:], 16) < count else None,
                routes,
                topology.uid_of,
                lambda peer, index=index: (index, int(peer[-2:], 16)) in self.fast,  # type: ignore[misc]
            )
            self.tunnels.append(Tunnel(name(index), 1, holder, HOLD))
        self.holders = [tunnel._holder for tunnel in self.tunnels]
        self.connect(edges)

    def connect(self, edges: Iterable[Edge], told: Iterable[int] | None = None) -> None:
        """The links are now these; only the peers in `told` (all) have heard of them."""
        links = sorted({tuple(sorted(edge)) for edge in edges})
        self._versions += 1
        self.now += SECOND
        records = []
        for index in range(self.count):
            mine = sorted(one + other - index for one, other in links if index in (one, other))
            declared = tuple(TopologyLink(name(peer), f"10.0.0.{peer}:6783", True, True) for peer in mine)
            records.append(PeerRecord(name(index), 1, self._versions, f"p{index}", declared, False))
        for index in range(self.count) if told is None else told:
            topology = self.topologies[index]
            topology.set_links(records[index].links, self.now)
            topology.publish(self.now)
            topology.merge(TopologyDelta(tuple(r for r in records if r.name != name(index))), self.now)
            self.holders[index].routes.refresh()
            neighbours = []
            for link in records[index].links:
                other = int(link.peer[-2:], 16)
                low, high = min(index, other), max(index, other)
                roots = bytes((low,)) * 32, bytes((high, 1)) * 16
                keys = RootKeys(*(roots if index == low else roots[::-1])) if self.sealed else None
                number = 1 + low * 256 + high
                neighbours.append(Neighbour(link.peer, Address(f"10.0.0.{other}", 6783), number, True, keys))
            self.tunnels[index].set_neighbours(tuple(neighbours), self.now)

    def send(self, index: int, frame: bytes, header: bytes = bytes(VNET.size)) -> None:
        """A container of this peer sends a frame; nothing arrives before `run`."""
        self.tunnels[index].outgoing(header + frame, self.now)
        self._take(index)

    def run(self) -> None:
        """Until nothing is under way."""
        while self._air:
            if self.shuffle:
                self._air.rotate(self.rng.randrange(len(self._air)))
            source, target, data = self._air.popleft()
            self.carried += 1
            assert self.carried < 100_000, "packets go round for ever"
            origin = (f"10.0.0.{source}", 6783)
            self.captured.append((target, data, origin))
            self.tunnels[target].incoming(data, 0, origin, self.now)
            self._take(target)

    def _take(self, index: int) -> None:
        tunnel = self.tunnels[index]
        for address, buffers, segment in tunnel.take_sends():
            other = int(address[0].rpartition(".")[2])
            for packet in datagrams(buffers, segment):
                if len(packet) > self.limit.get((index, other), 1472) or self.rng.random() < self.loss:
                    continue
                self._air.append((index, other, packet))
                if self.rng.random() < self.duplicate:
                    self._air.append((index, other, packet))
        for buffers in tunnel.take_writes():
            whole = b"".join(buffers)
            self.written[index].append(whole)
            self.delivered[index].append(whole[VNET.size :])

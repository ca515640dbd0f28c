"""A host of the overlay whose traffic is traced: what its daemon sends, and from whom it receives which news.

Owns the definition of an overlay payload: each version of a record, an origin's state, a token or a policy, as it goes
from peer to peer in `News`. Runs without a trace use plain `Peer`s, which know nothing of this.
"""

from collections.abc import Iterator
from typing import Any

from lab.sim.streams import End
from lab.sim.tracer import Tracer
from lab.sim.world import Peer, World
from overlay.config import Address
from overlay.effects import SendDatagram, SendTcp
from overlay.wire.envelopes import Graft, News, Prune
from overlay.wire.origins import OriginDelta
from overlay.wire.policy import PolicyDelta
from overlay.wire.topology import TopologyDelta

__all__ = ["TracedPeer"]


class TracedPeer(Peer):
    """One host of the world, with the tracer shared by all."""

    __slots__ = ("_connections", "tracer")

    def __init__(self, world: World, name: str, address: str) -> None:
        super().__init__(world, name, address)
        self.tracer: Tracer | None = None
        self._connections: dict[str, int] = {}
        """Host -> number of open connections to it."""

    def _send_tcp(self, effect: SendTcp) -> None:
        end, tracer = self.ends.get(effect.conn), self.tracer
        if end is not None and tracer is not None:
            now, message, to = self.world.now, effect.message, end.other.site.name
            tracer.sent(now, self.name, to, type(message).__name__, "tcp", self.world.size_of(message))
            if isinstance(message, News):
                for payload in _payloads(message):
                    if tracer.group.payloads.published(payload, self.name, now, 0, len(self.world.running())):
                        self._has(payload)
            elif isinstance(message, Prune | Graft):
                tracer.edge(now, self.name, to, "tree", up=isinstance(message, Graft))
        Peer._send_tcp(self, effect)

    def _send_datagram(self, effect: SendDatagram) -> None:
        if self.tracer is not None:
            to = self._host_of(effect.destination)
            size = self.world.size_of(effect.message)
            self.tracer.sent(self.world.now, self.name, to, type(effect.message).__name__, "udp", size)
        Peer._send_datagram(self, effect)

    def opened(self, end: End) -> None:
        other = end.other.site.name
        self._connections[other] = self._connections.get(other, 0) + 1
        self._edges(other, up=True)
        Peer.opened(self, end)

    def closed(self, end: End, reason: str) -> None:
        other = end.other.site.name
        self._connections[other] = self._connections.get(other, 1) - 1
        if self._connections[other] <= 0:
            self._edges(other, up=False)
        Peer.closed(self, end, reason)

    def received(self, end: End, message: Any) -> None:
        tracer = self.tracer
        if tracer is not None:
            if isinstance(message, News):
                for payload in _payloads(message):
                    if tracer.group.payloads.received(payload, self.name, end.other.site.name):
                        self._has(payload)
            elif isinstance(message, Prune | Graft):
                tracer.edge(self.world.now, self.name, end.other.site.name, "tree", up=isinstance(message, Graft))
        Peer.received(self, end, message)

    def _end(self) -> None:
        self._connections.clear()
        if self.tracer is not None and self.node is not None:
            self.tracer.ended(self.world.now, self.name)
        Peer._end(self)

    def _has(self, payload: str) -> None:
        assert self.tracer is not None
        now = self.world.now
        found = self.tracer.group.payloads.delivered(payload, self.name, now)
        if found is not None:
            self.tracer.delivered(now, self.name, found)

    def _edges(self, other: str, *, up: bool) -> None:
        """A link starts eager: payloads are pushed at once, until a peer prunes it."""
        if self.tracer is not None:
            for kind in ("neighbour", "tree"):
                self.tracer.edge(self.world.now, self.name, other, kind, up=up)

    def _host_of(self, destination: Address) -> str:
        site = self.world.network.reached(self.name, "udp", destination, self.port)
        return site.name if site is not None else destination.host


def _payloads(news: News) -> Iterator[str]:
    for channel, delta in news.items:
        if isinstance(delta, TopologyDelta):
            for record in delta.records:
                yield f"{channel}/{record.name}@{record.uid}.{record.version}"
        elif isinstance(delta, OriginDelta):
            for state in delta.states:
                yield f"{channel}/{state.origin}@{state.uid}.{state.version}"
        elif isinstance(delta, PolicyDelta):
            for entry in delta.entries:
                yield f"{channel}/{entry.writer}.{entry.number}.{entry.version}"
        else:
            for token in delta.tokens:
                yield f"{channel}/{token.start}.{token.version}"

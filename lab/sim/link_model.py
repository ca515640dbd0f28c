"""One direction between two simulated hosts: the model of `lab.links`, plus temporary obstacles.

Owns what only the simulator needs: cuts, protocols that a firewall drops, a smaller MTU, corrupt packets that no kernel
accepts, the topology's cables after the link, and whether TCP packets must be simulated one by one.
"""

from collections.abc import Iterable

from lab.links import Link
from lab.links.model import DirectionModel
from lab.sim.paths import EdgeModel
from overlay.env import MILLISECOND, Random

RTO_MIN = 200 * MILLISECOND
"""Linux's minimum TCP retransmission timeout."""


class LinkModel(DirectionModel):
    """One direction between two hosts. `cut`: no packet passes. `plain`: every packet takes `delay`."""

    __slots__ = (
        "_alone", "_mtu", "blocked", "cut", "delay", "edges", "limit", "packets", "plain", "severed", "stepped",
    )  # fmt: skip

    def __init__(self, link: Link, base: int, rng: Random) -> None:
        """`base`: the delay of a perfect link, in nanoseconds."""
        super().__init__(link, rng, base)
        self._alone = base
        """`base` without the cables of a topology."""
        self.edges: tuple[EdgeModel, ...] = ()
        """The cables that packets cross after the link."""
        self.severed = False
        """The topology has no path at the moment."""
        self.cut = False
        self._mtu = 0
        self.obstruct((), 0)

    def obstruct(self, blocked: Iterable[tuple[str, int]], mtu: int) -> None:
        """From now on drop these (protocol, destination port; 0: all), and packets larger than `mtu` (0: no limit)."""
        self.blocked = tuple(blocked)
        self._mtu = mtu
        self._settle(busy=False)

    def change(self, link: Link, now: int) -> None:
        """See `DirectionModel`."""
        super().change(link, now)
        self._settle(busy=self._queue.busy_until > now)

    def route(self, edges: tuple[EdgeModel, ...] | None, now: int) -> None:
        """From now on packets cross these cables after the link; None: they are lost."""
        self.edges = edges or ()
        self.severed = edges is None or any(edge.down for edge in edges)
        self._settle(busy=self._queue.busy_until > now)

    def _settle(self, *, busy: bool) -> None:
        link, edges = self.link, self.edges
        self.limit = min(filter(None, (link.mtu, self._mtu, *(edge.link.mtu for edge in edges))), default=0)
        """The largest IP packet that passes; 0: any."""
        far = sum(edge.link.delay for edge in edges)
        self.stepped = not all(edge.plain for edge in edges)
        """Packets wait or get lost on the path: they go from cable to cable, and arrival times are not known in
        advance."""
        self._base = self._alone if self.stepped else self._alone + far
        self.delay = self._alone + link.delay + far
        self.packets = self.stepped or bool(
            link.rate or link.deliveries or link.loss or link.burst or link.corrupt or busy
        )
        """TCP packets are simulated one by one, because some may be lost or wait for each other."""
        self.plain = not (
            self.stepped or
            link.jitter or link.loss or link.burst or link.duplicate or link.reorder or link.corrupt or link.rate
            or link.deliveries or self.limit or self.blocked or busy
        )  # fmt: skip

    def stops(self, protocol: str, port: int) -> bool:
        """Whether a packet of this protocol and destination port is dropped."""
        return self.cut or any(protocol == what and number in (0, port) for what, number in self.blocked)

    def arrivals(self, now: int, size: int, *, early: bool = False) -> list[int]:
        """Arrival times of a packet of `size` bytes sent now: one, none, or several. A corrupt packet does not arrive,
        because its checksum fails. `early`: the call is ahead of the send time, so the packet must not delay packets
        that are sent before it."""
        if self.limit and size > self.limit:
            return []
        copies = self._sent(self._queue.would_leave(now, size)) if early else self.packet(now, size)
        return [copy.at for copy in copies if not copy.corrupt]

    def in_order(self, now: int) -> int:
        """When data written to a TCP connection now arrives, if no packet is lost or waits (not `packets`)."""
        return self._arrives(now)

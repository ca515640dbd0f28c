"""One direction between two simulated hosts: the model of `lab.links`, and what else stands in the way for a while.

Owns what only the simulator needs of it: cuts, protocols that a firewall drops, a smaller MTU, corrupt packets that no
kernel takes, the cables of a topology behind it, and whether TCP's packets have to be simulated one by one.
"""

from collections.abc import Iterable

from lab.links import Link
from lab.links.model import DirectionModel
from lab.sim.paths import EdgeModel
from overlay.env import MILLISECOND, Random

RTO_MIN = 200 * MILLISECOND
"""Linux's shortest retransmission time-out of TCP."""


class LinkModel(DirectionModel):
    """One direction between two hosts. `cut`: nothing passes. `plain`: whatever passes takes `delay`."""

    __slots__ = (
        "_alone", "_mtu", "blocked", "cut", "delay", "edges", "limit", "packets", "plain", "severed", "stepped",
    )  # fmt: skip

    def __init__(self, link: Link, base: int, rng: Random) -> None:
        """`base` is what the way takes even on a perfect link, in nanoseconds."""
        super().__init__(link, rng, base)
        self._alone = base
        """`base` without the cables of a topology."""
        self.edges: tuple[EdgeModel, ...] = ()
        """What it crosses behind the link."""
        self.severed = False
        """The topology has no way there now."""
        self.cut = False
        self._mtu = 0
        self.obstruct((), 0)

    def obstruct(self, blocked: Iterable[tuple[str, int]], mtu: int) -> None:
        """From now on these (protocol, port of destination; 0: all) are dropped, and packets above `mtu` (0: none)."""
        self.blocked = tuple(blocked)
        self._mtu = mtu
        self._settle(busy=False)

    def change(self, link: Link, now: int) -> None:
        """See `DirectionModel`."""
        super().change(link, now)
        self._settle(busy=self._queue.busy_until > now)

    def route(self, edges: tuple[EdgeModel, ...] | None, now: int) -> None:
        """From now on packets cross these cables behind the link; None: they get lost."""
        self.edges = edges or ()
        self.severed = edges is None or any(edge.down for edge in edges)
        self._settle(busy=self._queue.busy_until > now)

    def _settle(self, *, busy: bool) -> None:
        link, edges = self.link, self.edges
        self.limit = min(filter(None, (link.mtu, self._mtu, *(edge.link.mtu for edge in edges))), default=0)
        """The largest IP packet that passes; 0: any."""
        far = sum(edge.link.delay for edge in edges)
        self.stepped = not all(edge.plain for edge in edges)
        """Packets wait or get lost on the way: they go from cable to cable, and it is not known when they arrive."""
        self._base = self._alone if self.stepped else self._alone + far
        self.delay = self._alone + link.delay + far
        self.packets = self.stepped or bool(
            link.rate or link.deliveries or link.loss or link.burst or link.corrupt or busy
        )
        """The packets of TCP connections are simulated one by one: some may be lost, or wait for each other."""
        self.plain = not (
            self.stepped or
            link.jitter or link.loss or link.burst or link.duplicate or link.reorder or link.corrupt or link.rate
            or link.deliveries or self.limit or self.blocked or busy
        )  # fmt: skip

    def stops(self, protocol: str, port: int) -> bool:
        """Whether a packet of this protocol for this port does not pass."""
        return self.cut or any(protocol == what and number in (0, port) for what, number in self.blocked)

    def arrivals(self, now: int, size: int, *, early: bool = False) -> list[int]:
        """When a packet of `size` bytes sent now arrives: once, never, or more often. A flipped bit fails the
        checksum, so a corrupt packet does not. `early`: it is asked for before that time has come, so the packet must
        not be in the way of those that are sent before it."""
        if self.limit and size > self.limit:
            return []
        copies = self._sent(self._queue.would_leave(now, size)) if early else self.packet(now, size)
        return [copy.at for copy in copies if not copy.corrupt]

    def in_order(self, now: int) -> int:
        """When what is written to a TCP connection now arrives, if no packet of it is lost or waits (not `packets`)."""
        return self._arrives(now)

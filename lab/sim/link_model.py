"""One direction between two simulated hosts: the model of `lab.links`, and what else stands in the way for a while.

Owns what only the simulator needs of it: cuts, protocols that a firewall drops, a smaller MTU, corrupt packets that no
kernel takes, and what losses cost a TCP connection, whose packets are not simulated one by one.
"""

from collections.abc import Iterable

from lab.links import Link
from lab.links.model import DirectionModel
from lab.links.values import OPPORTUNITY
from overlay.env import MILLISECOND, SECOND, Random

RTO_MIN = 200 * MILLISECOND
"""Linux's shortest retransmission time-out of TCP."""
RTO_MAX = 120_000 * MILLISECOND
NEVER = 10 * RTO_MAX
"""Longer than anybody waits."""


class LinkModel(DirectionModel):
    """One direction between two hosts. `cut`: nothing passes. `plain`: whatever passes takes `delay`."""

    __slots__ = ("_mtu", "blocked", "cut", "delay", "limit", "plain", "varies")

    def __init__(self, link: Link, base: int, rng: Random) -> None:
        """`base` is what the way takes even on a perfect link, in nanoseconds."""
        super().__init__(link, rng, base)
        self.cut = False
        self.varies = False
        """A step has changed it for a while: a lost segment is sent again on the link as it is by then."""
        self.delay = base + link.delay
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
        self.delay = self._base + link.delay
        self._settle(busy=self._queue.busy_until > now)

    def _settle(self, *, busy: bool) -> None:
        link = self.link
        self.limit = min(filter(None, (link.mtu, self._mtu)), default=0)
        """The largest IP packet that passes; 0: any."""
        self.plain = not (
            link.jitter or link.loss or link.burst or link.duplicate or link.reorder or link.corrupt or link.rate
            or link.deliveries or self.limit or self.blocked or busy
        )  # fmt: skip

    @property
    def mean_rate(self) -> int:
        """Bits per second that it carries; 0: not limited."""
        deliveries = self.link.deliveries
        if deliveries is None:
            return self.link.rate
        return len(deliveries.times) * OPPORTUNITY * 8 * SECOND // (deliveries.period or deliveries.times[-1])

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

    def segment(self, now: int, size: int, rtt: int, *, lossy: bool = True, early: bool = False) -> int:
        """When what is written to a TCP connection now arrives, retransmissions included unless `lossy` is false.

        `rtt` is the round trip's time; loss costs a retransmission time-out at first and twice as much each time.
        `early`: see `arrivals`.
        """
        # A stream is slowed down by its window, not dropped: it waits for its turn.
        ready = self._queue.would_leave(now, size) if early else self._queue.leaves(now, size, waits=True)
        if ready is None:
            return now + NEVER
        rto = max(RTO_MIN, 2 * rtt)
        for _ in range(_segments(size) if lossy else 0):
            pause = rto
            while ready - now < NEVER and self.loses_segment():
                ready += pause
                pause = min(pause * 2, RTO_MAX)
        return self._arrives(ready)

    def loses_segment(self) -> bool:
        """Whether one segment of a stream is lost; a draw."""
        return self._loss.lost() or (bool(self.link.corrupt) and self._rng.random() < self.link.corrupt)

    def swallows(self, now: int, size: int) -> bool:
        """Whether a link that varies takes what is written to a TCP connection now, and nothing arrives of it."""
        if not self._queue.passes(now, size):
            return True
        return any(self.loses_segment() for _ in range(_segments(size)))


def _segments(size: int) -> int:
    return max(1, -(-size // 1400))

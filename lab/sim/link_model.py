"""What one direction of a link does to one packet after another: the model of `lab.links`, in virtual time.

Owns the state that a link needs for it (bursts of loss, the queue of a limited rate) and what stands in its way for a
while (protocols that a firewall drops, a smaller MTU). Draws are compared, added and divided as integers, or as the
generator's own fractions, so that every machine draws the same.
"""

from collections.abc import Iterable

from lab.links import Distribution, Link
from overlay.env import MILLISECOND, Random

RTO_MIN = 200 * MILLISECOND
"""Linux's shortest retransmission time-out of TCP."""
RTO_MAX = 120_000 * MILLISECOND
_BITS = 16
_ONE = 1 << _BITS


class LinkModel:
    """One direction between two hosts. `cut`: nothing passes. `plain`: whatever passes takes `delay`."""

    __slots__ = ("_bad", "_busy_until", "_rng", "blocked", "cut", "delay", "limit", "link", "plain", "queue_limit")

    def __init__(self, link: Link, base: int, rng: Random) -> None:
        """`base` is what the way takes even on a perfect link, in nanoseconds."""
        self.cut = False
        self._rng = rng
        self._bad = False
        self._busy_until = 0
        self.link = link
        self.delay = base + link.delay
        self.obstruct((), 0)
        self.queue_limit = MILLISECOND * 100
        """How long a packet may wait for a limited rate before it is dropped, as `tbf` does."""

    def obstruct(self, blocked: Iterable[tuple[str, int]], mtu: int) -> None:
        """From now on these (protocol, port of destination; 0: all) are dropped, and packets above `mtu` (0: none)."""
        link = self.link
        self.blocked = tuple(blocked)
        self.limit = min(filter(None, (link.mtu, mtu)), default=0)
        """The largest IP packet that passes; 0: any."""
        self.plain = not (
            link.jitter or link.loss or link.burst or link.duplicate or link.reorder or link.corrupt or link.rate
            or self.limit or self.blocked
        )  # fmt: skip

    def stops(self, protocol: str, port: int) -> bool:
        """Whether a packet of this protocol for this port does not pass."""
        return self.cut or any(protocol == what and number in (0, port) for what, number in self.blocked)

    def packet(self, now: int, size: int) -> list[int]:
        """When a packet of `size` bytes sent now arrives: once, never, or more often."""
        link = self.link
        if self.limit and size > self.limit:
            return []
        ready = self._queued(now, size)
        if ready is None or self._lost() or (link.corrupt and self._rng.random() < link.corrupt):
            return []  # a flipped bit fails the checksum
        copies = 2 if link.duplicate and self._rng.random() < link.duplicate else 1
        return [ready + self._way() for _ in range(copies)]

    def segment(self, now: int, size: int, rtt: int) -> int:
        """When what is written to a TCP connection now arrives, retransmissions included.

        `rtt` is the round trip's time; loss costs a retransmission time-out at first and twice as much each time.
        """
        ready = now
        if self.link.rate:
            # A stream is slowed down by its window, not dropped: it waits for its turn.
            self._busy_until = ready = max(now, self._busy_until) + size * 8_000_000_000 // self.link.rate
        rto = max(RTO_MIN, 2 * rtt)
        segments = max(1, -(-size // 1400))
        for _ in range(segments):
            pause = rto
            while self._lost() or (self.link.corrupt and self._rng.random() < self.link.corrupt):
                ready += pause
                pause = min(pause * 2, RTO_MAX)
        return ready + self._way()

    def _queued(self, now: int, size: int) -> int | None:
        if not self.link.rate:
            return now
        start = max(now, self._busy_until)
        if start - now > self.queue_limit:
            return None
        self._busy_until = start + size * 8_000_000_000 // self.link.rate
        return self._busy_until

    def _lost(self) -> bool:
        link, rng = self.link, self._rng
        lost = bool(link.loss) and rng.random() < link.loss
        if link.burst is not None:
            self._bad = rng.random() >= link.burst.leave if self._bad else rng.random() < link.burst.enter
            lost = rng.random() < (link.burst.bad if self._bad else link.burst.good) or lost
        return lost

    def _way(self) -> int:
        link = self.link
        if link.reorder and self._rng.random() < link.reorder:
            return self.delay - link.delay
        if not link.jitter:
            return self.delay
        return max(self.delay - link.delay, self.delay + self._spread())

    def _spread(self) -> int:
        jitter, rng = self.link.jitter, self._rng
        match self.link.distribution:
            case Distribution.UNIFORM:
                return rng.randrange(-jitter, jitter + 1)
            case Distribution.NORMAL:
                # The sum of twelve uniform draws (Irwin and Hall): variance 1, and no logarithm.
                return (sum(rng.getrandbits(_BITS) for _ in range(12)) - 6 * _ONE) * jitter // _ONE
            case Distribution.PARETO:
                # Shape 3: the inverse cube root of a uniform draw, mean 1.5, deviation sqrt(3)/2.
                drawn = _cube_root((1 << 63) // (rng.getrandbits(15) + 1))
                return (drawn - 98_304) * jitter // 56_756


def _cube_root(value: int) -> int:
    low, high = 0, 1 << 22
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= value else (low, middle - 1)
    return low

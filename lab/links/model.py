"""One direction of a link: what happens to each packet. Pure, and a function of the generator's seed.

The steps, in order: the MTU (drop if too big), the queue of the rate (drop if full), loss (drop), corruption,
duplication, and the delay, which is drawn for each copy. A lost packet still uses its share of the rate, because it is
lost after the sender's queue.
"""

from typing import NamedTuple

from lab.links.jitter import Jitter
from lab.links.loss import LossProcess
from lab.links.queue import SendQueue
from lab.links.values import Link
from overlay.env import Random

__all__ = ["DirectionModel", "PacketCopy"]


class PacketCopy(NamedTuple):
    """One copy of a packet that arrives at the other end."""

    at: int
    """Arrival time, in nanoseconds."""
    corrupt: bool
    """One bit is flipped; the owner of the bytes draws which one."""


class DirectionModel:
    """One direction between two hosts. Times are integer nanoseconds of any monotonic clock."""

    __slots__ = ("_base", "_jitter", "_last", "_loss", "_queue", "_rng", "link")

    def __init__(self, link: Link, rng: Random, base: int = 0) -> None:
        """`base`: the delay of a perfect link, in nanoseconds."""
        self.link = link
        self._rng = rng
        self._base = base
        self._loss = LossProcess(link, rng)
        self._jitter = Jitter(link, rng)
        self._queue = SendQueue(link)
        self._last = 0
        """Arrival time of the last packet of an ordered link; packets that overtake because of `reorder` do not count.
        """

    def change(self, link: Link, now: int) -> None:
        """Use another link from now on. The arrival of packets in transit does not change."""
        self.link = self._loss.link = self._jitter.link = link
        self._queue.change(link, now)

    def packet(self, now: int, size: int) -> list[PacketCopy]:
        """The copies that arrive of a packet of `size` bytes (IP) sent now: zero, one or two."""
        if self.link.mtu and size > self.link.mtu:
            return []
        return self._sent(self._queue.leaves(now, size))

    def _sent(self, ready: int | None) -> list[PacketCopy]:
        """The copies that arrive of a packet that leaves at `ready`; None: the queue was full."""
        link = self.link
        if ready is None or self._loss.lost():
            return []
        rng = self._rng
        corrupt = bool(link.corrupt) and rng.random() < link.corrupt
        copies = 2 if link.duplicate and rng.random() < link.duplicate else 1
        return [PacketCopy(self._arrives(ready), corrupt) for _ in range(copies)]

    def _arrives(self, ready: int) -> int:
        """Arrival time of a copy that left at `ready`. Draws random numbers, so call it once for each copy."""
        link, base = self.link, self._base
        if link.reorder and self._rng.random() < link.reorder:
            return ready + base
        if not link.jitter:
            return ready + base + link.delay
        at = ready + max(base, base + link.delay + self._jitter.deviation())
        if link.ordered:
            self._last = at = max(at, self._last)
        return at

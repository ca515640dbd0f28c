"""What one direction of a link does to one packet after another. Pure, and a function of its generator's seed.

A packet meets, in this order: the MTU (too big: gone), the queue of the rate (full: gone), loss (gone), corruption,
duplication, and then the delay, which each copy draws for itself. A packet that is lost has taken its turn on the rate,
because it is lost behind the sender's queue.
"""

from typing import NamedTuple

from lab.links.jitter import Jitter
from lab.links.loss import LossProcess
from lab.links.queue import SendQueue
from lab.links.values import Link
from overlay.env import Random

__all__ = ["DirectionModel", "PacketCopy"]


class PacketCopy(NamedTuple):
    """One copy of a packet that comes out at the other end."""

    at: int
    """When, in nanoseconds."""
    corrupt: bool
    """One bit of it is flipped; which one is drawn by the owner of the bits."""


class DirectionModel:
    """One direction between two hosts. Times are integer nanoseconds of any clock that does not go backwards."""

    __slots__ = ("_base", "_jitter", "_last", "_loss", "_queue", "_rng", "link")

    def __init__(self, link: Link, rng: Random, base: int = 0) -> None:
        """`base` is what the way takes even on a perfect link, in nanoseconds."""
        self.link = link
        self._rng = rng
        self._base = base
        self._loss = LossProcess(link, rng)
        self._jitter = Jitter(link, rng)
        self._queue = SendQueue(link)
        self._last = 0
        """When the last packet of an ordered link arrives; those that `reorder` let overtake do not count."""

    def change(self, link: Link, now: int) -> None:
        """From now on packets meet another link. Those under way arrive as was decided when they were sent."""
        self.link = self._loss.link = self._jitter.link = link
        self._queue.change(link, now)

    def packet(self, now: int, size: int) -> list[PacketCopy]:
        """What arrives of a packet of `size` bytes (of IP) that is sent now: one copy, none, or two."""
        if self.link.mtu and size > self.link.mtu:
            return []
        return self._sent(self._queue.leaves(now, size))

    def _sent(self, ready: int | None) -> list[PacketCopy]:
        """What arrives of a packet that leaves at `ready`; None: it found no room in the queue."""
        link = self.link
        if ready is None or self._loss.lost():
            return []
        rng = self._rng
        corrupt = bool(link.corrupt) and rng.random() < link.corrupt
        copies = 2 if link.duplicate and rng.random() < link.duplicate else 1
        return [PacketCopy(self._arrives(ready), corrupt) for _ in range(copies)]

    def _arrives(self, ready: int) -> int:
        """When a copy arrives that left at `ready`; draws for it, so this is called once for each."""
        link, base = self.link, self._base
        if link.reorder and self._rng.random() < link.reorder:
            return ready + base
        if not link.jitter:
            return ready + base + link.delay
        at = ready + max(base, base + link.delay + self._jitter.deviation())
        if link.ordered:
            self._last = at = max(at, self._last)
        return at

"""When a packet's last byte leaves a link of limited rate, and which packets the full queue drops. Pure.

FIFO, one packet at a time, in exact arithmetic: in any interval the link passes at most what its rate allows plus one
packet (the one that ends as the interval begins). A new rate applies to packets that arrive from then on; waiting
packets keep their departure times, so no packet overtakes another.

With `deliveries` a packet leaves at the next opportunity that has enough bytes left, or over several; an opportunity's
unused bytes are lost when no packet waited for it (mm-link(1)).
"""

from bisect import bisect_left
from collections import deque

from lab.links.values import OPPORTUNITY, Link, QueueLimit
from overlay.env import MILLISECOND

__all__ = ["DEFAULT_DELIVERY_QUEUE", "DEFAULT_QUEUE", "SendQueue"]

DEFAULT_QUEUE = QueueLimit(time=100 * MILLISECOND)
"""Queue length for a rate."""
DEFAULT_DELIVERY_QUEUE = QueueLimit(bytes=100 * OPPORTUNITY)
"""Queue length for deliveries, which may have long pauses."""
_BIT = 8_000_000_000
"""Nanoseconds times bits per second, for one byte."""


class SendQueue:
    """The send queue of one direction."""

    __slots__ = ("_limit", "_part", "_place", "_room", "_since", "_waiting", "_waiting_bytes", "busy_until", "link")

    def __init__(self, link: Link) -> None:
        self.busy_until = 0
        """When the last accepted packet has left."""
        self._part = 0
        """The remainder of `busy_until`, in 1/rate nanoseconds."""
        self._since = 0
        """When the deliveries began."""
        self._place, self._room = -1, 0
        """The last opportunity used, counted over all periods, and its remaining bytes."""
        self._waiting: deque[tuple[int, int]] = deque()
        """(departure time, bytes)."""
        self._waiting_bytes = 0
        self.link = link
        self.change(link, 0)

    def change(self, link: Link, now: int) -> None:
        """Use another link from now on; waiting packets keep their departure times."""
        before, self.link = self.link.deliveries, link
        self._limit = link.queue or (DEFAULT_DELIVERY_QUEUE if link.deliveries is not None else DEFAULT_QUEUE)
        self._part = 0
        if link.deliveries is not before:
            self._since, self._place, self._room = now, -1, 0

    def leaves(self, now: int, size: int, *, waits: bool = False) -> int | None:
        """When a packet of `size` bytes that arrives now has left; None: it is dropped or never leaves. `waits`: accept
        it even if the queue is full.

        Packets arrive in time order.
        """
        link = self.link
        if not link.rate and link.deliveries is None:
            return now if now >= self.busy_until else self.busy_until
        if (not waits and self._full(now, size)) or not self._send(now, size):
            return None
        if self._limit.bytes:
            self._waiting.append((self.busy_until, size))
            self._waiting_bytes += size
        return self.busy_until

    def would_leave(self, now: int, size: int) -> int | None:
        """Like `leaves` with `waits`, but the packet takes no place in the queue: a later one may leave before it."""
        if not self.link.rate and self.link.deliveries is None:
            return now if now >= self.busy_until else self.busy_until
        kept = self.busy_until, self._part, self._place, self._room
        found = self.busy_until if self._send(now, size) else None
        self.busy_until, self._part, self._place, self._room = kept
        return found

    def _send(self, now: int, size: int) -> bool:
        """Advance `busy_until` to the departure of this packet; False: it never leaves."""
        if self.link.deliveries is not None:
            return self._take(max(now, self.busy_until), size)
        if now > self.busy_until:
            self.busy_until, self._part = now, 0
        whole, self._part = divmod(size * _BIT + self._part, self.link.rate)
        self.busy_until += whole
        return True

    def passes(self, now: int, size: int) -> bool:
        """Whether `size` bytes that arrive now ever leave: not if the trace ends first."""
        deliveries = self.link.deliveries
        if deliveries is None or deliveries.period:
            return True
        first = self._first(max(now, self.busy_until))
        return first is not None and (len(deliveries.times) - max(first, self._place + 1)) * OPPORTUNITY >= size

    def _full(self, now: int, size: int) -> bool:
        limit = self._limit
        if not limit.bytes:
            return self.busy_until - now > limit.time
        while self._waiting and self._waiting[0][0] <= now:
            self._waiting_bytes -= self._waiting.popleft()[1]
        return bool(self._waiting) and self._waiting_bytes + size > limit.bytes

    def _take(self, start: int, size: int) -> bool:
        """Use opportunities from `start` on for one packet; False: too few are left."""
        if not self._room or self._when(self._place) < start:
            first = self._first(start)
            if first is None or not self._open(max(first, self._place + 1)):
                return False
        while size > self._room:
            size -= self._room
            if not self._open(self._place + 1):
                return False
        self._room -= size
        self.busy_until = self._when(self._place)
        return True

    def _open(self, place: int) -> bool:
        """Start using an opportunity; False: it does not exist."""
        there = self._when(place) >= 0
        self._place, self._room = place, OPPORTUNITY if there else 0
        return there

    def _when(self, place: int) -> int:
        """The time of an opportunity; -1: it does not exist."""
        deliveries = self.link.deliveries
        assert deliveries is not None
        turn, index = divmod(place, len(deliveries.times))
        if turn and not deliveries.period:
            return -1
        return self._since + turn * deliveries.period + deliveries.times[index]

    def _first(self, start: int) -> int | None:
        """The first opportunity at or after `start`."""
        deliveries = self.link.deliveries
        assert deliveries is not None
        elapsed = max(0, start - self._since)
        turn = elapsed // deliveries.period if deliveries.period else 0
        index = bisect_left(deliveries.times, elapsed - turn * deliveries.period)
        if index == len(deliveries.times):
            if not deliveries.period:
                return None
            turn, index = turn + 1, 0
        return turn * len(deliveries.times) + index

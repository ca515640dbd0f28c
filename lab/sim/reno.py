"""TCP Reno, one direction of a connection: what the sender sends and resends, what the receiver answers. Pure.

RFC 5681 (slow start, congestion avoidance, fast retransmit and recovery) with the scoreboard of RFC 6675 in the place
of RFC 6582's partial acknowledgements, because every kernel has SACK; RFC 6298 for the retransmission timer; RFC 6928
for the initial window. Where Linux's `reno` differs it is followed: the window grows by what was acknowledged, not by
acknowledgements, and the timer is never less than 200 ms above the round trip. Left out: RACK's clock, tail loss
probes, F-RTO and pacing; so the last segments of a burst wait for the timer where Linux would probe first.

Bytes are counted, the window in segments. Integer arithmetic; no clock, no randomness.
"""

from collections import deque
from typing import Final, NamedTuple

from overlay.env import MILLISECOND, SECOND

__all__ = [
    "HEADERS",
    "INITIAL_WINDOW",
    "MSS",
    "RECEIVE_WINDOW",
    "Acknowledgement",
    "RenoReceiver",
    "RenoSender",
    "Segment",
]

MSS: Final = 1448
"""Bytes of a full segment on Ethernet."""
HEADERS: Final = 52
"""Bytes of IPv4, TCP and its timestamps around a segment; an acknowledgement is that alone."""
INITIAL_WINDOW: Final = 10
RECEIVE_WINDOW: Final = 6 << 20
"""Bytes under way at most: the largest receive buffer of Linux (`net.ipv4.tcp_rmem`)."""
RTO_LEAST: Final = 200 * MILLISECOND
RTO_FIRST: Final = 1 * SECOND
RTO_MOST: Final = 120 * SECOND
DELAYED_ACK: Final = 40 * MILLISECOND
_DUPLICATES: Final = 3
_ENDLESS: Final = 1 << 30


class Segment(NamedTuple):
    """One segment to send: its first byte, its size, and its send time (timestamp)."""

    start: int
    size: int
    sent: int


class Acknowledgement(NamedTuple):
    """All bytes before `next` have arrived, and the segment that begins at `selected`; `echo` is its timestamp."""

    next: int
    selected: int
    echo: int


class _Flight:
    """An unacknowledged segment."""

    __slots__ = ("lost", "number", "passed", "selected", "size", "start")

    def __init__(self, start: int, size: int, number: int) -> None:
        self.start = start
        self.size = size
        self.number = number
        """Transmission number, counted over all segments."""
        self.passed = 0
        """Number of segments sent later that have arrived."""
        self.selected = False
        self.lost = False
        """Considered lost, and not retransmitted since."""


class RenoSender:
    """Written data, data in flight, and the congestion window."""

    __slots__ = (
        "_backoff", "_burst", "_credit", "_deviation", "_flights", "_idle_since", "_largest", "_numbers", "_recover",
        "_smoothed", "acknowledged", "deadline", "losses", "next", "pipe", "sent", "threshold", "timeouts",
        "window", "written",
    )  # fmt: skip

    def __init__(self, trip: int = 0, largest: int = MSS) -> None:
        """`trip`: the handshake's round trip, in nanoseconds; 0: unknown. `largest`: the maximum segment size."""
        self._largest = largest
        self.written = 0
        self.next = 0
        """The first byte that was never sent."""
        self.acknowledged = 0
        self.window = INITIAL_WINDOW
        self.threshold = _ENDLESS
        self.pipe = 0
        """Segments considered in flight."""
        self.deadline: int | None = None
        """When the retransmission timer fires; None: it is off."""
        self.sent = self.losses = self.timeouts = 0
        """Segments sent, segments considered lost, and timeouts."""
        self._flights: deque[_Flight] = deque()
        self._numbers = 0
        self._credit = 0
        """Segments acknowledged since the window grew by one, in congestion avoidance."""
        self._recover = -1
        """Recovery ends when this byte is acknowledged; -1: there is none."""
        self._burst = False
        """The timer has fired: the window grows by slow start although losses are repaired."""
        self._smoothed = self._deviation = 0
        self._backoff = 0
        self._idle_since = 0
        if trip:
            self._measured(trip)

    @property
    def idle(self) -> bool:
        """All written data is acknowledged."""
        return self.acknowledged == self.written

    @property
    def timer(self) -> int:
        """The retransmission timeout."""
        base = self._smoothed + max(RTO_LEAST, 4 * self._deviation) if self._smoothed else RTO_FIRST
        return min(base << self._backoff, RTO_MOST)

    def write(self, size: int, now: int) -> None:
        """Write this many more bytes."""
        if self.idle and self.window > INITIAL_WINDOW and now - self._idle_since > self.timer:
            self.window = INITIAL_WINDOW  # RFC 2861: the path's state is unknown after an idle time
        self.written += size

    def segments(self, now: int) -> list[Segment]:
        """The segments that may be sent now, in order."""
        out: list[Segment] = []
        if self._recover >= 0:
            for flight in self._flights:
                if self.pipe >= self.window:
                    break
                if flight.lost:
                    flight.lost, flight.passed = False, 0
                    out.append(self._leaves(flight, now))
        while self.pipe < self.window and self.next < self.written:
            size = min(self._largest, self.written - self.next)
            if self.next + size - self.acknowledged > RECEIVE_WINDOW:
                break
            flight = _Flight(self.next, size, 0)
            self._flights.append(flight)
            self.next += size
            out.append(self._leaves(flight, now))
        if out and self.deadline is None:
            self.deadline = now + self.timer
        return out

    def _leaves(self, flight: _Flight, now: int) -> Segment:
        self._numbers += 1
        self.sent += 1
        self.pipe += 1
        flight.number = self._numbers
        return Segment(flight.start, flight.size, now)

    def heard(self, ack: Acknowledgement, now: int) -> None:
        """An acknowledgement arrived."""
        limited = self.pipe >= self.window
        whole = self._arrived(ack)
        newest = self._select(ack)
        if whole or newest:
            self._measured(max(1, now - ack.echo))
            self._pass(newest)
        if whole:
            self._backoff = 0
            self.deadline = now + self.timer if self._flights else None
            if not self._flights:
                self._idle_since = now
        if self._recover >= 0:
            if self.acknowledged > self._recover:
                self._recover, self._burst, self._credit = -1, False, 0
                self.window = max(2, min(self.window, self.threshold))
            elif self._burst and whole:
                self._grow(whole)
        elif whole and limited:
            self._grow(whole)

    def _arrived(self, ack: Acknowledgement) -> int:
        """Remove acknowledged segments; returns their number."""
        whole = 0
        flights = self._flights
        while flights and flights[0].start + flights[0].size <= ack.next:
            flight = flights.popleft()
            whole += 1
            if not flight.selected:
                if not flight.lost:
                    self.pipe -= 1
                self._pass(flight.number)
        self.acknowledged = max(self.acknowledged, ack.next)
        return whole

    def _select(self, ack: Acknowledgement) -> int:
        """Mark a segment that arrived out of order; returns its transmission number, 0 if it was marked already."""
        if ack.selected < ack.next:
            return 0
        for flight in self._flights:
            if flight.start == ack.selected and not flight.selected:
                flight.selected = True
                if not flight.lost:
                    self.pipe -= 1
                flight.lost = False
                return flight.number
        return 0

    def _pass(self, number: int) -> None:
        """The segment with this transmission number arrived: missing segments that were sent before it may be lost."""
        if not number:
            return
        for flight in self._flights:
            if flight.selected or flight.lost or flight.number > number:
                continue
            flight.passed += 1
            if flight.passed >= _DUPLICATES:
                flight.lost = True
                self.pipe -= 1
                self.losses += 1
                self._reduce()

    def _reduce(self) -> None:
        """A loss: halve the window, once until all data in flight at that time is acknowledged."""
        if self._recover >= 0:
            return
        self._recover = self.next - 1
        self.window = self.threshold = max(2, min(self.window, len(self._flights)) // 2)
        self._credit = 0

    def _grow(self, whole: int) -> None:
        if self.window < self.threshold:
            step = min(whole, self.threshold - self.window)
            self.window += step
            whole -= step
        self._credit += whole
        if self._credit >= self.window:
            self.window += self._credit // self.window
            self._credit = 0

    def _measured(self, trip: int) -> None:
        if not self._smoothed:
            self._smoothed, self._deviation = trip, trip // 2
            return
        self._deviation += (abs(self._smoothed - trip) - self._deviation) // 4
        self._smoothed += (trip - self._smoothed) // 8

    def timed_out(self, now: int) -> None:
        """The timer fired: everything unacknowledged counts as lost."""
        if not self._flights:
            self.deadline = None
            return
        self.timeouts += 1
        if not self._backoff:
            self.threshold = max(2, min(self.window, len(self._flights)) // 2)
        self.window, self._credit = 1, 0
        self._recover, self._burst = self.next - 1, True
        for flight in self._flights:
            if not flight.selected and not flight.lost:
                flight.lost = True
                self.pipe -= 1
                self.losses += 1
        self._backoff = min(self._backoff + 1, 10)
        self.deadline = now + self.timer


class RenoReceiver:
    """Received data, in order and out of order."""

    __slots__ = ("_apart", "_held", "_largest", "deadline", "next")

    def __init__(self, largest: int = MSS) -> None:
        self._largest = largest
        self.next = 0
        """The first byte that is missing."""
        self.deadline: int | None = None
        """When a delayed acknowledgement is due."""
        self._apart: dict[int, int] = {}
        """Beginning -> size of segments that arrived before others."""
        self._held: Acknowledgement | None = None

    def heard(self, segment: Segment, now: int) -> Acknowledgement | None:
        """A segment arrives; returns the acknowledgement to send at once.

        The first full segment after an acknowledgement may wait for a second one (RFC 5681); a short segment ends a
        write and is acknowledged at once, as Linux does in an interactive exchange.
        """
        missing = bool(self._apart)
        if segment.start > self.next:
            self._apart.setdefault(segment.start, segment.size)
            missing = True
        elif segment.start + segment.size > self.next:
            self.next = segment.start + segment.size
            while (size := self._apart.pop(self.next, None)) is not None:
                self.next += size
        else:
            missing = True
        answer = Acknowledgement(self.next, segment.start, segment.sent)
        if not missing and segment.size == self._largest and self._held is None:
            self._held, self.deadline = answer, now + DELAYED_ACK
            return None
        if self._held is not None and not missing:
            answer = Acknowledgement(self.next, segment.start, self._held.echo)  # RFC 7323: the older one's timestamp
        self._held = self.deadline = None
        return answer

    def due(self) -> Acknowledgement | None:
        """The delayed acknowledgement, which is now due."""
        held, self._held, self.deadline = self._held, None, None
        return held

"""One direction of a simulated TCP connection whose packets are sent one by one: `lab.sim.reno` on a scheduler.

Owns the timers and the written messages, each delivered when all its bytes have arrived. The owner transports packets
to the other side; it does not hand over lost packets.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from lab.sim.reno import HEADERS, MSS, Acknowledgement, RenoReceiver, RenoSender, Segment
from lab.sim.scheduler import Scheduler
from overlay.env import SECOND

__all__ = ["USER_TIMEOUT", "PacketSender", "TcpFlow"]

USER_TIMEOUT = 10 * SECOND
"""TCP_USER_TIMEOUT of the daemon (`overlay.runtime.tcp`)."""

PacketSender = Callable[[int, Callable[[Any], None], Any], None]
"""(IP bytes, callback, argument): send a packet now; the callback runs when it arrives, if it does."""


class TcpFlow:
    """One side's writes and the other side's reads."""

    __slots__ = (
        "_ack_armed",
        "_acks",
        "_armed",
        "_data",
        "_deliver",
        "_failed",
        "_messages",
        "_progress",
        "_scheduler",
        "open",
        "receiver",
        "sender",
    )  # fmt: skip

    def __init__(
        self,
        scheduler: Scheduler,
        trip: int,
        data: PacketSender,
        acks: PacketSender,
        deliver: Callable[[Any, int], None],
        failed: Callable[[], None],
        largest: int = MSS,
    ) -> None:
        """`deliver` gets each message with its size, in order; `failed` is called when nothing was acknowledged for
        `USER_TIMEOUT`. `trip`: the round trip of the handshake."""
        self.sender = RenoSender(trip, largest)
        self.receiver = RenoReceiver(largest)
        self.open = True
        """False: the flow has ended."""
        self._scheduler = scheduler
        self._data, self._acks = data, acks
        self._deliver, self._failed = deliver, failed
        self._messages: deque[tuple[int, Any, int]] = deque()
        self._armed = self._ack_armed = False
        self._progress = 0
        """Time of the last acknowledgement, or of the first write after silence."""

    @property
    def idle(self) -> bool:
        """All written data is acknowledged."""
        return self.sender.idle

    def write(self, message: Any, size: int) -> None:
        """Write one message after the others."""
        now = self._scheduler.now
        if self.sender.idle:
            self._progress = now
        self.sender.write(max(1, size), now)
        self._messages.append((self.sender.written, message, size))
        self._pump()

    def end(self) -> None:
        """Stop: packets in flight do not arrive."""
        self.open = False
        self._messages.clear()

    def unheard(self, segment: Segment) -> bool:
        """Whether an arriving segment has bytes that were not received before."""
        return segment.start + segment.size > self.receiver.next

    def _pump(self) -> None:
        for segment in self.sender.segments(self._scheduler.now):
            self._data(segment.size + HEADERS, self._arrives, segment)
        if not self._armed and self.sender.deadline is not None:
            self._armed = True
            self._scheduler.at(self.sender.deadline, self._timer)

    def _arrives(self, segment: Segment) -> None:
        """A segment arrives at the receiver."""
        if not self.open:
            return
        receiver = self.receiver
        answer = receiver.heard(segment, self._scheduler.now)
        if answer is not None:
            self._acks(HEADERS, self._answered, answer)
        elif not self._ack_armed and receiver.deadline is not None:
            self._ack_armed = True
            self._scheduler.at(receiver.deadline, self._ack_timer)
        while self._messages and self._messages[0][0] <= receiver.next:
            _, message, size = self._messages.popleft()
            self._deliver(message, size)

    def _ack_timer(self) -> None:
        self._ack_armed = False
        due = self.receiver.deadline
        if not self.open or due is None:
            return
        if due > self._scheduler.now:
            self._ack_armed = True
            self._scheduler.at(due, self._ack_timer)
        elif (answer := self.receiver.due()) is not None:
            self._acks(HEADERS, self._answered, answer)

    def _answered(self, answer: Acknowledgement) -> None:
        """An acknowledgement arrives at the sender."""
        if not self.open:
            return
        if answer.next > self.sender.acknowledged:
            self._progress = self._scheduler.now
        self.sender.heard(answer, self._scheduler.now)
        self._pump()

    def _timer(self) -> None:
        self._armed = False
        sender, now = self.sender, self._scheduler.now
        if not self.open or sender.deadline is None:
            return
        if sender.deadline <= now:
            if now - self._progress >= USER_TIMEOUT:
                self.end()
                self._failed()
                return
            sender.timed_out(now)
            if sender.deadline is not None:
                sender.deadline = min(sender.deadline, max(now + 1, self._progress + USER_TIMEOUT))
            self._pump()
        if not self._armed and sender.deadline is not None:
            self._armed = True
            self._scheduler.at(sender.deadline, self._timer)

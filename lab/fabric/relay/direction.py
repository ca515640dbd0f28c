"""One direction of a pair in the relay: its model and its counters. Pure.

Owns the counters. `lab.links.model` alone decides which packets are lost, and when the others leave.
"""

from lab.fabric.relay.orders import DirectionCounts
from lab.links import Link
from lab.links.model import DirectionModel, PacketCopy
from overlay.env import Random

__all__ = ["RelayedDirection", "Sampled"]

_KEPT = 4096


class Sampled:
    """Samples of a period: all of them while they are few, later every second one, every fourth, and so on."""

    __slots__ = ("_every", "_skip", "_values")

    def __init__(self) -> None:
        self._values: list[int] = []
        self._every = 1
        self._skip = 0

    def add(self, value: int) -> None:
        """Add a sample."""
        if self._skip:
            self._skip -= 1
            return
        self._skip = self._every - 1
        self._values.append(value)
        if len(self._values) == _KEPT:
            self._values = self._values[::2]
            self._every *= 2

    def at(self, *percents: int) -> list[int]:
        """The values at these percentiles; 0 without samples."""
        ordered = sorted(self._values)
        if not ordered:
            return [0 for _ in percents]
        return [ordered[min(len(ordered) * percent // 100, len(ordered) - 1)] for percent in percents]


class RelayedDirection:
    """From one host to another."""

    __slots__ = (
        "_bytes", "_corrupted", "_duplicated", "_failed", "_held", "_late", "_lost", "_model", "_packets", "_since",
        "_stopped", "cut", "receiver", "rng", "sender",
    )  # fmt: skip

    def __init__(self, sender: str, receiver: str, seed: int) -> None:
        self.sender, self.receiver = sender, receiver
        self.cut = False
        """The direction is cut."""
        self.rng = Random(f"{seed}/{sender}/{receiver}")
        self._model = DirectionModel(Link(), self.rng)
        self._reset(0)

    def _reset(self, now: int) -> None:
        self._since = now
        self._packets = self._bytes = self._lost = self._duplicated = self._corrupted = self._failed = 0
        self._stopped = 0
        self._held, self._late = Sampled(), Sampled()

    def change(self, link: Link, now: int) -> DirectionCounts | None:
        """Use this link from now on; returns the counters under the previous link, if there was one."""
        done = None if self._model.link.perfect else self.counts(now)
        self._model.change(link, now)
        self._reset(now)
        return done

    @property
    def idle(self) -> bool:
        """Whether it does not change packets, and none are steered here."""
        return self._model.link.perfect

    def packet(self, now: int, size: int) -> list[PacketCopy]:
        """When a packet of `size` bytes that arrives now leaves: one time, none, or several."""
        self._packets += 1
        self._bytes += size
        arrivals = self._model.packet(now, size)
        if len(arrivals) != 1:
            if arrivals:
                self._duplicated += 1
            else:
                self._lost += 1
        return arrivals

    def left(self, came: int, due: int, now: int) -> None:
        """A packet left."""
        self._held.add(now - came)
        self._late.add(now - due)

    def corrupts(self) -> int:
        """Count a corrupted packet; returns a random number that selects the flipped bit."""
        self._corrupted += 1
        return self.rng.getrandbits(32)

    def stopped(self) -> None:
        """Count a packet that was in flight when the direction was cut."""
        self._stopped += 1

    def fails(self) -> None:
        """Count a packet that could not be delivered."""
        self._failed += 1

    def counts(self, now: int) -> DirectionCounts:
        """Counters since the link was set."""
        (held, held_99), (late, late_99) = self._held.at(50, 99), self._late.at(50, 99)
        return DirectionCounts(
            sender=self.sender,
            receiver=self.receiver,
            link=self._model.link,
            since=now - self._since,
            packets=self._packets,
            bytes=self._bytes,
            lost=self._lost,
            duplicated=self._duplicated,
            corrupted=self._corrupted,
            cut=self._stopped,
            failed=self._failed,
            held_p50=held,
            held_p99=held_99,
            late_p50=late,
            late_p99=late_99,
        )

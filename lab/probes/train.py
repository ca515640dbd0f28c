"""A train of datagrams: its loss and its jitter. Pure; real and simulated tries fill it in.

Jitter is the interarrival jitter of RFC 3550 (6.4.1): with D the difference of two packets' one-way times, in the order
of their arrival, J += (|D| - J) / 16. Sender and receiver need no common clock, because only differences count. It is
measured from the prober to the responder; a packet whose reply was lost cannot be distinguished from one that never
arrived, and counts as lost.
"""

from itertools import pairwise

__all__ = ["PacketTrain", "interarrival_jitter"]


def interarrival_jitter(packets: list[tuple[int, int]]) -> int:
    """The jitter of (sent, arrived) pairs in the order of arrival; nanoseconds. 0 for fewer than two."""
    jitter = 0.0
    for (sent, arrived), (later_sent, later_arrived) in pairwise(packets):
        jitter += (abs((later_arrived - arrived) - (later_sent - sent)) - jitter) / 16
    return round(jitter)


class PacketTrain:
    """Packets by their sequence numbers."""

    def __init__(self, packets: int) -> None:
        self.packets = packets
        self._sent: dict[int, int] = {}
        self._back: dict[int, tuple[int, int]] = {}
        """Number -> (arrived there, reply arrived here)."""
        self._duplicates = 0

    @property
    def whole(self) -> bool:
        """Whether every packet was answered."""
        return len(self._back) == self.packets

    @property
    def gone_out(self) -> int:
        """Number of packets sent."""
        return len(self._sent)

    def sent(self, number: int, t: int) -> None:
        """A packet is sent."""
        self._sent[number] = t

    def answered(self, number: int, arrived: int, t: int) -> None:
        """The reply to a packet arrived; `arrived` is the other end's clock."""
        if number not in self._sent:
            return
        if number in self._back:
            self._duplicates += 1
            return
        self._back[number] = (arrived, t)

    def median_trip(self) -> int | None:
        """The median round trip of answered packets."""
        trips = sorted(t - self._sent[number] for number, (_, t) in self._back.items())
        return trips[(len(trips) - 1) // 2] if trips else None

    def measured(self) -> dict[str, int]:
        """For the sample: numbers of packets sent, lost, duplicated and reordered, and the jitter (ns)."""
        arrivals = sorted((arrived, number) for number, (arrived, _) in self._back.items())
        numbers = [number for _, number in arrivals]
        found = {"sent": self.packets, "lost": self.packets - len(self._back)}
        if self._duplicates:
            found["duplicates"] = self._duplicates
        if disorder := sum(later < earlier for earlier, later in pairwise(numbers)):
            found["reordered"] = disorder
        if len(arrivals) > 1:
            found["jitter"] = interarrival_jitter([(self._sent[number], arrived) for arrived, number in arrivals])
        return found

"""A train of datagrams: what was lost of it, and its jitter. Pure; real tries and simulated ones fill it in.

Jitter is the interarrival jitter of RFC 3550 (6.4.1): with D the difference of two packets' one-way times, in the order
of their arrival, J += (|D| - J) / 16. Sender and receiver need no common clock, because only differences count. It is
measured there, from the prober to the one that answers; a packet whose answer was lost on the way back cannot be told
from one that never arrived, and counts as lost.
"""

from itertools import pairwise

__all__ = ["PacketTrain", "interarrival_jitter"]


def interarrival_jitter(packets: list[tuple[int, int]]) -> int:
    """Of (sent, arrived) in the order of arrival; nanoseconds. 0 of less than two."""
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
        """Number -> (arrived there, answered here)."""
        self._duplicates = 0

    @property
    def whole(self) -> bool:
        """Whether every packet was answered."""
        return len(self._back) == self.packets

    @property
    def gone_out(self) -> int:
        """How many were sent."""
        return len(self._sent)

    def sent(self, number: int, t: int) -> None:
        """A packet goes out."""
        self._sent[number] = t

    def answered(self, number: int, arrived: int, t: int) -> None:
        """The answer to a packet is here; `arrived` is what the other end's clock showed."""
        if number not in self._sent:
            return
        if number in self._back:
            self._duplicates += 1
            return
        self._back[number] = (arrived, t)

    def median_trip(self) -> int | None:
        """Of the packets that were answered, from sending to the answer."""
        trips = sorted(t - self._sent[number] for number, (_, t) in self._back.items())
        return trips[(len(trips) - 1) // 2] if trips else None

    def measured(self) -> dict[str, int]:
        """For the sample: how many packets were sent and lost, came twice or out of order, and the jitter (ns)."""
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

"""How payloads spread through a group: copies, hops, first deliveries, redundancy. Pure accounting.

Owns the metrics as papers define them. If n members, including the origin, have a payload and received m copies: RMR
(relative message redundancy) is m / (n - 1) - 1, which is 0 for a tree; the last delivery hop is the maximum number of
hops of a first copy. Hops are counted here (the sender's plus one), not in messages.

Must not know protocols, and decides nothing.
"""

from collections.abc import Iterator

__all__ = ["Dissemination", "PayloadSpread"]


class PayloadSpread:
    """The spread of one payload."""

    __slots__ = ("bytes", "copies", "delivered", "expected", "hops", "id", "origin", "senders", "t")

    def __init__(self, id: str, origin: str, t: int, bytes: int, expected: int) -> None:
        self.id = id
        self.origin = origin
        self.t = t
        self.bytes = bytes
        self.expected = expected
        """Members that ran when it was published: the intended receivers."""
        self.copies = 0
        """Received messages that carry it."""
        self.hops: dict[str, int] = {origin: 0}
        """Member -> hops of the first copy that it received."""
        self.senders: dict[str, str] = {}
        """Member -> the sender of that copy."""
        self.delivered: dict[str, int] = {}
        """Member -> time of delivery to its application."""

    @property
    def rmr(self) -> float | None:
        """Relative message redundancy; None when only the origin has the payload."""
        receivers = len(self.delivered) - (self.origin in self.delivered)
        return self.copies / receivers - 1 if receivers else None

    @property
    def last_hop(self) -> int:
        """The maximum number of hops of a delivery."""
        return max((self.hops.get(host, 0) for host in self.delivered), default=0)

    @property
    def last_delivery(self) -> int:
        """Nanoseconds from publishing to the last delivery."""
        return max(self.delivered.values(), default=self.t) - self.t

    @property
    def reliability(self) -> float:
        """The share of intended receivers that got it."""
        return min(1.0, len(self.delivered) / self.expected) if self.expected else 0.0


class Dissemination:
    """All payloads of a run."""

    def __init__(self) -> None:
        self._payloads: dict[str, PayloadSpread] = {}

    def __iter__(self) -> Iterator[PayloadSpread]:
        return iter(self._payloads.values())

    def __len__(self) -> int:
        return len(self._payloads)

    def published(self, id: str, origin: str, t: int, bytes: int, expected: int) -> bool:
        """A payload is published; False if the id exists already."""
        if id in self._payloads:
            return False
        self._payloads[id] = PayloadSpread(id, origin, t, bytes, expected)
        return True

    def received(self, id: str, host: str, sender: str) -> bool:
        """A member received a copy; True if it is its first. Ignores payloads that nobody published."""
        payload = self._payloads.get(id)
        if payload is None:
            return False
        payload.copies += 1
        if host in payload.hops:
            return False
        payload.hops[host] = payload.hops.get(sender, 0) + 1
        payload.senders[host] = sender
        return True

    def delivered(self, id: str, host: str, t: int) -> PayloadSpread | None:
        """A member's application received it; returns the payload on the first delivery."""
        payload = self._payloads.get(id)
        if payload is None or host in payload.delivered:
            return None
        payload.delivered[host] = t
        return payload

    def figures(self) -> Iterator[tuple[str, float, str]]:
        """(name, value, unit) over all payloads; empty if there are none."""
        payloads = list(self)
        if not payloads:
            return
        yield "payloads", len(payloads), ""
        yield "reliability_mean", _mean([payload.reliability for payload in payloads]), ""
        redundancy = [rmr for payload in payloads if (rmr := payload.rmr) is not None]
        if redundancy:
            yield "rmr_mean", _mean(redundancy), ""
            yield "last_hop_mean", _mean([payload.last_hop for payload in payloads]), "hops"
            yield "last_delivery_mean", _mean([payload.last_delivery for payload in payloads]) / 1e9, "s"


def _mean(values: list[float] | list[int]) -> float:
    return sum(values) / len(values)

"""How payloads spread through a group: copies, hops, first deliveries, redundancy. Pure accounting.

Owns the definitions that papers use. Of a payload that n members have got, its origin among them, and of which m copies
were received: RMR (relative message redundancy) is m / (n - 1) - 1, 0 for a tree; the last delivery hop is the greatest
number of hops of a first copy. Hops are counted here (one more than the sender's), and not in messages.

Must not know protocols, and decides nothing.
"""

from collections.abc import Iterator

__all__ = ["Dissemination", "PayloadSpread"]


class PayloadSpread:
    """One payload's way through the group."""

    __slots__ = ("bytes", "copies", "delivered", "expected", "hops", "id", "origin", "senders", "t")

    def __init__(self, id: str, origin: str, t: int, bytes: int, expected: int) -> None:
        self.id = id
        self.origin = origin
        self.t = t
        self.bytes = bytes
        self.expected = expected
        """Members that ran when it was published: who should get it."""
        self.copies = 0
        """Messages with it that members received."""
        self.hops: dict[str, int] = {origin: 0}
        """Member -> hops of the first copy that it received."""
        self.senders: dict[str, str] = {}
        """Member -> from whom that came."""
        self.delivered: dict[str, int] = {}
        """Member -> when its application got it."""

    @property
    def rmr(self) -> float | None:
        """Relative message redundancy; None when nobody but the origin got it."""
        receivers = len(self.delivered) - (self.origin in self.delivered)
        return self.copies / receivers - 1 if receivers else None

    @property
    def last_hop(self) -> int:
        """The greatest number of hops of a delivery."""
        return max((self.hops.get(host, 0) for host in self.delivered), default=0)

    @property
    def last_delivery(self) -> int:
        """Nanoseconds from publishing to the last delivery."""
        return max(self.delivered.values(), default=self.t) - self.t

    @property
    def reliability(self) -> float:
        """Part of the members that should get it and did."""
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
        """A payload begins its way; False if there is one of this id."""
        if id in self._payloads:
            return False
        self._payloads[id] = PayloadSpread(id, origin, t, bytes, expected)
        return True

    def received(self, id: str, host: str, sender: str) -> bool:
        """A copy has come to a member; True if it is its first. A payload that nobody published counts for nothing."""
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
        """A member's application got it; the payload if for the first time."""
        payload = self._payloads.get(id)
        if payload is None or host in payload.delivered:
            return None
        payload.delivered[host] = t
        return payload

    def figures(self) -> Iterator[tuple[str, float, str]]:
        """(name, value, unit) over all payloads; nothing where there are none."""
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

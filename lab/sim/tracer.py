"""Records the trace of a run: messages, deliveries, edges, views. Pure accumulation.

Owns the rows of the tables of `lab.records.trace`, in the order of events. A run without a trace has no tracer.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lab.protocols.contract import Believe
from lab.sim.dissemination import PayloadSpread
from lab.sim.group import MemberGroup
from overlay.env import SECOND

__all__ = ["Tracer"]

Row = tuple[Any, ...]


class Tracer:
    """The rows of one run."""

    def __init__(self, group: MemberGroup) -> None:
        self.group = group
        """Where payloads and failures are counted."""
        self._messages: dict[tuple[int, str, str, str, str], list[int]] = {}
        self._rows: dict[str, list[Row]] = {name: [] for name in ("deliveries", "edges", "views", "measures")}
        self._edges: dict[tuple[str, str], dict[str, None]] = {}
        """(host, kind) -> the other ends."""

    def sent(self, t: int, sender: str, receiver: str, kind: str, transport: str, size: int) -> None:
        """A message is sent."""
        key = (t - t % SECOND, sender, receiver, kind, transport)
        counts = self._messages.get(key)
        if counts is None:
            counts = self._messages[key] = [0, 0]
        counts[0] += 1
        counts[1] += size

    def delivered(self, t: int, host: str, payload: PayloadSpread) -> None:
        """A payload's first delivery at a member."""
        sender, hops = payload.senders.get(host, ""), payload.hops.get(host, 0)
        self._rows["deliveries"].append((t, payload.id, payload.origin, host, sender, hops, t - payload.t))

    def believes(self, t: int, host: str, belief: Believe) -> None:
        """A member reports a belief."""
        self._rows["views"].append((t, host, len(belief.members), len(belief.suspects), len(belief.neighbours)))
        self.edges(t, host, "neighbour", belief.neighbours)
        self.edges(t, host, "tree", belief.tree)

    def edges(self, t: int, host: str, kind: str, peers: Iterable[str]) -> None:
        """A member's complete set of edges of one kind, from now on."""
        before, now = self._edges.get((host, kind), {}), dict.fromkeys(peers)
        rows = self._rows["edges"]
        rows.extend((t, host, peer, kind, False) for peer in before if peer not in now)
        rows.extend((t, host, peer, kind, True) for peer in now if peer not in before)
        self._edges[host, kind] = now

    def edge(self, t: int, host: str, peer: str, kind: str, *, up: bool) -> None:
        """One edge appears or disappears."""
        known = self._edges.get((host, kind), {})
        if (peer in known) != up:
            self.edges(t, host, kind, (*known, peer) if up else [one for one in known if one != peer])

    def measured(self, t: int, host: str, name: str, value: float) -> None:
        """One of the protocol's own metrics."""
        self._rows["measures"].append((t, host, name, float(value)))

    def ended(self, t: int, host: str) -> None:
        """A member has ended, and so have its edges."""
        self.edges(t, host, "neighbour", ())
        self.edges(t, host, "tree", ())

    def tables(self) -> Mapping[str, Sequence[Row]]:
        """All rows so far."""
        return {
            "messages": [
                (*key, *counts) for key, counts in sorted(self._messages.items(), key=lambda item: item[0][0])
            ],
            "payloads": list(self._payloads()),
            "failures": list(self._failures()),
            **self._rows,
        }

    def _payloads(self) -> Iterator[Row]:
        for one in self.group.payloads:
            counted = (one.bytes, one.expected, len(one.delivered), one.copies)
            yield (one.t, one.id, one.origin, *counted, one.rmr, one.last_hop, one.last_delivery)

    def _failures(self) -> Iterator[Row]:
        for one in self.group.failures:
            times = [None if when is None else when - one.t for when in (one.first, one.removed, one.all)]
            yield (one.t, one.host, one.left, times[0], one.first_by, times[1], times[2])

"""How many tries in a row links that lose packets may be expected to fail. Pure.

On a link without loss one failed try is wrong. On one that loses every fifth packet many fail, and a run says
something only by rows of failures that such a link would hardly ever make by itself. `ExpectedLoss` follows a history
(the scenario's links, and steps that change them) and says for two hosts how long such a row is at least: with the
chance q that a try fails after one that failed, a row of k begins at a given try with a chance of at most q^k, and k is
the least number for which that is below `CHANCE`.

q is taken large rather than small: of bursts and of correlated losses the chance that a packet is lost *after a lost
one* counts, and a try may need as many packets as `_PACKETS` says. What cuts and obstacles do is not the links'.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import ceil, log
from typing import Any

from lab.kinds.probes import protocol_of
from lab.links import Burst, Link
from lab.records.history import Event

__all__ = ["CHANCE", "ExpectedLoss"]

CHANCE = 1e-5
"""Of a row at a given try; a run has thousands of tries."""
_NEVER = 0.99
"""From this chance on nothing can be said of a try that fails."""
_PACKETS = {"icmp": 1, "udp": 1}
"""Protocol -> packets each way on which a try depends; of others (TCP) two, for a handshake and an exchange."""
_LOSSES = ("loss", "loss_correlation", "corrupt")


class ExpectedLoss:
    """The present of a run, moved on by `meta` and `event`."""

    def __init__(self) -> None:
        self._base: dict[tuple[str, str], Link] = {}
        """(sender, receiver) by host, region (`region:eu`) or `*`, as the resolved scenario has them."""
        self._regions: Mapping[str, str] = {}
        self._changes: dict[int, tuple[frozenset[tuple[str, str]], Mapping[str, Any]]] = {}
        """Step -> the directions that it changes, and how."""

    def meta(self, scenario: Mapping[str, Any]) -> None:
        """Begin with the links of a resolved scenario."""
        underlay = scenario.get("underlay") or {}
        self._regions = underlay.get("regions") or {}
        for said in underlay.get("links") or ():
            link = _lossy(Link(), said)
            if "from" in said and "to" in said:
                self._base[str(said["from"]), str(said["to"])] = link

    def event(self, event: Event) -> None:
        """Take an event that may change links, or end such a change."""
        if event.phase == "end":
            self._changes.pop(event.step, None)
        pairs, values = event.detail.get("links"), event.detail.get("change")
        if event.phase != "end" and event.ok is not False and isinstance(pairs, list) and isinstance(values, dict):
            self._changes[event.step] = (frozenset((str(one), str(other)) for one, other in pairs), values)

    def row(self, probe: str, here: str, there: str) -> int | None:
        """Failed tries in a row, between these hosts, that say that something else than the links is wrong: 1 where
        links lose nothing; None where tries fail nearly always."""
        if here == there or not (self._base or self._changes):
            return 1
        packets = _PACKETS.get(protocol_of(probe), 2)
        passes = (1 - self._after_a_loss(here, there)) * (1 - self._after_a_loss(there, here))
        fails = 1 - passes**packets
        if fails >= _NEVER:
            return None
        return 1 if fails == 0 else max(2, ceil(log(CHANCE) / log(fails)))

    def _after_a_loss(self, sender: str, receiver: str) -> float:
        """The chance that a packet is lost after one that was."""
        link = self._link(sender, receiver)
        lost = link.loss + (1 - link.loss) * link.loss_correlation if link.loss else 0.0
        lost = 1 - (1 - lost) * (1 - link.corrupt)
        if link.burst is not None:
            burst = link.burst
            stays = (1 - burst.leave) * burst.bad + burst.leave * burst.good
            lost = 1 - (1 - lost) * (1 - max(stays, burst.good))
        return lost

    def _link(self, sender: str, receiver: str) -> Link:
        ends = [f"region:{self._regions.get(host, '')}" for host in (sender, receiver)]
        found = self._base.get((sender, receiver)) or self._base.get((ends[0], ends[1])) or self._base.get(("*", "*"))
        link = found or Link()
        for pairs, values in self._changes.values():
            if (sender, receiver) in pairs:
                link = _lossy(link, values)
        return link


def _lossy(link: Link, said: Mapping[str, Any]) -> Link:
    """A link with what is said of its losses; anything else of it is of no matter here."""
    numbers: dict[str, Any] = {name: float(said[name]) for name in _LOSSES if isinstance(said.get(name), int | float)}
    link = replace(link, **numbers)
    if "burst" in said:
        burst = said["burst"]
        known = isinstance(burst, Mapping) and "enter" in burst and "leave" in burst
        link = replace(link, burst=Burst(**{key: float(burst[key]) for key in burst}) if known else None)
    return link

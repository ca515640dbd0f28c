"""How many failed tries in a row are normal on lossy links. Pure.

On a link without loss one failed try is wrong. On a link that loses every fifth packet many tries fail, so only a row
of failures that the link would hardly ever cause by itself is significant. `ExpectedLoss` follows a history (the
scenario's links, and steps that change them) and returns the minimum length of such a row for two hosts. If q is the
probability that a try fails after a failed one, a row of k begins at a given try with probability at most q^k; k is the
least number for which that is below `CHANCE`.

q is estimated high: for bursts and correlated losses it uses the probability that a packet is lost *after a lost one*,
and a try may need as many packets as `_PACKETS` says. Partitions and obstacles are not properties of links.
"""

from collections.abc import Mapping
from math import ceil, log
from typing import Any

from lab.kinds.probes import protocol_of
from lab.links import Link, Links
from lab.links.changed_topology import ChangedTopology
from lab.links.changes import ChangedLinks, LinkChange
from lab.links.topology import EdgeChange
from lab.records.history import Event
from lab.scenario.from_json import link_values, links_from_json, topology_from_json

__all__ = ["CHANCE", "ExpectedLoss"]

CHANCE = 1e-5
"""Probability of a row at a given try; a run has thousands of tries."""
_NEVER = 0.99
"""From this probability on a failed try says nothing."""
_PACKETS = {"icmp": 1, "udp": 1}
"""Protocol -> packets each way that a try needs; others (TCP) need two, for a handshake and an exchange."""


class ExpectedLoss:
    """The current links of a run, updated by `meta` and `event`."""

    def __init__(self) -> None:
        self._links = ChangedLinks(Links())
        self._cables: ChangedTopology | None = None
        self._lossless = True
        """No link loses packets unless a step changes it."""

    def meta(self, scenario: Mapping[str, Any]) -> None:
        """Begin with the links of a resolved scenario."""
        underlay = scenario.get("underlay") or {}
        links = links_from_json(underlay.get("links") or (), underlay.get("regions") or {})
        self._links = ChangedLinks(links)
        every = (links.default, *links.pairs.values(), *links.regional.values())
        self._lossless = not any(_after_a_loss(link) for link in every)
        if (topology := underlay.get("topology")) is not None:
            self._cables = ChangedTopology(topology_from_json(topology))

    def event(self, event: Event) -> None:
        """Take an event that may change links, or end such a change."""
        if self._cables is not None and "cable" in event.detail and event.ok is not False:
            self._cable(self._cables, event)
            return
        pairs, values = event.detail.get("links"), event.detail.get("change")
        if pairs is None or values is None or event.ok is False:
            return
        directions = tuple((str(sender), str(receiver)) for sender, receiver in pairs)
        change = None if event.phase == "end" else LinkChange(directions, link_values(values))
        self._links.set(event.step, change)

    def _cable(self, cables: ChangedTopology, event: Event) -> None:
        one, other = map(str, event.detail["cable"])
        values = link_values(event.detail.get("change") or {})
        down, reroute = bool(event.detail.get("down")), not event.detail.get("static")
        change = EdgeChange(((one, other), (other, one)), values, down, reroute)
        cables.set(event.step, None if event.phase == "end" else change)

    def _passes(self, sender: str, receiver: str) -> float:
        """The probability that links do not lose a packet from one host to another."""
        passes = 1 - _after_a_loss(self._links.between(sender, receiver))
        if self._cables is not None:
            for number in self._cables.path(sender, receiver) or ():
                passes *= 1 - _after_a_loss(self._cables.links[number])
        return passes

    def row(self, probe: str, here: str, there: str) -> int | None:
        """Number of failed tries in a row between these hosts that links do not explain: 1 for lossless links; None
        where tries fail nearly always."""
        if here == there or (self._lossless and not self._links.any_changed and self._cables is None):
            return 1
        packets = _PACKETS.get(protocol_of(probe), 2)
        passes = 1.0
        for ends in ((here, there), (there, here)):
            passes *= self._passes(*ends)
        fails = 1 - passes**packets
        if fails >= _NEVER:
            return None
        return 1 if fails == 0 else max(2, ceil(log(CHANCE) / log(fails)))


def _after_a_loss(link: Link) -> float:
    """The probability that a packet is lost after a lost one."""
    lost = link.loss + (1 - link.loss) * link.loss_correlation if link.loss else 0.0
    lost = 1 - (1 - lost) * (1 - link.corrupt)
    if link.burst is not None:
        burst = link.burst
        stays = (1 - burst.leave) * burst.bad + burst.leave * burst.good
        lost = 1 - (1 - lost) * (1 - max(stays, burst.good))
    return lost

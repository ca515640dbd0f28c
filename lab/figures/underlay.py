"""The topology under the hosts: its nodes and cables, places of hosts, broken cables; as text and as a table."""

from collections.abc import Mapping
from typing import Any

from lab.checkers.run import RecordedRun
from lab.figures.told import Told, table
from lab.words import count

__all__ = ["cables_of", "places_of", "underlay"]

Cable = tuple[str, str]


def places_of(run: RecordedRun) -> Mapping[str, list[str]]:
    """Node -> its hosts, for all nodes; empty without a topology."""
    topology = _topology(run)
    found: dict[str, list[str]] = {str(node): [] for node in topology.get("nodes", ())}
    for host, node in (topology.get("places") or {}).items():
        found.setdefault(str(node), []).append(str(host))
    return found


def cables_of(run: RecordedRun) -> dict[Cable, dict[str, Any]]:
    """(node, node) in file order -> the link of one direction, for all pairs of nodes joined by a cable."""
    found: dict[Cable, dict[str, Any]] = {}
    for edge in _topology(run).get("edges", ()):
        ends = str(edge["from"]), str(edge["to"])
        if ends[::-1] not in found:
            found.setdefault(ends, edge)
    return found


def underlay(run: RecordedRun) -> Told | None:
    """The numbers of nodes and cables, and the link properties of each cable."""
    places, cables = places_of(run), cables_of(run)
    if not cables:
        return None
    hosts = sum(map(len, places.values()))
    rows = [
        (*ends, f"{edge.get('delay', 0) / 1e6:g}", edge.get("rate") or "", edge.get("loss") or 0)
        for ends, edge in cables.items()
    ]
    return Told(
        name="underlay",
        title=f"{count(hosts, 'host')} on {count(len(places), 'node')} with {count(len(cables), 'cable')}",
        caption="The topology under the hosts: coloured nodes have hosts, wider cables have higher rates, dashed ones "
        "were down at some time. Distances are of the drawing, not of the map.",
        csv=table(("node", "other", "delay_ms", "rate_bit_s", "loss"), rows),
    )


def _topology(run: RecordedRun) -> Mapping[str, Any]:
    return (run.scenario.get("underlay") or {}).get("topology") or {}

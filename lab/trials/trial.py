"""Defines a trial: a question, the overlays that it applies to, and the scenario that answers it for one overlay.

Pure. Owns what trials may know of an overlay; `playing` plays them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

__all__ = ["Entry", "OverlayFacts", "OverlayTrial", "TrialOutcome", "hosts", "spread"]


class Entry(Struct, frozen=True, kw_only=True):
    """One overlay with its options, as in a scenario."""

    label: str
    kind: str
    options: Mapping[str, bool | int | str] = {}


class OverlayFacts(Struct, frozen=True, kw_only=True):
    """The facts of an overlay that trials adapt to; see `lab.contracts.driver.DriverHello`."""

    name: str
    version: str = ""
    addresses: Literal["chosen", "prefix", "own"] = "chosen"
    carries: Literal["frames", "packets"] = "frames"
    moves: bool = True
    daemon: bool = True


class OverlayTrial(Struct, frozen=True, kw_only=True):
    """One question."""

    name: str
    asks: str
    """The question, as a sentence."""
    steps: Callable[[OverlayFacts], Sequence[Mapping[str, Any]]]
    """The steps after hosts are up, launched and connected."""
    hosts: int = 2
    services: Callable[[OverlayFacts], Mapping[str, Any]]
    probes: Sequence[Mapping[str, Any]] = ({"kind": "http", "every": "200ms"},)
    not_for: Callable[[OverlayFacts], str] = lambda facts: ""
    """Why the trial does not apply to an overlay; empty if it applies."""

    def scenario(self, entry: Entry, facts: OverlayFacts) -> dict[str, Any]:
        """The scenario of this trial for one overlay, as plain data."""
        return {
            "version": 1,
            "name": self.name,
            "overlay": {"kind": entry.kind, "options": dict(entry.options)},
            "underlay": {"hosts": {name: {} for name in hosts(self.hosts)}},
            "services": dict(self.services(facts)),
            "probes": [dict(probe) for probe in self.probes],
            "timeline": [{"launch": "all"}, {"connect": "all"}, *map(dict, self.steps(facts))],
        }


class TrialOutcome(Struct, frozen=True, kw_only=True):
    """The outcome of one trial."""

    trial: str
    asks: str
    verdict: Literal["passed", "failed", "unknown", "n/a"]
    reason: str = ""
    run: str = ""
    """The folder of its last run."""
    took: float = 0.0
    """Seconds of that run."""


def hosts(number: int) -> list[str]:
    """Names of hosts."""
    return [f"host{index}" for index in range(1, number + 1)]


def spread(number: int) -> Callable[[OverlayFacts], Mapping[str, Any]]:
    """A service of `number` containers, spread over the hosts in turn."""
    return lambda facts: {"web": {"image": "ksahnine/dummy-http", "args": ["web"], "replicas": number}}

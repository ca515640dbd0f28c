"""Defines a trial: a question, the overlays that it applies to, and the scenario that answers it for one overlay.

Pure. Owns what trials may know of an overlay; `playing` plays them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

__all__ = ["Entry", "LeagueQuestion", "OverlayFacts", "OverlayTrial", "TrialOutcome", "hosts", "spread"]


class Entry(Struct, frozen=True, kw_only=True):
    """One overlay with its options, as in a scenario."""

    label: str
    kind: str
    options: Mapping[str, bool | int | str] = {}
    backend: str = ""
    """Where it is played; empty: where it runs best."""
    stamp: str = ""
    """A digest of the program behind it, where that is a file: other contents are another overlay."""


class OverlayFacts(Struct, frozen=True, kw_only=True):
    """The facts of an overlay that trials adapt to; see `lab.contracts.driver.DriverHello`."""

    name: str
    version: str = ""
    addresses: Literal["chosen", "prefix", "own"] = "chosen"
    carries: Literal["frames", "packets"] = "frames"
    moves: bool = True
    daemon: bool = True
    leaves: str = ""
    """What of it runs on a host although nothing should; empty: nothing does."""
    routed: bool = True
    """Whether containers have addresses that containers of other hosts reach; else they use published ports."""
    reports: bool = False
    """Whether it can be asked what it believes."""


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

    underlay: Mapping[str, Any] = {}
    """Used instead of `hosts` hosts on one network."""
    before: Sequence[Mapping[str, Any]] = ()
    """What happens before the overlay is launched."""
    connect: Sequence[Mapping[str, Any]] = ({"connect": "all"},)
    """The steps after the launch that connect the hosts."""

    @property
    def size(self) -> int:
        """How many hosts it has."""
        return len(self.underlay.get("hosts", ())) or self.hosts

    def scenario(self, entry: Entry, facts: OverlayFacts) -> dict[str, Any]:
        """The scenario of this trial for one overlay, as plain data."""
        return {
            "version": 1,
            "name": self.name,
            "overlay": {"kind": entry.kind, "options": dict(entry.options)},
            "underlay": dict(self.underlay) or {"hosts": {name: {} for name in hosts(self.hosts)}},
            "services": dict(self.services(facts)),
            "probes": [dict(probe) for probe in self.asked(facts)],
            "timeline": [
                *map(dict, self.before),
                {"launch": "all"},
                *map(dict, self.connect),
                *map(dict, self.steps(facts)),
            ],
        }

    def asked(self, facts: OverlayFacts) -> Sequence[Mapping[str, Any]]:
        """The probes for one overlay: HTTP where containers use published ports, because there is no address for a
        ping."""
        if facts.routed:
            return self.probes
        return [{**probe, "kind": "http"} if probe["kind"] == "icmp" else probe for probe in self.probes]


class LeagueQuestion(OverlayTrial, frozen=True, kw_only=True):
    """A question with an event in it, around which things are measured."""

    measures: tuple[str, ...]
    """Names of `lab.league.measures.MEASURES`."""
    event: str
    """The verb of the step that measuring begins with, the first of that name."""
    since: Literal["start", "end"] = "start"
    """Whether at its start, or when it is over: a cut that is healed."""
    until: Literal["event", "run"] = "run"
    """Where measuring ends: with the event, or with the run."""
    seconds: float
    """How long a run of one repeat takes, about."""
    wrong_for: Callable[[OverlayFacts], str] = lambda facts: ""
    """Why an overlay fails it unasked; empty: it does not."""
    once: Callable[[int], Sequence[Mapping[str, Any]]] = lambda index: ()
    """The steps of one repeat, by its index in its lab, as many for each; they end with a condition that holds when the
    next may begin. None: the start of the lab is what is asked about."""
    rounds: int = 1
    """How many repeats one lab plays at most, one after the other."""
    each: float = 0.0
    """How long each further repeat in one lab takes, about."""
    quiet: bool = False
    """Its hosts are idle nearly all the time, so labs of it may be played side by side."""

    def scenario(self, entry: Entry, facts: OverlayFacts, rounds: int = 1) -> dict[str, Any]:
        """The same question with this number of repeats."""
        plain = super().scenario(entry, facts)
        repeated = [dict(step) for index in range(rounds) for step in self.once(index)]
        return {**plain, "timeline": [*plain["timeline"], *repeated]}


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

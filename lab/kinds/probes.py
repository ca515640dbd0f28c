"""What a probe says of itself, and the registry of probes.

Owns `ProbeKind` and what may be asked about the probe of a record, whose package may be gone by now. Imported by the
agents on hosts: nothing here may import what a scenario is.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lab.kinds.options import KindWithOptions
from lab.registry import Registry
from overlay.compiled_policy import Protocol

if TYPE_CHECKING:
    from lab.contracts.lab import Probe
    from lab.contracts.probe import Attempt, Closable, Poller, SharedByTries, SimulatedTry

__all__ = [
    "PROBES",
    "ProbeKind",
    "asks_name",
    "is_open_loop",
    "ordered_probes",
    "port_of",
    "probes_that",
    "protocol_of",
    "says_reach",
    "title_of",
]


@dataclass(frozen=True, kw_only=True)
class ProbeKind(KindWithOptions):
    """One kind of probe: `probes: [{kind: NAME, …}]`. Each try is sent, and answered or not; its time is measured."""

    title: str
    """In figures and tables: `ICMP echo`."""
    about: str
    """Its line of reference (Markdown): what is sent, and when a try is good."""
    asks: Literal["container", "port", "name"]
    """container: any; port: one whose service has a port; name: a name server, for what stands in `name`."""
    protocol: Protocol
    """What packet filters and policies take it for."""
    attempt: "Callable[[Probe, int, int, SharedByTries], Attempt]"
    """A try on real hosts: (probe, when it was due, its number in this agent, what it shares with others)."""
    simulate: "Callable[[SimulatedTry], None]"
    """A try on simulated hosts: calls one method of what it is given, which does the rest."""
    port: int = 0
    """Where the lab itself answers this probe in the containers that are asked, unless the option `port` says another;
    0: it asks what runs there."""
    serve: "Callable[[Probe, Poller], Closable] | None" = None
    """Begins to answer it, in the namespace of the container; raises `OSError`."""
    open_loop: bool = False
    """A try that is late is sent all the same, and its time counts from when it was due."""
    judges: bool = True
    """Whether its tries say what is reachable; those of a load may fail because there is too much of it."""
    measures: tuple[str, ...] = ()
    """What its tries measure besides success and time: `loss`, `jitter`, `throughput` (`Sample.measured`)."""
    by_default: bool = False
    """It is measured, where it can be, in scenarios without `probes`: `port` where there is one, else `container`."""


PROBES = Registry("probe", ProbeKind, "lab.probes.kinds", first=("http", "icmp", "dns"))
"""Of two that ask the same containers, the earlier one demands more: reports say of pairs what it says."""


def asks_name(probe: str) -> bool:
    """Whether the target of this probe's series is a name, and not a container."""
    kind = PROBES.find(probe)
    return kind is not None and kind.asks == "name"


def says_reach(probe: str) -> bool:
    """Whether this probe asks containers, and its tries say what is reachable."""
    kind = PROBES.find(probe)
    return kind is None or (kind.asks != "name" and kind.judges)


def is_open_loop(probe: str) -> bool:
    """Whether tries of this probe are sent however late."""
    kind = PROBES.find(probe)
    return kind is not None and kind.open_loop


def port_of(probe: str, options: Mapping[str, bool | int | str]) -> int:
    """Where the lab answers this probe; 0: it asks the service's own port."""
    kind = PROBES.find(probe)
    return int(options.get("port", kind.port)) if kind is not None and kind.port else 0


def protocol_of(probe: str) -> Protocol:
    """What policies take this probe for."""
    kind = PROBES.find(probe)
    return kind.protocol if kind is not None else "tcp"


def title_of(probe: str) -> str:
    """What figures and tables call it."""
    kind = PROBES.find(probe)
    return kind.title if kind is not None else probe


def ordered_probes(probes: Iterable[str]) -> list[str]:
    """Each of these once, in the registry's order; those that nobody knows any more last."""
    asked, known = set(probes), PROBES.names()
    return [*(name for name in known if name in asked), *sorted(asked - set(known))]


def probes_that(can: Callable[[ProbeKind], bool]) -> str:
    """The probes that do something, in words: `http or icmp probe`."""
    return f"{' or '.join(kind.name for kind in PROBES if can(kind))} probe"

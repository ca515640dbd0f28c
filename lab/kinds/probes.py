"""The description of a probe, and the registry of probes.

Owns `ProbeKind` and queries about the probe of a record, whose package may no longer be installed. Agents on hosts
import this, so it must not import scenarios.
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
    """Its name in figures and tables: `ICMP echo`."""
    about: str
    """Its line in the reference (Markdown): what it sends, and when a try succeeds."""
    asks: Literal["container", "port", "name"]
    """Possible targets. container: any; port: one whose service has a port; name: a name server, with the name to
    resolve in `name`."""
    protocol: Protocol
    """Its protocol for packet filters and policies."""
    attempt: "Callable[[Probe, int, int, SharedByTries], Attempt]"
    """Creates a try on real hosts: (probe, when it was due, its number in this agent, shared resources)."""
    simulate: "Callable[[SimulatedTry], None]"
    """Makes a try on simulated hosts by calling one method of its argument, which does the rest."""
    port: int = 0
    """Port at which the lab itself answers this probe in the target containers, unless the option `port` overrides it;
    0: the container's own service answers."""
    serve: "Callable[[Probe, Poller], Closable] | None" = None
    """Starts answering it, in the namespace of the container; raises `OSError`."""
    open_loop: bool = False
    """A late try is sent anyway, and its time counts from when it was due."""
    judges: bool = True
    """Whether its tries show reachability; those of a load may fail because of overload."""
    measures: tuple[str, ...] = ()
    """What its tries measure besides success and time: `loss`, `jitter`, `throughput` (`Sample.measured`)."""
    by_default: bool = False
    """Whether scenarios without `probes` use it where possible: `port` for services with a port, else `container`."""


PROBES = Registry("probe", ProbeKind, "lab.probes.kinds", first=("http", "icmp", "dns"))
"""Of two probes of the same containers, the earlier one is stricter: reports use its results for pairs."""


def asks_name(probe: str) -> bool:
    """Whether the target of this probe's series is a name, not a container."""
    kind = PROBES.find(probe)
    return kind is not None and kind.asks == "name"


def says_reach(probe: str) -> bool:
    """Whether this probe targets containers, and its tries show reachability."""
    kind = PROBES.find(probe)
    return kind is None or (kind.asks != "name" and kind.judges)


def is_open_loop(probe: str) -> bool:
    """Whether tries of this probe are sent however late."""
    kind = PROBES.find(probe)
    return kind is not None and kind.open_loop


def port_of(probe: str, options: Mapping[str, bool | int | str]) -> int:
    """The port at which the lab answers this probe; 0: the service's own port is used."""
    kind = PROBES.find(probe)
    return int(options.get("port", kind.port)) if kind is not None and kind.port else 0


def protocol_of(probe: str) -> Protocol:
    """The protocol of this probe for policies."""
    kind = PROBES.find(probe)
    return kind.protocol if kind is not None else "tcp"


def title_of(probe: str) -> str:
    """The name of this probe in figures and tables."""
    kind = PROBES.find(probe)
    return kind.title if kind is not None else probe


def ordered_probes(probes: Iterable[str]) -> list[str]:
    """Each of these once, in the registry's order; unknown ones last."""
    asked, known = set(probes), PROBES.names()
    return [*(name for name in known if name in asked), *sorted(asked - set(known))]


def probes_that(can: Callable[[ProbeKind], bool]) -> str:
    """The probes that satisfy a condition, in words: `http or icmp probe`."""
    return f"{' or '.join(kind.name for kind in PROBES if can(kind))} probe"

"""What an overlay says of itself before it is made on a lab, and the registry of overlays.

Owns `OverlayKind`. What a made overlay does is `lab.contracts.overlay.Overlay`'s. Knows no overlay by name, and does
not import what a scenario is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import TYPE_CHECKING

from lab.kinds.options import KindWithOptions, Options
from lab.registry import Registry
from overlay.ranges import Network

if TYPE_CHECKING:
    from lab.contracts.overlay import OverlayFactory

__all__ = ["DEFAULT", "OVERLAYS", "OverlayKind", "overlays_that", "range_among"]

DEFAULT = "weave"
"""The overlay of a scenario that names none."""


def _no_needs(options: Options) -> Mapping[str, str]:
    return {}


def _as_they_are(options: Options, degree: int) -> Options:
    return options


@dataclass(frozen=True, kw_only=True)
class OverlayKind(KindWithOptions):
    """One kind of overlay: `overlay: {kind: NAME, options: …}`."""

    about: str
    """Its line of reference (Markdown)."""
    make: "OverlayFactory"
    """The overlay on a running lab; nothing is launched yet."""
    has_daemons: bool = False
    """Hosts run a daemon, which can be killed, and can leave and join."""
    has_views: bool = False
    """These daemons tell what they believe, as ours do: topology, ring, names."""
    has_names: bool = False
    """Containers find each other by DNS."""
    verbs: frozenset[str] = frozenset()
    """Steps that not every overlay can do, and this one can: `attach`, `policy` …"""
    default_range: Network | None = None
    """Where it takes addresses from unless its options say otherwise; None: it gives out none."""
    range_of: Callable[[Options], Network | None] = lambda options: None
    """The range of addresses that the options name; None: none, or one that is no range."""
    on_graph: Callable[[Options, int], Options] = _as_they_are
    """The options with which it keeps to the edges of a graph, in which a host has at most so many."""
    needs: Callable[[Options], Mapping[str, str]] = _no_needs
    """What these options need that not every backend's hosts have (`docker-proxy`), each with the words for it."""

    commands: tuple[str, ...] = ()
    """Options that are command lines of a program, whose path counts from the scenario's folder."""
    programs: Mapping[str, str] = field(default_factory=dict)
    """Programs that hosts must have, each with its package of Debian."""

    def can(self, verb: str) -> bool:
        """Whether it does a step that not every overlay can do."""
        return verb in self.verbs


OVERLAYS = Registry("overlay", OverlayKind, "lab.overlays", first=(DEFAULT, "vxlan", "none"))


def overlays_that(can: Callable[[OverlayKind], bool]) -> str:
    """The overlays that can do something, in words: `overlay weave`."""
    return f"overlay {' or '.join(kind.name for kind in OVERLAYS if can(kind))}"


def range_among(options: Options, *keys: str) -> Network | None:
    """The range that the first of these options names; None: none, or one that is no range."""
    for key, value in options.items():
        if key.replace("_", "-") in keys:
            try:
                return ip_network(str(value))
            except ValueError:
                return None
    return None

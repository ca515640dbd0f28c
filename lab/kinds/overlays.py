"""What an overlay says of itself before it is made on a lab, and the registry of overlays.

Owns `OverlayKind`. What a made overlay does is `lab.contracts.overlay.Overlay`'s. Knows no overlay by name, and does
not import what a scenario is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from lab import foreign_code
from lab.errors import LabError
from lab.kinds.options import KindWithOptions, Options
from lab.registry import KindError, Registry
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
    protocol: Any = None
    """The class of `lab.protocols` whose members the hosts run, in simulated hosts only; None: it is no such overlay,
    and has containers."""
    partial: bool = False
    """Its members know a few others only, on purpose."""

    def can(self, verb: str) -> bool:
        """Whether it does a step that not every overlay can do."""
        return verb in self.verbs


class _Overlays(Registry[OverlayKind]):
    """Besides files and entry points it takes `module:Class`, a protocol that the command line allows; an entry point
    may be such a class too."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and bool(foreign_code.allowed(name)))

    def get(self, name: str) -> OverlayKind:
        if not foreign_code.is_code(name):
            return super().get(name)
        if name not in self._loaded:
            try:
                self._loaded[name] = self._adapted(name, foreign_code.import_allowed(name))
            except LabError as error:
                raise KindError(str(error)) from error.__cause__
        return self._loaded[name]

    def package_of(self, name: str) -> str:
        return name if foreign_code.is_code(name) else super().package_of(name)

    def _adapted(self, name: str, found: Any) -> Any:
        if not isinstance(found, type) and not foreign_code.is_code(name):
            return found
        return import_module("lab.overlays._protocol").protocol_kind(name, found)


OVERLAYS: Registry[OverlayKind] = _Overlays("overlay", OverlayKind, "lab.overlays", first=(DEFAULT, "vxlan", "none"))


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

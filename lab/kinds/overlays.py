"""The description of an overlay, available before it is created on a lab, and the registry of overlays.

Owns `OverlayKind`; `lab.contracts.overlay.Overlay` owns what an overlay does. Knows no overlay by name, and does not
import scenarios.
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
"""The default overlay of a scenario."""


def _no_needs(options: Options) -> Mapping[str, str]:
    return {}


def _as_they_are(options: Options, degree: int) -> Options:
    return options


@dataclass(frozen=True, kw_only=True)
class OverlayKind(KindWithOptions):
    """One kind of overlay: `overlay: {kind: NAME, options: …}`."""

    about: str
    """Its line in the reference (Markdown)."""
    make: "OverlayFactory"
    """Creates the overlay on a running lab; nothing is launched yet."""
    has_daemons: bool = False
    """Hosts run a daemon, which can be killed, and can leave and join."""
    has_views: bool = False
    """These daemons report their beliefs, as ours do: topology, ring, names."""
    has_reports: bool = False
    """It can be asked what it believes (`lab.contracts.overlay.Reporting`)."""
    has_names: bool = False
    """Containers find each other by DNS."""
    verbs: frozenset[str] = frozenset()
    """Steps that only some overlays support, and this one does: `attach`, `policy` …"""
    default_range: Network | None = None
    """The default range of addresses; None: it assigns none."""
    range_of: Callable[[Options], Network | None] = lambda options: None
    """The range of addresses in the options; None: missing or invalid."""
    on_graph: Callable[[Options, int], Options] = _as_they_are
    """Options that restrict it to the edges of a graph with this maximum degree."""
    needs: Callable[[Options], Mapping[str, str]] = _no_needs
    """Requirements of these options that not every backend's hosts meet (`docker-proxy`), each with its description."""

    commands: tuple[str, ...] = ()
    """Options that are command lines of a program, whose path is relative to the scenario's folder."""
    programs: Mapping[str, str] = field(default_factory=dict)
    """Programs that hosts need, each with its Debian package."""
    backends: tuple[str, ...] = ()
    """The only backends whose hosts have what it needs, the preferred one first; empty: every backend."""
    variants: Mapping[str, Options] = field(default_factory=dict)
    """Named sets of options, for `lab league`: `weave:sleeve`."""
    protocol: Any = None
    """The class of `lab.protocols` whose members run on the hosts, on simulated hosts only; None: it is not such an
    overlay, and has containers."""
    partial: bool = False
    """Its members know only a few others, by design."""

    def can(self, verb: str) -> bool:
        """Whether it supports a step that only some overlays support."""
        return verb in self.verbs

    def not_on(self, backend: str) -> str:
        """Why the backend refuses it; empty if it is not one that its `backends` exclude."""
        if not self.backends or backend in self.backends:
            return ""
        return f"overlay.kind: hosts of {backend} do not have what {self.name} needs; use {' or '.join(self.backends)}"


class _Overlays(Registry[OverlayKind]):
    """Besides files and entry points it accepts `module:Class`, a protocol that the command line allows; an entry point
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
    """The overlays that satisfy a condition, in words: `overlay weave`."""
    return f"overlay {' or '.join(kind.name for kind in OVERLAYS if can(kind))}"


def range_among(options: Options, *keys: str) -> Network | None:
    """The range in the first of these options; None: missing or invalid."""
    for key, value in options.items():
        if key.replace("_", "-") in keys:
            try:
                return ip_network(str(value))
            except ValueError:
                return None
    return None

"""The registry of one sort of kinds that scenarios or commands name: verbs, overlays, backends, probes, checkers.

A registry has two sources. The lab's own kinds are the modules of one folder: `lab/probes/kinds/icmp.py` is the probe
`icmp`. Kinds of other packages are the entry points of one group: `overlay_lab.probes`. Both yield an object: a module
of the folder its `KIND`, an entry point its target. A kind is imported on first use, and a kind that cannot be imported
affects only its users.

Must not know any kind, nor which sorts exist: the owner of a sort creates its registry.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from lab.errors import LabError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["KindError", "Named", "Registry"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_ATTRIBUTE = "KIND"
"""The name of the kind in a module of the folder."""


class KindError(LabError):
    """No kind has this name, or it cannot be used; the text names its package, and the remedy."""


class Named(Protocol):
    """The interface of every kind."""

    @property
    def name(self) -> str:
        """Its name in a scenario, or after an option."""
        ...


K = TypeVar("K", bound=Named)


class Registry(Generic[K]):
    """The kinds of one sort by name: the lab's own, then those of other packages, each sorted by name."""

    def __init__(self, sort: str, base: type[K], folder: str, *, first: Sequence[str] = ()) -> None:
        """`sort`: the singular (`probe`); `folder`: a package (`lab.probes.kinds`); `first`: names listed first."""
        self.sort = sort
        self.group = f"overlay_lab.{sort}s"
        self._base = base
        self._folder = folder
        self._first = tuple(first)
        self._loaded: dict[str, K] = {}
        self._lacking: set[str] = set()
        """Names that `find` did not find."""

    def names(self) -> tuple[str, ...]:
        """All known names, including those of broken kinds."""
        return tuple(dict.fromkeys([*self._own, *(name for name in self._foreign if _NAME.fullmatch(name))]))

    def __contains__(self, name: object) -> bool:
        return name in self._own or (name in self._foreign and bool(_NAME.fullmatch(str(name))))

    def __iter__(self) -> Iterator[K]:
        """All usable kinds."""
        for name in self.names():
            try:
                yield self.get(name)
            except KindError:
                continue

    def get(self, name: str) -> K:
        """The kind of this name; raises `KindError`."""
        if name not in self._loaded:
            if name not in self:
                raise KindError(f"no {self.sort} named {name!r}, expected one of: {', '.join(self.names())}")
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def find(self, name: str) -> K | None:
        """The kind of this name; None if there is none, or it cannot be used."""
        found = self._loaded.get(name)
        if found is None and name not in self._lacking:
            try:
                found = self.get(name)
            except KindError:
                self._lacking.add(name)
        return found

    def why_not(self, name: str) -> str:
        """Why the kind of this name cannot be used; empty if it can, or if there is none."""
        try:
            if name in self:
                self.get(name)
        except KindError as error:
            return str(error)
        return ""

    def package_of(self, name: str) -> str:
        """The package that adds the kind; empty: it is the lab's own."""
        return "" if name in self._own else _package(self._foreign[name][0])

    def broken(self) -> tuple[str, ...]:
        """A sentence for each unusable kind of another package. Imports all kinds."""
        found = []
        for name in dict.fromkeys([*self.names(), *self._foreign]):
            try:
                if name in self:
                    self.get(name)
                else:
                    self._load(name)
            except KindError as error:
                found.append(str(error))
        return tuple(found)

    @cached_property
    def _own(self) -> tuple[str, ...]:
        spec = find_spec(self._folder)
        places = list(spec.submodule_search_locations or ()) if spec is not None else []
        found = sorted(module.name for module in iter_modules(places) if not module.name.startswith("_"))
        return (*(name for name in self._first if name in found), *(name for name in found if name not in self._first))

    @cached_property
    def _foreign(self) -> dict[str, "list[EntryPoint]"]:
        found: dict[str, list[EntryPoint]] = {}
        for point in sorted(
            _entry_points(tuple(sys.path)).select(group=self.group), key=lambda point: (point.name, _package(point))
        ):
            found.setdefault(point.name, []).append(point)
        return found

    def _load(self, name: str) -> K:
        points = self._foreign.get(name, [])
        if name in self._own:
            if points:
                raise KindError(self._twice(name, ["the lab itself", *map(_told, points)]))
            kind = getattr(import_module(f"{self._folder}.{name}"), _ATTRIBUTE)
            assert isinstance(kind, self._base) and kind.name == name, (self.sort, name)
            return kind
        if len(points) > 1:
            raise KindError(self._twice(name, list(map(_told, points))))
        (point,) = points
        if not _NAME.fullmatch(name):
            raise self._refused(point, "its name is not one", "small letters, digits and _, with a letter first")
        try:
            kind = point.load()
        except (Exception, SystemExit) as error:
            found = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise self._refused(point, f"{point.value} cannot be imported ({found})", self._expected) from error
        kind = self._adapted(name, kind)
        if not isinstance(kind, self._base):
            found = f"the class {kind.__name__}" if isinstance(kind, type) else f"of type {type(kind).__name__}"
            raise self._refused(point, f"{point.value} is {found}", self._expected)
        if kind.name != name:
            raise self._refused(point, f"{point.value} calls itself {kind.name!r}", f"the same name, {name!r}")
        return kind

    def _adapted(self, name: str, found: Any) -> Any:
        """Convert the target of an entry point to a kind, if the sort accepts something simpler."""
        return found

    @property
    def _expected(self) -> str:
        return f"an object of {self._base.__module__}.{self._base.__qualname__}"

    def _refused(self, point: "EntryPoint", found: str, expected: str) -> KindError:
        return KindError(
            f"the {self.sort} {point.name!r} of {_told(point)} cannot be used: {found}, expected {expected} "
            f"(entry points {self.group}); mend the package or uninstall it"
        )

    def _twice(self, name: str, owners: list[str]) -> str:
        return (
            f"the {self.sort} {name!r} is offered by {' and by '.join(owners)}, expected one of them: uninstall others"
        )


@lru_cache(maxsize=1)
def _entry_points(path: tuple[str, ...]) -> Any:
    """All entry points of packages on this path: read once, because one group takes as long as all."""
    from importlib.metadata import entry_points  # slow to import, and few commands need it

    return entry_points()


def _package(point: "EntryPoint") -> str:
    return point.dist.name if point.dist is not None else point.module


def _told(point: "EntryPoint") -> str:
    return f"the package {_package(point)}"

"""Lets imports use the compiled modules, all of them or none. Builds nothing, prints nothing.

None is used if they were built from other sources, if they are switched off, if another user may have put them there,
or if one of the modules is already imported: the compiled and the pure half of a core would not share classes.
"""

import os
import stat
import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

from lab.compiled.parts import MODULES, SWITCH, folder, place

__all__ = ["complete", "in_use", "use"]


class Finder:
    """Finds modules in a flat folder: each has its full name there."""

    def __init__(self, where: Path) -> None:
        suffix = EXTENSION_SUFFIXES[0]
        self._files = {file.name.removesuffix(suffix): str(file) for file in where.glob(f"*{suffix}")}

    def complete(self) -> bool:
        """Whether every module exists."""
        return self._files.keys() >= set(MODULES)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        file = self._files.get(name)
        if file is None:
            return None
        return spec_from_file_location(name, file, loader=ExtensionFileLoader(name, file))


def use() -> bool:
    """From now on imports use the build of these sources; returns whether there is one."""
    if in_use():
        return True
    if os.environ.get(SWITCH) == "0" or any(module in sys.modules for module in MODULES):
        return False
    if not place().is_dir():  # without any build, do not read all sources
        return False
    where = folder()
    finder = Finder(where)
    if not finder.complete() or not _ours([place().parent, place(), where, *where.iterdir()]):
        return False
    sys.meta_path.insert(0, finder)
    return True


def _ours(paths: Sequence[Path]) -> bool:
    """Whether only this user (or root) can have put code there: a cache may be another user's, as under sudo."""
    found = [path.stat() for path in paths]
    return all(one.st_uid in (0, os.geteuid()) and not one.st_mode & stat.S_IWOTH for one in found)


def complete(where: Path) -> bool:
    """Whether this is a complete build."""
    return Finder(where).complete()


def in_use() -> bool:
    """Whether imports use compiled modules."""
    return any(isinstance(finder, Finder) for finder in sys.meta_path)

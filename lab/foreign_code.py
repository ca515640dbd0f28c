"""Which code of a scenario may be imported: only the classes that were named on the command line.

A scenario file is foreign: a class that it names (`overlay: {kind: "ring:Ring"}`) is not looked up unless this process,
or its parent, was told to allow it. Owns that list, which children inherit through the environment, and the import.
"""

import os
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from lab.errors import LabError

__all__ = ["NAME", "allow", "allowed", "import_allowed", "is_code", "words"]

_VARIABLE = "LAB_PROTOCOLS_ALLOWED"
"""Environment variable: the allowed entries, as absolute paths or modules, one per line."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*")
NAME = _NAME.pattern
"""`module:Class`."""


def is_code(name: str) -> bool:
    """Whether a name means a class in a module."""
    return _NAME.fullmatch(name) is not None


def allow(what: str) -> None:
    """Allow `module:Class`, or `path/to/module.py:Class`, whose folder is appended to the module search path."""
    place, _, name = what.rpartition(":")
    path = Path(place)
    if path.suffix == ".py":
        if not path.is_file():
            raise LabError(f"no file {place}, expected FILE.py:Class or MODULE:Class")
        path = path.absolute()
        what = f"{path}:{name}"
        place = path.stem
    if not is_code(f"{place}:{name}"):
        raise LabError(f"found {what!r}, expected FILE.py:Class or MODULE:Class")
    os.environ[_VARIABLE] = "\n".join(dict.fromkeys([*words(), what]))


def words() -> tuple[str, ...]:
    """All allowed entries, in the form that `allow` takes."""
    return tuple(line for line in os.environ.get(_VARIABLE, "").split("\n") if line)


def allowed(name: str) -> str:
    """The entry that allows `module:Class`; empty: there is none."""
    module, _, attribute = name.partition(":")
    for entry in words():
        place, _, given = entry.rpartition(":")
        if given == attribute and (place == module or (place.endswith(".py") and Path(place).stem == module)):
            return entry
    return ""


def import_allowed(name: str) -> Any:
    """The class; raises `LabError` if it is not allowed, or cannot be imported."""
    entry = allowed(name)
    if not entry:
        module, _, attribute = name.partition(":")
        raise LabError(
            f"{name!r} is code, and nobody has allowed this class: if you trust it, add --protocol "
            f"{module}.py:{attribute} (its file) or --protocol {name} (an installed module) to the command"
        )
    place = entry.rpartition(":")[0]
    module, _, attribute = name.partition(":")
    folder = str(Path(place).parent) if place.endswith(".py") else ""
    if folder and folder not in sys.path:
        sys.path.append(folder)  # last, so that it hides no module of Python or of a package
    try:
        loaded = import_module(module)
        found = getattr(loaded, attribute)
    except (Exception, SystemExit) as error:
        said = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise LabError(f"{name!r} cannot be imported ({said})") from error
    if folder and Path(str(getattr(loaded, "__file__", ""))).absolute() != Path(place):
        raise LabError(f"{name!r} is found in {loaded.__file__}, not in {place}: give the file another name")
    return found

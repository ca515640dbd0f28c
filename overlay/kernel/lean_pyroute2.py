"""Makes pyroute2's message modules importable without the tools that its package loads.

`import pyroute2` costs each router 9 MB and each command that uses netlink 0.13 s of processor time, for sockets and
databases that are not used here. This module registers a replacement package with the same modules. It loads the rest
when somebody reads a name that is not a module. Must be imported before all of them; `messages` does that.
"""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__: list[str] = []

_NAME = "pyroute2"


def _stand_in(spec: ModuleSpec) -> ModuleType:
    package = importlib.util.module_from_spec(spec)

    def ask(name: str) -> Any:
        if name.startswith("__") or importlib.util.find_spec(f"{_NAME}.{name}") is not None:
            raise AttributeError(name)  # to get a module, callers import it
        del package.__dict__["__getattr__"]
        assert spec.loader is not None
        spec.loader.exec_module(package)
        return getattr(package, name)

    package.__dict__["__getattr__"] = ask
    return package


if _NAME not in sys.modules and (_spec := importlib.util.find_spec(_NAME)) is not None:
    sys.modules[_NAME] = _stand_in(_spec)

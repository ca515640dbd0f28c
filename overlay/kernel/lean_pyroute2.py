"""Makes pyroute2 importable by its parts: its modules of messages without the tools that its package loads.

`import pyroute2` costs each router 9 MB and each command that asks the kernel 0.13 s of processor time, for sockets
and databases that nothing here uses. So a package stands in its place that has the same modules and reads the rest when
somebody asks it for a name that is no module. To be imported before any of them, which `messages` does.
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
            raise AttributeError(name)  # a caller that wants a module imports it
        del package.__dict__["__getattr__"]
        assert spec.loader is not None
        spec.loader.exec_module(package)
        return getattr(package, name)

    package.__dict__["__getattr__"] = ask
    return package


if _NAME not in sys.modules and (_spec := importlib.util.find_spec(_NAME)) is not None:
    sys.modules[_NAME] = _stand_in(_spec)

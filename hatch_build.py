"""Puts the compiled rows of the tunnel into a wheel, where that is asked for: `OVERLAY_COMPILE=1 pip wheel .`

Without that a wheel holds their source and serves every machine; `python -m overlay.runtime.rows.building` compiles it.
"""

import os
import platform
import sys
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class RowsHook(BuildHookInterface[Any]):
    """See the module."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the files are collected."""
        if os.environ.get("OVERLAY_COMPILE") != "1" or self.target_name != "wheel" or version == "editable":
            return
        sys.path.insert(0, self.root)
        from overlay.runtime.rows.building import build

        made = build()
        build_data["artifacts"].append(f"/{made.relative_to(self.root).as_posix()}")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-linux_{platform.machine()}"

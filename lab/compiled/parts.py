"""Which modules are compiled, where builds are kept, and what they were built from. Builds and loads nothing.

Compiled are the modules in which a world in virtual time spends its time. Excluded are modules that define msgspec
structs (mypyc would lose that they are frozen) and those called only once.
"""

import platform
import sys
from hashlib import sha256
from pathlib import Path

from lab.this_machine import cache

__all__ = ["FOLDER", "MODULES", "SWITCH", "TOP", "folder", "inputs", "place"]

MODULES = (
    *(
        f"overlay.mesh.{name}"
        for name in (
            "admission", "beacons", "connections", "dialler", "discovery", "liveness", "memory", "mesh", "routes",
            "session", "throttle", "topology", "topology_entry",
        )
    ),
    *(
        f"overlay.replicated.{name}"
        for name in ("channel", "gossip", "interned", "numbered", "origin_map", "origin_state", "vectors")
    ),
    *(
        f"overlay.ipam.{name}"
        for name in ("allocator", "holdings", "ipam", "quarantine", "ring", "ring_slot", "space", "universe")
    ),
    *(f"overlay.datapath.{name}" for name in ("announcer", "endpoints", "paths", "plan")),
    *(f"overlay.dns.{name}" for name in ("names", "registry")),
    *(f"overlay.{name}" for name in ("node", "runtime.node_runner", "shares", "timers")),
    *(
        f"lab.sim.{name}"
        for name in (
            "clock", "disk", "machine", "member", "network", "scheduler", "sizes", "streams", "traced_peer", "world",
        )
    ),
)  # fmt: skip
SWITCH = "OVERLAY_LAB_COMPILED"
"""Environment variable: 0 ignores builds."""
TOP = Path(__file__).resolve().parents[2]
"""The directory of the packages."""
FOLDER = "compiled"
_RULES = "1"
"""Part of the hash: increase it when `building` changes its output for the same sources."""


def inputs() -> str:
    """A short name for these sources on this interpreter.

    Constants of modules that are not compiled become part of the code too, so every module that may be imported counts.
    """
    files = [
        *(TOP / "overlay").rglob("*.py"),
        *(path for name in ("sim", "links") for path in (TOP / "lab" / name).glob("*.py")),
    ]
    digest = sha256("\0".join((_RULES, sys.version, platform.machine(), *MODULES)).encode())
    for name, path in sorted((path.relative_to(TOP).as_posix(), path) for path in files):
        digest.update(f"{name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:20]


def place() -> Path:
    """The directory of all builds."""
    return cache() / FOLDER


def folder() -> Path:
    """The directory of the build of these sources, whether or not it exists."""
    return place() / inputs()

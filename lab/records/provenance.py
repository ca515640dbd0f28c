"""`provenance.json`: the origin of a run: code, libraries, kernel tools, machine, load, command, and time.

Owns the file, its fields and how each is found. A history, a table and a figure contain results only; this file
contains their origin, so that the other files of two equal simulated runs are equal to the byte wherever and whenever
they were made. An unavailable fact is null, because a missing program must not stop a run. Knows nothing of scenarios.
"""

import os
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from lab.records.store import replace_file
from lab.this_machine import program
from overlay import __version__
from overlay.clean import clean

__all__ = ["PROVENANCE", "code_facts", "code_identity", "ended", "made_by", "read_provenance", "started"]

PROVENANCE = "provenance.json"
SCHEMA = 1
TOP = Path(__file__).resolve().parents[2]
_PACKAGES = ("overlay", "lab")
_TOOLS: dict[str, tuple[str, ...]] = {
    "ip": ("-V",), "tc": ("-V",), "nft": ("--version",), "wg": ("--version",), "bridge": ("-V",), "ping": ("-V",),
    "dockerd": ("--version",), "git": ("--version",),
}  # fmt: skip
"""Programs that configure or measure networks, and the arguments with which each prints its version."""
_PATIENCE = 10
"""Timeout in seconds for printing a version."""
_LARGEST = 16 << 20
_MOST = 1_000
"""Maximum number of commands recorded for a sweep."""


@lru_cache(maxsize=1)
def code_identity() -> dict[str, str]:
    """Inputs of a virtual-time run besides scenario and seed: Python's version, and a digest of this code."""
    digest = blake2b(digest_size=8)
    for package in _PACKAGES:
        root = TOP / package
        for path in sorted(root.rglob("*.py")):
            digest.update(f"{path.relative_to(root)} ".encode() + path.read_bytes())
    return {"python": platform.python_version(), "code": digest.hexdigest()}


def made_by(*, kernel: bool = True, **facts: Any) -> dict[str, Any]:
    """All facts known before a run begins; `facts` are the caller's own (the scenario's file as typed …). `kernel`:
    the run uses this machine's network, so the versions of the programs that configure it belong to its origin."""
    return {
        "schema": SCHEMA,
        "command": [clean(word) for word in _command()],
        "folder": clean(_folder()),
        **facts,
        "started": _now(),
        "ended": None,
        "code": code_facts(),
        "python": platform.python_version(),
        "libraries": _libraries(),
        "tools": _tools() if kernel else {},
        "machine": _machine(),
        "load": {"before": _load(), "after": None},
    }


def code_facts() -> dict[str, Any]:
    """Version, digest and commit of this code."""
    return {"version": __version__, "digest": code_identity()["code"], **_commit(), "compiled": _compiled()}


def started(folder: Path, *, goes_on: bool = False, kernel: bool = True, **facts: Any) -> dict[str, Any]:
    """Write the provenance of a folder's run before it begins; returns it. Raises `OSError`.

    `goes_on`: many runs together may take several commands, on several days and machines; all are kept (`earlier`).
    `kernel` as in `made_by`.
    """
    found = made_by(kernel=kernel, **facts)
    before = read_provenance(folder) if goes_on else {}
    if before:
        earlier = before.pop("earlier", None)
        found["earlier"] = [*(earlier if isinstance(earlier, list) else ()), before][-_MOST:]
    _write(folder, found)
    return found


def ended(folder: Path) -> None:
    """Add when the run ended and how busy the machine was then. Raises `OSError`."""
    found = read_provenance(folder)
    if found:
        found["ended"] = _now()
        found["peak_memory_bytes"] = 1024 * sum(
            resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        load = found.get("load")
        found["load"] = (load if isinstance(load, dict) else {}) | {"after": _load()}
        _write(folder, found)


def read_provenance(folder: Path) -> dict[str, Any]:
    """The provenance of a folder; empty if there is none that can be read (an older run, a changed file)."""
    path = folder / PROVENANCE
    try:
        if path.stat().st_size > _LARGEST:
            return {}
        found = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(folder: Path, found: Mapping[str, Any]) -> None:
    text = msgspec.json.format(msgspec.json.encode(found)).decode()
    replace_file(folder / PROVENANCE, f"{text}\n".encode())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _command() -> list[str]:
    """The command line as typed, without the interpreter's folder."""
    words = list(sys.argv)
    if words and words[0].endswith(("/lab", "/cli/__main__.py", "/lab/start.py")):
        words[0] = "lab"
    return words


def _folder() -> str:
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return ""


@lru_cache(maxsize=1)
def _commit() -> dict[str, Any]:
    """The commit of a checkout, and whether its files differ from it; nulls for an installed package."""
    nothing: dict[str, Any] = {"commit": None, "dirty": None}
    if not (TOP / ".git").exists():
        return nothing
    git = ("git", "-c", f"safe.directory={TOP}", "-c", "core.fsmonitor=false", "-C", str(TOP))
    commit = _said(*git, "rev-parse", "--verify", "HEAD")
    if commit is None or not re.fullmatch(r"[0-9a-f]{40,64}", commit):
        return nothing
    status = _said(*git, "--no-optional-locks", "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if status is None else bool(status)}


def _compiled() -> bool:
    """Whether the cores imported so far are compiled to machine code (`lab compile`)."""
    found = sys.modules.get("lab.sim.world") or sys.modules.get("overlay.node")
    return found is not None and str(getattr(found, "__file__", "")).endswith(".so")


@lru_cache(maxsize=1)
def _libraries() -> dict[str, str]:
    """Version of every installed library that the lab may import."""
    try:
        asked = metadata.requires("overlay-lab") or []
    except metadata.PackageNotFoundError:
        asked = []
    names = {match[0] for line in asked if (match := re.match(r"[A-Za-z0-9._-]+", line))}
    found: dict[str, str] = {}
    for name in sorted(names, key=str.lower):
        try:
            found[name] = _version(metadata.distribution(name))
        except metadata.PackageNotFoundError:
            continue
    return found


def _version(package: metadata.Distribution) -> str:
    """As `package.version`, without parsing all other fields and the package's README."""
    found = re.search(r"^Version: *(\S+)$", package.read_text("METADATA") or "", re.MULTILINE)
    return found[1] if found else package.version


@lru_cache(maxsize=1)
def _tools() -> dict[str, str | None]:
    """Version line of each program; null if it is not installed."""
    return {name: _said(path, *words) if (path := program(name)) else None for name, words in _TOOLS.items()}


@lru_cache(maxsize=1)
def _machine() -> dict[str, Any]:
    return {
        "system": platform.system(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "usable_cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def _processor() -> str | None:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    match = re.search(r"^(?:model name|Model|cpu model|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
    return clean(match[1].strip()) if match else None


def _load() -> list[float]:
    return [round(value, 2) for value in os.getloadavg()]


def _said(*command: str) -> str | None:
    """The first line that a program prints (all lines of a status); None if it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL,
                              timeout=_PATIENCE, check=False)  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    if done.returncode:
        return None
    lines = (done.stdout or done.stderr).strip().splitlines()
    return clean(lines[0].strip()) if lines else ""

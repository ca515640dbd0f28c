"""Preparation of a router or proxy that runs in a container: find the host's files and its variant of iptables.

Owns no state; `overlay.cli.container` creates such a container.
"""

import logging
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from overlay.kernel.host_files import enter, host_file
from overlay.kernel.packet_tables import Tables

__all__ = ["prepare"]

log = logging.getLogger(__name__)

_ENGINES_CHAIN = ":DOCKER "
_COMMANDS = ("iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore")
_TIMEOUT = 20.0


def prepare(engine: str, shared: Path) -> None:
    """`engine`: the path of its socket; `shared`: a directory with the same path on host and container.

    Raises `EnvironmentProblem`.
    """
    enter(engine, shared)
    if _engine_uses_legacy():
        _prefer_legacy()


def _engine_uses_legacy() -> bool:
    """Whether the engine uses iptables-legacy. The kernel consults both variants, and a packet that one accepts may be
    dropped by the other, so our rules must be in the same one as the engine's."""
    return (
        Tables.has_legacy(4, "filter")
        and _ENGINES_CHAIN in _saved("iptables-legacy-save")
        and _ENGINES_CHAIN not in _saved("iptables-nft-save")
    )


def _prefer_legacy() -> None:
    program = shutil.which("xtables-legacy-multi")
    if program is None:
        log.warning("the engine uses iptables-legacy, which is not here: rules of the two kinds do not know each other")
        return
    folder = Path(tempfile.mkdtemp(prefix="legacy"))
    for command in _COMMANDS:
        (folder / command).symlink_to(program)
    os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
    os.environ["XTABLES_LOCKFILE"] = host_file("/run/xtables.lock")


def _saved(command: str) -> str:
    try:
        done = subprocess.run(
            [command, "-t", "filter"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout

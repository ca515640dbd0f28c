"""Who this peer is: its nickname, and its name, drawn once and kept on disk and in the bridge's MAC ever after."""

import os
import re
import socket
from hashlib import blake2b
from pathlib import Path

from overlay.runtime.disk import Disk
from overlay.stored import understood

__all__ = ["default_nickname", "peer_name"]

_NAME = "identity"
_PEER = re.compile(r"[!-~]{1,64}")


def default_nickname() -> str:
    """The host's name."""
    return socket.gethostname()


def peer_name(disk: Disk, files: dict[str, bytes], asked: str, bridge: str = "") -> str:
    """The name asked for, else the one on disk, else that of the bridge that is there (its MAC; empty:
    none), else a new one: six bytes as in a locally administered MAC."""
    with understood(_NAME):
        stored = files.pop(_NAME, b"").decode()
        if stored and not _PEER.fullmatch(stored):
            raise ValueError(f"{stored!r:.60} is no peer's name")
    name = asked or stored or bridge or _new_name()
    if name != stored:
        disk.persist([(_NAME, name.encode())])
    return name


def _new_name() -> str:
    # The machine and host name alone would be equal on clones; chance alone would do, but for early boots without any.
    parts = [_read("/etc/machine-id"), socket.gethostname().encode(), os.urandom(16)]
    octets = bytearray(blake2b(b"\0".join(parts), digest_size=6).digest())
    octets[0] = octets[0] & 0xFC | 0x02
    return octets.hex(":")


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes().strip()
    except OSError:
        return b""

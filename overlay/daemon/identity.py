"""The identity of this peer: its nickname, and its name, drawn once and kept on disk and as the bridge's MAC."""

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
    """The host name."""
    return socket.gethostname()


def peer_name(disk: Disk, files: dict[str, bytes], asked: str, bridge: str = "") -> str:
    """The requested name, else the name on disk, else the MAC of the existing bridge (`bridge`, empty if there is
    none), else a new name: six bytes in the format of a locally administered MAC."""
    with understood(_NAME):
        stored = files.pop(_NAME, b"").decode()
        if stored and not _PEER.fullmatch(stored):
            raise ValueError(f"{stored!r:.60} is no peer's name")
    name = asked or stored or bridge or _new_name()
    if name != stored:
        disk.persist([(_NAME, name.encode())])
    return name


def _new_name() -> str:
    # Machine id and host name alone are equal on clones. Random bytes alone may be missing early at boot. So use both.
    parts = [_read("/etc/machine-id"), socket.gethostname().encode(), os.urandom(16)]
    octets = bytearray(blake2b(b"\0".join(parts), digest_size=6).digest())
    octets[0] = octets[0] & 0xFC | 0x02
    return octets.hex(":")


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes().strip()
    except OSError:
        return b""

"""Finds the host's files: under their own paths or, in a container, through a process of the host.

Owns the mapping from a path of the host to one that can be opened here. A router's container has the host's pid
namespace, so `/proc/PID/root` of a process outside leads into the host's mount namespace. Later mounts (named network
namespaces) are visible there, and nothing stays mounted that the host has unmounted. Symbolic links on the way are
resolved here, because the kernel would resolve absolute ones from this container's own root.
"""

import errno
import os
import socket
import struct
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from overlay.errors import EnvironmentProblem

__all__ = ["enter", "host_file", "host_socket", "peer_of"]

_MOST_LINKS = 40
_root = ""
"""Empty: the host's files are those of this process."""


def host_file(path: str | Path, *, follow: bool = True) -> str:
    """The path to open for a path of the host; `follow`: resolve a link in its last part too."""
    return _beneath(_root, str(path), follow=follow) if _root else str(path)


def host_socket(path: str) -> str:
    """The path to open for a socket of the host: the current one, else the one that was mounted."""
    found = host_file(path)
    return found if Path(found).exists() else path


def enter(engine: str, shared: Path) -> None:
    """Find the host from within a container, by `shared`, a directory with the same path on both.

    `engine`: the socket of the container engine, which may see other files than the host's first process. Raises
    `EnvironmentProblem`.
    """
    global _root
    wanted = shared.stat()
    own = Path("/").stat()
    for pid in _candidates(engine):
        root = f"/proc/{pid}/root"
        try:
            if os.path.samestat(Path(root).stat(), own):
                continue
            if os.path.samestat(Path(_beneath(root, str(shared), follow=True)).stat(), wanted):
                # Kept open, because the files stay accessible when the process ends.
                held = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                _root = f"/proc/{os.getpid()}/fd/{held}"  # not `self`, because child processes use the path too
                return
        except PermissionError:
            raise EnvironmentProblem(
                f"not allowed to look at {root}: the router's container needs CAP_SYS_PTRACE, and no profile of "
                "AppArmor (`weave launch --in-container` asks for both)"
            ) from None
        except OSError:
            continue
    raise EnvironmentProblem(
        "the host's files are not to be found: the router's container needs the host's processes (--pid=host) and "
        f"{shared} as a volume (`weave launch --in-container` makes it so)"
    )


def peer_of(path: str) -> int:
    """The process that listens on a unix socket, as this process sees it; 0: none, or not visible."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(path)
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            return int(struct.unpack("3i", credentials)[0])
    except OSError:
        return 0


def _candidates(engine: str) -> Iterable[int]:
    yield 1
    if pid := peer_of(engine):
        yield pid


def _beneath(root: str, path: str, *, follow: bool) -> str:
    """The location of `path` in a tree whose `/` is `root`, with all links resolved."""
    waiting = deque(part for part in path.split("/") if part)
    done: list[str] = []
    links = 0
    while waiting:
        part = waiting.popleft()
        if part == "..":
            del done[-1:]
            continue
        if part == ".":
            continue
        here = "/".join((root, *done, part))
        target = _link(here) if waiting or follow else ""
        if not target:
            done.append(part)
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if target.startswith("/"):
            done.clear()
        waiting.extendleft(reversed([each for each in target.split("/") if each]))
    return "/".join((root, *done))


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""

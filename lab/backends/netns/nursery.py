"""The nursery: a small process that forks the first process of every host.

It is a new interpreter with few modules, because a fork copies page tables and each host's first process keeps its
pages: a fork of the preloaded process (`zygote.py`) takes twice the time and memory. It speaks the zygote's protocol.
"""

import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

__all__ = ["become", "serve"]

_START = "from lab.backends.netns.nursery import serve; import sys; serve(int(sys.argv[1]))"


def become(orders: socket.socket) -> NoReturn:
    """Turn the calling process into the nursery, which obeys this socket."""
    os.set_inheritable(orders.fileno(), True)
    path = os.pathsep.join(path for path in sys.path if path and Path(path).is_dir())
    words = [sys.executable, "-P", "-c", _START, str(orders.fileno())]
    os.execve(sys.executable, words, {**os.environ, "PYTHONPATH": path})


def serve(fd: int) -> None:
    """In the new interpreter: fork on request until the other side closes."""
    from lab.backends.netns import zygote

    os.set_inheritable(fd, False)
    zygote.serve(socket.socket(fileno=fd), (), name="lab-nursery")

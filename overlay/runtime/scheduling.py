"""Precedence of the process that carries the tunnel's packets over the processes whose packets it carries.

Owns the scheduling class and the socket buffers that Linux grants. Without either the tunnel works; but one daemon
among many busy processes gets an equal share of the processors and drops what it has no time for, and the flows that
lose share what is left unfairly.
"""

import os
import socket
from contextlib import suppress

__all__ = ["BUFFER", "gain_precedence", "leave_precedence", "refused", "shortcomings", "widen"]

BUFFER = 8 << 20
"""Bytes of each socket's buffers that are asked for: a hundred super-packets with what the kernel counts for them."""

_PRIORITY = 1
"""The lowest of the real-time class: above ordinary processes, below everything that asked for more."""
_NICE = -20
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33
_FORCE = {socket.SO_SNDBUF: _SO_SNDBUFFORCE, socket.SO_RCVBUF: _SO_RCVBUFFORCE}


def gain_precedence() -> str:
    """Ask for the best scheduling that this process may have; returns its name, empty if all was refused.

    Children do not inherit the class. The kernel leaves 5 % of each processor to ordinary processes.
    """
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(_PRIORITY))
        return "round robin"
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
        return f"nice {_NICE}"
    return ""


def leave_precedence() -> None:
    """Be an ordinary process again."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, 0)


def shortcomings(scheduling: str, buffer: int) -> list[str]:
    """What the machine refused, in words: of what `gain_precedence` and `widen` returned."""
    found = [] if scheduling else ["precedence over other processes (CAP_SYS_NICE)"]
    if buffer < BUFFER:
        found.append(f"socket buffers above {buffer >> 10} KiB (net.core.rmem_max)")
    return found


def refused() -> list[str]:
    """What this machine would refuse to a daemon of this user; tried in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                os.write(writing, "\n".join(shortcomings(gain_precedence(), widen(sock, BUFFER))).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as told:
        words = told.read()
    os.waitpid(child, 0)
    return words.splitlines()


def widen(sock: socket.socket, size: int) -> int:
    """Give a socket buffers of `size` bytes both ways, or as many as the kernel allows; returns the receiving one's."""
    for plain, force in _FORCE.items():
        try:
            sock.setsockopt(socket.SOL_SOCKET, force, size)
        except OSError:  # only root of the machine may exceed net.core.rmem_max and wmem_max
            sock.setsockopt(socket.SOL_SOCKET, plain, size)
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2  # the kernel counts its own overhead too

"""When the kernel lets this process run: in time after it woke, and before those whose packets it carries.

Owns the scheduling class, the slices and the socket buffers that Linux grants. Without them the tunnel works; but one
daemon among many busy processes gets an equal share of the processors and drops what it has no time for, and the flows
that lose share what is left unfairly.
"""

import ctypes
import os
import socket
import struct
from contextlib import suppress

__all__ = ["BUFFER", "gain_precedence", "leave_precedence", "refused", "shortcomings", "shorten_slices", "widen"]

BUFFER = 8 << 20
"""Bytes of each socket's buffers that are asked for: a hundred super-packets with what the kernel counts for them."""

_PRIORITY = 1
"""The lowest of the real-time class: above ordinary processes, below everything that asked for more."""
_NICE = -20
_RESET_ON_FORK = 1
_SLICE = 100_000
"""The shortest slice that Linux takes, in nanoseconds."""
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274, "riscv64": 274, "ppc64le": 355, "s390x": 345}
"""Numbers of the system call."""
_ATTRIBUTES = struct.Struct("@IIQiIQQQ")
"""`struct sched_attr`: size, policy, flags, nice, priority, slice, deadline, period."""
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
    """Be an ordinary process again, with short slices."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    shorten_slices()


def shorten_slices() -> bool:
    """Ask for slices of 0.1 ms instead of 1.4 to 3 ms, if this is an ordinary process; returns whether it has them.

    With them Linux (6.12 and later, EEVDF) lets this thread run sooner after it woke. It gets no more of a processor
    than its share. Children do not inherit them.
    """
    number = _SCHED_SETATTR.get(os.uname().machine)
    if number is None or os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK != os.SCHED_OTHER:
        return False  # somebody gave this process another class on purpose
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, os.SCHED_OTHER, _RESET_ON_FORK, nice, 0, _SLICE, 0, 0)
    asked = ctypes.create_string_buffer(attributes)
    return bool(ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), 0, asked, 0) == 0)


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

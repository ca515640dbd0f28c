"""Forking a child into namespaces of its own, or into those of a running container.

Owns the fork itself and what the child has to shed before anything else: descriptors, signal handlers, finalisers of
objects that belong to the parent. The parent may run an event loop, but must have one thread. What the child does
then is its caller's business; it never returns into the parent's code.
"""

import contextlib
import gc
import os
import signal
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

from lab.fabric.syscalls import Clone, pidfd_open, setns, unshare

__all__ = ["CONTAINER", "fork_child", "join"]

CONTAINER = Clone.NEWNS | Clone.NEWUTS | Clone.NEWIPC
"""The kinds that every container has for itself, besides its pid and (mostly) network namespace."""


def fork_child(child: Callable[[], int], *, keep: Iterable[int], pid_namespace_of: int | None = None) -> int:
    """Run `child` in a forked process and return its pid as seen here; its return value is the exit code.

    The child is process 1 of a new pid namespace, or, with `pid_namespace_of` (a pidfd), one more process in the pid
    namespace of that one. One fork does: only the pid namespace *for children* of this process is changed meanwhile,
    so the child is a direct child here and its exit status needs no courier. `keep`: descriptors the child keeps
    besides 0, 1 and 2. Raises OSError.
    """
    home = pidfd_open(os.getpid())
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    pid = -1
    try:
        if pid_namespace_of is None:
            unshare(Clone.NEWPID)
        else:
            setns(pid_namespace_of, Clone.NEWPID)
        try:
            pid = os.fork()
        finally:
            if pid != 0:
                setns(home, Clone.NEWPID)
    finally:
        if pid != 0:
            os.close(home)
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    if pid == 0:
        _run(child, keep)
    return pid


def join(pidfd: int) -> None:
    """Enter all namespaces of a container but the pid namespace, which `fork_child` gave already."""
    setns(pidfd, CONTAINER | Clone.NEWNET)


def _run(child: Callable[[], int], keep: Iterable[int]) -> None:
    """The child's whole life. All signals are still blocked, so no handler of the parent's can run."""
    code = 70
    try:
        # The parent's garbage must not be finalised here: it would close descriptors that by then are someone else's.
        gc.freeze()
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals():
            if number not in (signal.SIGKILL, signal.SIGSTOP) and signal.getsignal(number) is not None:
                signal.signal(number, signal.SIG_DFL)
        kept = {0, 1, 2, *keep}
        for fd in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
            if fd not in kept:
                with contextlib.suppress(OSError):  # the listing's own descriptor is closed already
                    os.close(fd)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        code = child()
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code & 0xFF)

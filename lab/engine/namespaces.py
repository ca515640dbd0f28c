"""Forks a child into its own namespaces, or into those of a running container.

Owns the fork, and resets the child first: descriptors, signal handlers, finalisers of the parent's objects. The parent
may run an event loop, but must have one thread. The caller decides what the child does then; the child never returns
into the parent's code.
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
"""Private namespaces of every container, besides the pid and (mostly) network namespace."""


def fork_child(child: Callable[[], int], *, keep: Iterable[int], pid_namespace_of: int | None = None) -> int:
    """Run `child` in a forked process and return its pid as seen here; its return value is the exit code.

    The child is process 1 of a new pid namespace, or, with `pid_namespace_of` (a pidfd), an additional process in the
    pid namespace of that process. One fork is enough, because only the pid namespace *for children* of this process
    changes meanwhile. So the child is a direct child, and its exit status is available here. `keep`: descriptors the
    child keeps besides 0, 1 and 2. Raises OSError.
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
    """Enter all namespaces of a container except the pid namespace, which `fork_child` has entered already."""
    setns(pidfd, CONTAINER | Clone.NEWNET)


def _run(child: Callable[[], int], keep: Iterable[int]) -> None:
    """The child's entire run. All signals are still blocked, so the parent's handlers cannot run."""
    code = 70
    try:
        # The parent's garbage must not be finalised here, because it would close descriptors that have been reused.
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

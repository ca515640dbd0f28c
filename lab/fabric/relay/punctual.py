"""Wakes up in time: options of Linux that let a process run soon after it becomes ready. Best effort, no errors.

Owns how early to wake up. Root gets a real-time class; an ordinary user gets timers without rounding and short
slices, with which the scheduler prefers a thread that just woke (Linux 6.12 and later).
"""

import contextlib
import ctypes
import os

from overlay.runtime.scheduling import shorten_slices

__all__ = ["Alarm", "be_punctual"]

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_TIMERSLACK = 29
_MOST = 250_000
"""Maximum nanoseconds that a process may wake up early."""
_LEAST = 20_000
_SHARE = 4
"""At most one part in this many of its time may be spent awake without work."""
_SAVED = 5_000_000
"""Maximum nanoseconds of this budget that may be saved."""


class Alarm:
    """Computes when to wake up: as early as recent wake-ups were late, within a budget. Pure."""

    def __init__(self) -> None:
        self._early = 50_000
        """Nanoseconds that a wake-up takes."""
        self._budget = _SAVED
        self._last = self._until = 0
        self._awake = False
        """Whether it has been awake without work since `_last`."""

    def sleep(self, now: int, due: int) -> int:
        """For how many nanoseconds to sleep before something that is due at a time; 0: do not sleep."""
        passed = now - self._last
        self._budget = self._budget - passed if self._awake else min(self._budget + passed // _SHARE, _SAVED)
        self._last, self._awake = now, False
        early = self._early if self._budget > 0 else 0
        if now < due <= now + early:
            self._awake = True
        if due <= now + early:
            return 0
        self._until = due - early
        return self._until - now

    def woke(self, now: int) -> None:
        """The process is awake because its time has come."""
        late = now - self._until
        step = (late - self._early) // 4 if late > self._early else (late - self._early) // 16
        self._early = min(max(self._early + step, _LEAST), _MOST)


def be_punctual() -> str:
    """Request the options that this process may have; returns a description of those it got."""
    _libc.prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1), 0, 0, 0)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
        return "SCHED_FIFO"
    return "short slices" if shorten_slices() else "timer slack"

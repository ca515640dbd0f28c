"""Lab disturbances of one daemon's clock and disk: a wrong or drifting clock, a slow or full disk.

Owns the file that lab and daemon both map, the permission to write it, and the clock and store that follow it. A daemon
uses such a file only if the environment variable `OVERLAY_LAB_DISTURBANCE` names it; it then says so in its log at each
launch. The file must belong to the daemon's own user and must not be writable by others (docs/security.md). Decides
nothing else.

The file holds two states, of which one is valid, so that readers never see a partial write. As a command it changes a
file: `python3 -m overlay.runtime.disturbance FILE clock OFFSET DRIFT` or `… FILE disk LATENCY FULL`.
"""

import errno
import mmap
import os
import stat
import struct
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from overlay.errors import EnvironmentProblem
from overlay.runtime.disk import Disk
from overlay.runtime.loop_clock import LoopClock

__all__ = ["VARIABLE", "Disturbance", "DisturbedDisk", "DisturbedTimers", "disturb_clock", "disturb_disk", "main"]

VARIABLE = "OVERLAY_LAB_DISTURBANCE"
_MAGIC = b"disturb1"
_HEAD = struct.Struct("=8sQ")
_STATE = struct.Struct("=qqqq")
"""Offset (ns), drift (parts per billion), write latency (ns), whether the disk is full."""
_SIZE = _HEAD.size + 2 * _STATE.size
_BILLION = 1_000_000_000
_MOST = 366 * 24 * 3600 * _BILLION
_LOOK = _BILLION // 2
"""Timers notice a change of the clock within this time."""
State = tuple[int, int, int, int]


def _opened(path: Path) -> mmap.mmap:
    """Open the file, or create it. Raises `EnvironmentProblem` if another user could have written it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise EnvironmentProblem(f"{VARIABLE} names {path}, which cannot be opened: {error.strerror}") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise EnvironmentProblem(
                f"{VARIABLE} names {path}, expected a file of this user that nobody else may write: "
                "it is for labs only, so unset the variable"
            )
        if found.st_size < _SIZE:
            os.pwrite(descriptor, _HEAD.pack(_MAGIC, 0) + bytes(2 * _STATE.size), 0)
        mapped = mmap.mmap(descriptor, _SIZE)
    finally:
        os.close(descriptor)
    if mapped[: len(_MAGIC)] != _MAGIC:
        mapped.close()
        raise EnvironmentProblem(f"{VARIABLE} names {path}, which is no such file: unset the variable")
    return mapped


def _read(mapped: mmap.mmap) -> State:
    _, which = _HEAD.unpack_from(mapped)
    offset, drift, latency, full = _STATE.unpack_from(mapped, _HEAD.size + (which & 1) * _STATE.size)
    return offset, max(-_BILLION // 2, min(drift, _BILLION)), max(0, min(latency, 3600 * _BILLION)), full


def _changed(path: Path, change: Callable[[State], State]) -> None:
    mapped = _opened(path)
    try:
        _, which = _HEAD.unpack_from(mapped)
        other = (which & 1) ^ 1
        _STATE.pack_into(mapped, _HEAD.size + other * _STATE.size, *change(_read(mapped)))
        _HEAD.pack_into(mapped, 0, _MAGIC, other)
    finally:
        mapped.close()


def _shown(state: State, time_ns: int) -> int:
    return time_ns + state[0] + time_ns * state[1] // _BILLION


def disturb_clock(path: Path, *, offset: int | None, drift: int) -> None:
    """Set the clock `offset` nanoseconds ahead from now on (None: keep it), with a drift in parts per billion. A clock
    is never set back."""

    def change(state: State) -> State:
        now = time.monotonic_ns()
        ahead = _shown(state, now) - now
        wanted = ahead if offset is None else min(max(offset, ahead), _MOST)
        return wanted - now * drift // _BILLION, drift, *state[2:]

    _changed(path, change)


def disturb_disk(path: Path, *, latency: int, full: bool) -> None:
    """From now on a write takes `latency` nanoseconds, or fails because the disk is full."""
    _changed(path, lambda state: (*state[:2], latency, int(full)))


class Disturbance:
    """The daemon's view of the file, compared at each call with what was read last."""

    def __init__(self, path: Path) -> None:
        """Raises `EnvironmentProblem`."""
        self.path = path
        self._mapped = _opened(path)
        self._latest = 0
        self._seen = self._mapped[:]
        self._known = _read(self._mapped)

    @classmethod
    def named(cls, environment: Mapping[str, str]) -> "Disturbance | None":
        """The disturbance that the environment names; None outside of labs."""
        path = environment.get(VARIABLE)
        return cls(Path(path)) if path else None

    def now(self) -> int:
        """The disturbed monotonic clock; it never goes backwards."""
        offset, drift, _, _ = self._state()
        now = time.monotonic_ns()
        if offset or drift:
            now = _shown(self._known, now)
        if now > self._latest:
            self._latest = now
        return self._latest

    def wall(self) -> int:
        """The time of day, with the same error as the monotonic clock."""
        now = time.monotonic_ns()
        return time.time_ns() + _shown(self._state(), now) - now

    @property
    def latency(self) -> int:
        """Nanoseconds that a write takes."""
        return self._state()[2]

    @property
    def full(self) -> bool:
        """Whether the disk is full."""
        return bool(self._state()[3])

    def _state(self) -> State:
        """What the file says. Unpacked only when its bytes have changed, because the clock is read at every input."""
        seen = self._mapped[:]
        if seen != self._seen:
            self._known, self._seen = _read(self._mapped), seen
        return self._known


class DisturbedTimers(LoopClock):
    """Timers on a clock that may jump and drift: they check the clock in between. A delay is the same on every
    clock."""

    def _wait(self, due: int, action: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.call_after(min(due - self.now(), _LOOK), self._fire, due, action, arguments)

    def _fire(self, due: int, action: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        if self.now() < due:
            self._wait(due, action, arguments)
        else:
            super()._fire(due, action, arguments)


class DisturbedDisk(Disk):
    """A state directory that is slow or full, as the file says."""

    def __init__(self, directory: Path, disturbance: Disturbance) -> None:
        self._disturbance = disturbance
        super().__init__(directory)

    @property
    def latency(self) -> int:  # type: ignore[override]
        """The runner waits this long before it writes, as in the simulator; all output that depends on the write waits
        too."""
        return self._disturbance.latency

    def check_room(self) -> str:
        """See `Disk`."""
        if self._disturbance.full:
            self.full = f"{self.directory} is full ({os.strerror(errno.ENOSPC)}): make room"
            return self.full
        return super().check_room()

    def _write(self, latest: dict[str, bytes]) -> None:
        if self._disturbance.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super()._write(latest)


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    try:
        path, what, first, second = argv
        if what == "clock":
            disturb_clock(Path(path), offset=None if first == "-" else int(first), drift=int(second))
        elif what == "disk":
            disturb_disk(Path(path), latency=int(first), full=bool(int(second)))
        else:
            raise ValueError(what)
    except ValueError:
        print(f"usage: FILE clock OFFSET|- DRIFT, or FILE disk LATENCY 0|1; found {argv}", file=sys.stderr)
        return 2
    except EnvironmentProblem as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

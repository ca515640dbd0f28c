"""One machine that runs all simulated hosts: its CPU cores, and the CPU time per message. Integer arithmetic.

With it, a run includes the delay of a busy machine; without it, only the protocol's own delay. A peer is one thread: it
handles one message at a time. It queues for a core only when it has a message, and gives the core back after each
message, so a peer with a long backlog does not keep a core from others. Owns the queues; must not know who the peers
are or what their messages mean.
"""

from collections import deque
from collections.abc import Callable, Hashable
from typing import Any

from lab.sim.scheduler import Scheduler

__all__ = ["CpuModel"]

Work = tuple[int, Callable[..., None], tuple[Any, ...]]
"""CPU time of a message in nanoseconds of one core, and the callback that gets its arguments after that."""


class CpuModel:
    """`per_message` and `per_byte` in nanoseconds of one core."""

    def __init__(self, scheduler: Scheduler, cores: int, per_message: int, per_byte: int) -> None:
        assert cores > 0
        self.used = 0
        """Total core nanoseconds that messages have used."""
        self._scheduler = scheduler
        self._idle = cores
        self._per_message = per_message
        self._per_byte = per_byte
        self._wake = 0
        self._backlogs: dict[Hashable, deque[Work]] = {}
        """Peer -> its messages, the one on a core first; only peers with messages."""
        self._waiting: deque[Hashable] = deque()
        """Peers with a message but without a core, in FIFO order."""

    def change(self, per_message: int, per_byte: int, wake: int) -> None:
        """From now on use these costs; an idle peer first waits `wake` for its turn."""
        self._per_message = per_message
        self._per_byte = per_byte
        self._wake = wake

    def work(self, who: Hashable, size: int, then: Callable[..., None], *arguments: Any) -> None:
        """Let `who` read a message of `size` bytes that arrives now, then call `then(*arguments)`."""
        cost = self._per_message + size * self._per_byte
        self.used += cost
        backlog = self._backlogs.get(who)
        if backlog is not None:
            backlog.append((cost, then, arguments))
            return
        self._backlogs[who] = deque([(self._wake + cost, then, arguments)])
        self._waiting.append(who)
        self._begin()

    def _begin(self) -> None:
        while self._idle and self._waiting:
            self._idle -= 1
            who = self._waiting.popleft()
            self._scheduler.after(self._backlogs[who][0][0], self._done, who)

    def _done(self, who: Hashable) -> None:
        backlog = self._backlogs[who]
        _, then, arguments = backlog.popleft()
        self._idle += 1
        if backlog:
            self._waiting.append(who)
        else:
            del self._backlogs[who]
        self._begin()
        then(*arguments)

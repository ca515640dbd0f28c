"""One machine on which all simulated hosts run: its cores, and what a message costs. Integer arithmetic.

With it a run shows the delay that a real machine would add by being busy, without it the protocol's own. A peer is one
thread: it handles one message after the other. It waits for a core only when it has something to do, behind those that
wait already, and gives the core back after each message: a peer with a long backlog keeps no core from the others.
Owns the queues; who the peers are and what their messages mean it must not know.
"""

from collections import deque
from collections.abc import Callable, Hashable
from typing import Any

from lab.sim.scheduler import Scheduler

__all__ = ["CpuModel"]

Work = tuple[int, Callable[..., None], tuple[Any, ...]]
"""What a message costs in nanoseconds of a core, and what is done with its arguments when it has been read."""


class CpuModel:
    """`per_message` and `per_byte` in nanoseconds of one core."""

    def __init__(self, scheduler: Scheduler, cores: int, per_message: int, per_byte: int) -> None:
        assert cores > 0
        self.used = 0
        """Nanoseconds of cores that messages have taken so far."""
        self._scheduler = scheduler
        self._idle = cores
        self._per_message = per_message
        self._per_byte = per_byte
        self._wake = 0
        self._backlogs: dict[Hashable, deque[Work]] = {}
        """Peer -> its messages, the one on a core first; only peers that have any."""
        self._waiting: deque[Hashable] = deque()
        """Peers with a message and without a core, in the order in which they get one."""

    def change(self, per_message: int, per_byte: int, wake: int) -> None:
        """From now on messages cost so much, and a peer that had nothing to do waits `wake` for its turn first."""
        self._per_message = per_message
        self._per_byte = per_byte
        self._wake = wake

    def work(self, who: Hashable, size: int, then: Callable[..., None], *arguments: Any) -> None:
        """Let `who` read a message of `size` bytes that arrives now, and do `then(*arguments)` once it is read."""
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

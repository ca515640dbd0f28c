"""The one world of cores in virtual time: hosts with a disk and a clock, who reaches whom, and what happens when.

Owns time, lives, disks and cuts. How what a core sends travels is for those that derive from it: `virtual_mesh` carries
it over TCP and UDP, `ipam_world` as messages that a test loses, reorders and repeats. The same seed gives the same run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from heapq import heappop, heappush
from random import Random
from typing import Any

from overlay.effects import Effect
from overlay.env import MILLISECOND, SECOND
from overlay.inputs import Input
from overlay.runtime.node_runner import Core, NodeRunner

__all__ = ["VirtualHost", "VirtualWorld"]


class VirtualHost:
    """A place where at most one core runs; the clock and the disk of its runner."""

    latency = 0

    def __init__(self, world: VirtualWorld, index: Any) -> None:
        self.world = world
        self.index = index
        self.core: Core | None = None
        self.runner: NodeRunner | None = None
        self.life = 0
        """Counts cores: what was meant for an earlier one does not reach a later one."""
        self.stored: dict[str, bytes] = {}
        self.effects: list[Effect] = []
        """Everything that is not the network's business, in order."""

    def now(self) -> int:
        return self.world.now

    def call_at(self, due: int, action: Callable[..., None], *arguments: Any) -> None:
        self.call_after(max(due - self.world.now, 0), action, *arguments)

    def call_after(self, delay: int, action: Callable[..., None], *arguments: Any) -> None:
        self.world.after(delay, partial(self.world.act, self, partial(action, *arguments)))

    def persist(self, items: list[tuple[str, bytes]]) -> None:
        for key, data in items:
            self.world.persist(self, key, data)


class VirtualWorld:
    """Hosts by number or by name. `reach(a, b)` says whether what one sends comes to another."""

    def __init__(self, indices: Iterable[Any], seed: int = 0) -> None:
        self.rng = Random(seed)
        self.now = 0
        self.hosts: dict[Any, Any] = {index: self.make_host(index) for index in indices}
        self.groups: dict[Any, int] = {}
        self.after_step: Callable[[Any], None] | None = None
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._serial = 0

    def make_host(self, index: Any) -> VirtualHost:
        """A host of the kind that this world has."""
        return VirtualHost(self, index)

    # --- hosts ----------------------------------------------------------------------------------------------------

    def start(self, index: Any, core: Core) -> None:
        """Run `core` on a host that runs none."""
        host = self.hosts[index]
        assert host.core is None
        host.core = core
        host.life += 1
        other, after = partial(self.carry_out, host), partial(self._handled, host)
        host.runner = NodeRunner(core, host, host, {}, other=other, after=after)
        host.runner.carry_out([])

    def kill(self, index: Any) -> None:
        """End the core without a word; the disk stays."""
        host = self.hosts[index]
        host.core = None
        if host.runner is not None:
            host.runner.stop()
        host.life += 1

    def handle(self, index: Any, input: Input) -> None:
        """Give one input to a host's core now, and carry out what it wants."""
        self._handle(self.hosts[index], input)

    def do(self, index: Any, effects: list[Effect]) -> None:
        """Carry out effects that were obtained by calling the core directly."""
        host = self.hosts[index]
        self.act(host, partial(host.runner.carry_out, effects))

    def act(self, host: Any, action: Callable[[], None]) -> None:
        """Let a host's runner do something."""
        action()

    def persist(self, host: Any, key: str, data: bytes) -> None:
        """What a core wants kept is kept."""
        host.stored[key] = data

    def carry_out(self, host: Any, effect: Effect) -> None:
        """Do what a core wants."""
        host.effects.append(effect)

    def _handle(self, host: Any, input: Input) -> None:
        self.act(host, partial(host.runner.feed, input))

    def _handled(self, host: Any) -> None:
        if self.after_step is not None:
            self.after_step(host)

    # --- cuts -----------------------------------------------------------------------------------------------------

    def partition(self, *groups: Sequence[Any]) -> None:
        """Only hosts of the same group reach each other; unnamed ones form the last group."""
        self.groups = {index: number for number, group in enumerate(groups) for index in group}

    def heal(self) -> None:
        """All hosts reach each other."""
        self.groups = {}

    def reach(self, source: Any, target: Any) -> bool:
        """Whether something sent now comes from one host to the other."""
        return self.groups.get(source.index, -1) == self.groups.get(target.index, -1)

    # --- time -----------------------------------------------------------------------------------------------------

    def run(self, duration: int) -> None:
        """Let `duration` nanoseconds pass."""
        end = self.now + duration
        self.happen(end)
        self.now = end

    def stand_still(self, duration: int) -> None:
        """Time passes of which no host notices anything; what was due meanwhile happens at its end."""
        self.now += duration
        self.happen(self.now)

    def happen(self, end: int) -> None:
        """Do what is due at `end` or before, in its order."""
        while self._queue and self._queue[0][0] <= end:
            due, _, action = heappop(self._queue)
            self.now = max(self.now, due)
            action()

    def run_until(self, condition: Callable[[], bool], limit: int, every: int = MILLISECOND) -> int:
        """Let time pass until `condition` holds (looked at `every` so often); how long it took."""
        start = self.now
        while not condition():
            assert self.now - start < limit, f"not reached within {limit / SECOND} s of virtual time"
            self.run(every)
        return self.now - start

    def after(self, delay: int, action: Callable[[], None]) -> None:
        """Do `action` when `delay` has passed."""
        self._serial += 1
        heappush(self._queue, (self.now + delay, self._serial, action))

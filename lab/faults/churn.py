"""Churn: peers leave and join at a rate, for as long as it lasts; then all that left are back.

Owns who leaves or joins, when and how, as a function of the scenario's seed (integer arithmetic, so that it is the
same everywhere). What leaving and joining do is the overlay's and `lab.faults.process`'.
"""

import asyncio
import heapq
from collections.abc import Iterator, Sequence

from msgspec import Struct

from lab.contracts.fault import Bench, Mark
from lab.faults.process import DaemonDeath, HostDeath
from lab.scenario.base import chosen
from lab.scenario.steps import Churn
from lab.scenario.values import format_duration
from overlay.env import Random

MARK = Mark("churn", "#00798c")
_GRAIN = 256
"""Steps in which the mean of an exponential gap is drawn."""
_PERCENT = 1_000_000
"""Parts of a whole in which a fraction is drawn."""


def gaps(mean: int, kind: str, rng: Random) -> Iterator[int]:
    """Nanoseconds from one event to the next: all the same, or exponential (drawn as a geometric number of grains)."""
    if kind == "fixed":
        while True:
            yield mean
    grain = max(mean // _GRAIN, 1)
    while True:
        number = 1
        while rng.randrange(_GRAIN):
            number += 1
        yield grain * number


def graceful(fraction: float, rng: Random) -> bool:
    """Whether this one says farewell, when `fraction` of them crash."""
    return rng.randrange(_PERCENT) >= round(fraction * _PERCENT)


class Turn(Struct, frozen=True):
    """One thing that happens: who, and what it does (leave, crash, join)."""

    host: str
    what: str


class Draw:
    """Draws the turns of one churn step: pure, but for the truth about who is up, which is told at every turn."""

    def __init__(self, step: Churn, hosts: Sequence[str], rng: Random) -> None:
        self.members = tuple(chosen(step.hosts, hosts))
        self.keep = step.keep if step.keep is not None else (len(self.members) + 1) // 2
        self.away: dict[str, None] = {}
        """Who left, the first first."""
        self._step, self._rng = step, rng

    def turn(self, alive: Sequence[str]) -> Turn | None:
        """Who leaves or joins now, given the hosts whose peer runs; None when nobody may."""
        up = [host for host in self.members if host in alive and host not in self.away]
        may_leave = len(up) > self.keep
        # With a mean absence those who left come back in their own time, and every turn is a leaving.
        may_join = bool(self.away) and self._step.downtime is None
        if not (may_leave or may_join):
            return None
        if may_join and (not may_leave or self._rng.randrange(2)):
            return self.join(list(self.away)[self._rng.randrange(len(self.away))])
        host = up[self._rng.randrange(len(up))]
        self.away[host] = None
        return Turn(host, "leave" if graceful(self._step.crash, self._rng) else "crash")

    def join(self, host: str) -> Turn:
        """It comes back."""
        del self.away[host]
        return Turn(host, "join")


class Departure(DaemonDeath):
    """A farewell (`weave stop`): the daemon ends in good order, containers stay."""

    what = "churn"
    mark = MARK

    async def inject(self, bench: Bench, step: int) -> None:
        """Stop it."""
        await bench.upkeep.daemon_down(self.hosts[0], step, farewell=True)


class ChurnFault:
    """One churn step."""

    what = "churn"
    mark = MARK
    victim = ("churn", "")
    hosts: tuple[str, ...] = ()

    def __init__(self, step: Churn, hosts: Sequence[str], seed: str, duration: int) -> None:
        self.label = words(step, duration)
        self._step = step
        self._duration = duration
        self._rng = Random(seed)
        self._draw = Draw(step, hosts, self._rng)
        self._left: dict[str, DaemonDeath | HostDeath] = {}
        self._task: asyncio.Task[None] | None = None

    def works_on(self, bench: Bench) -> Sequence[str]:
        """See `Fault`: none at all times, one host at each turn."""
        return ()

    async def inject(self, bench: Bench, step: int) -> None:
        """Begin; it goes on beside the timeline."""
        self._task = bench.beside(self._play(bench, step, bench.lab.now()))

    async def heal(self, bench: Bench, step: int) -> None:
        """Let the turn under way end, then bring back whoever is away."""
        if self._task is not None:
            await self._task
        for host in list(self._draw.away):
            await self._do(bench, step, self._draw.join(host))

    async def _play(self, bench: Bench, step: int, begun: int) -> None:
        times = gaps(self._step.interval, self._step.kind, self._rng)
        due, back = begun + next(times), list[tuple[int, str]]()
        while True:
            when = min(due, back[0][0]) if back else due
            if when >= begun + self._duration:
                return
            await bench.lab.sleep_until(when)
            if back and back[0][0] == when:
                turn: Turn | None = self._draw.join(heapq.heappop(back)[1])
            else:
                due += next(times)
                turn = self._draw.turn(bench.alive)
                if turn is not None and turn.what != "join" and self._step.downtime is not None:
                    absence = next(gaps(self._step.downtime, self._step.kind, self._rng))
                    heapq.heappush(back, (when + absence, turn.host))
            if turn is not None:
                await self._do(bench, step, turn)

    async def _do(self, bench: Bench, step: int, turn: Turn) -> None:
        host = turn.host
        async with bench.upkeep.working_on((host,)):
            if turn.what == "join":
                fault, away = self._left.pop(host), host not in bench.alive
                await fault.heal(bench, step)
                if away and host in bench.alive:  # nothing else keeps it down
                    await bench.tell(step, "join", f"{host} joins", fault)
                return
            power = self._step.target == "host"
            fault = HostDeath(host) if power else DaemonDeath(host) if turn.what == "crash" else Departure(host)
            self._left[host] = fault
            await fault.inject(bench, step)
            verb = "is switched off" if power else "crashes" if turn.what == "crash" else "leaves"
            await bench.tell(step, "leave", f"{host} {verb}", fault)


def words(step: Churn, duration: int) -> str:
    """A churn step in a few words."""
    rhythm = "about every" if step.kind == "poisson" else "every"
    what = "hosts switched off" if step.target == "host" else f"{step.crash:.0%} crash"
    return f"{rhythm} {format_duration(step.interval)} for {format_duration(duration)}, {what}"

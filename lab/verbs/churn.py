"""`churn`: peers leave and join at a rate, for as long as it lasts; then all that left are back.

Owns who leaves or joins, when and how, as a function of the scenario's seed (integer arithmetic, so that it is the
same everywhere). What leaving and joining do is the overlay's and that of `kill`.
"""

import asyncio
import heapq
from collections.abc import Container, Iterator, Sequence
from typing import Annotated, Literal

from msgspec import Struct
from pydantic import Field, model_validator

from lab.contracts.fault import Bench, Fault, Mark
from lab.kinds.verbs import Body, Chance, Drawn, Planning, Verb, Where
from lab.scenario.base import ALL, Model, Names, Problem, chosen, fault
from lab.scenario.check import Known
from lab.scenario.steps import Step
from lab.scenario.values import UNITS, Duration, Frequency, Percentage, format_duration
from lab.scenario.without_effect import ScenarioReach
from lab.verbs.kill import DaemonDeath, HostDeath
from lab.words import count
from overlay.env import Random

MARK = Mark("churn", "#00798c")
_GRAIN = 256
"""Steps in which the mean of an exponential gap is drawn."""
_PERCENT = 1_000_000
"""Parts of a whole in which a fraction is drawn."""


class Churn(Model):
    """Peers leave and join, about (poisson) or exactly (fixed) so often, until it ends; then all are back.

    At each turn one that runs leaves, or one that left joins. With `downtime` every turn is a leaving, and each comes
    back by itself after about that time. A `crash` is a kill, the others say farewell; a `target: host` is switched
    off. At least `keep` (half of them, unless said) stay.
    """

    rate: Frequency | None = None
    """How often a peer goes."""
    every: Annotated[Duration, Field(ge=UNITS["ms"])] | None = None
    """In place of `rate`: the time between two that go."""
    kind: Literal["poisson", "fixed"] = "poisson"
    """At random times (`poisson`) or at equal ones (`fixed`)."""
    hosts: Names = (ALL,)
    """Among which hosts; `all` by default."""
    target: Literal["daemon", "host"] = "daemon"
    """What goes: the daemon, or the whole host."""
    crash: Percentage = 0.5
    """Share of those that go without a farewell."""
    downtime: Annotated[Duration, Field(ge=UNITS["ms"])] | None = None
    """How long each is away; without it for good."""
    keep: Annotated[int, Field(ge=0)] | None = None
    """The lowest number of hosts that always stay."""
    for_: Duration | None = Field(None, alias="for")
    """It ends by itself after this time."""

    @model_validator(mode="after")
    def _one_rhythm(self) -> "Churn":
        if (self.rate is None) == (self.every is None):
            raise fault("either `rate` (2/s) or `every` (500ms)", "both" if self.rate else "neither")
        return self

    @property
    def interval(self) -> int:
        """Nanoseconds from one turn to the next, in the mean."""
        found = self.every if self.rate is None else self.rate
        assert found is not None
        return found

    def words(self, duration: int) -> str:
        """It in a few words."""
        rhythm = "about every" if self.kind == "poisson" else "every"
        what = "hosts switched off" if self.target == "host" else f"{self.crash:.0%} crash"
        return f"{rhythm} {format_duration(self.interval)} for {format_duration(duration)}, {what}"


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

    def turn(self, alive: Container[str]) -> Turn | None:
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


class ChurnFault(Fault):
    """One churn step."""

    what = "churn"
    mark = MARK
    victim = ("churn", "")

    def __init__(self, step: Churn, hosts: Sequence[str], seed: str, duration: int) -> None:
        self.label = f"churn {step.words(duration)}"
        self._step = step
        self._duration = duration
        self._rng = Random(seed)
        self._draw = Draw(step, hosts, self._rng)
        self._left: dict[str, DaemonDeath | HostDeath] = {}
        self._task: asyncio.Task[None] | None = None

    async def inject(self, bench: Bench, step: int) -> None:
        """Begin; it goes on in parallel with the timeline."""
        self._task = bench.beside(self._play(bench, step, bench.lab.now()))

    async def heal(self, bench: Bench, step: int) -> None:
        """Let the turn under way end, then bring back the hosts that are away."""
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
                turn = self._draw.turn(bench.live.daemons)
                if turn is not None and turn.what != "join" and self._step.downtime is not None:
                    absence = next(gaps(self._step.downtime, self._step.kind, self._rng))
                    heapq.heappush(back, (when + absence, turn.host))
            if turn is not None:
                await self._do(bench, step, turn)

    async def _do(self, bench: Bench, step: int, turn: Turn) -> None:
        host = turn.host
        async with bench.upkeep.working_on((host,)):
            if turn.what == "join":
                fault, away = self._left.pop(host), host not in bench.live.daemons
                await fault.heal(bench, step)
                if away and host in bench.live.daemons:  # nothing else keeps it down
                    await bench.tell(step, "join", f"{host} joins", fault)
                return
            power = self._step.target == "host"
            fault = HostDeath(host) if power else DaemonDeath(host) if turn.what == "crash" else Departure(host)
            self._left[host] = fault
            await fault.inject(bench, step)
            verb = "is switched off" if power else "crashes" if turn.what == "crash" else "leaves"
            await bench.tell(step, "leave", f"{host} {verb}", fault)


class _Churn(Verb[Churn]):
    name = "churn"
    model = Churn
    form = "`churn: {rate: 2/s, …}` with `for`"
    about = "peers leave and join at a rate, see below"
    examples = ("churn --every 2s --for 30s", "churn --rate 30/m --target host --for 1m")
    takes_for = "lasts"
    overlay_needs = "daemons"
    # It is one change, at its end: what its single turns do is not judged, for the next one comes before they are over.
    changes = "end"
    restless = True
    moves = True
    odds = 2

    def complete(self, step: Step, body: Churn) -> None:
        if not step.duration:
            raise fault("`for`: how long the churn lasts", "none")

    def check(self, where: Where, body: Churn, known: Known) -> Iterator[Problem]:
        yield from known.hosts_of((*where, "hosts"), body.hosts)
        members = len(chosen(body.hosts, known.hosts))
        if body.keep is not None and body.keep >= members:
            yield Problem((*where, "keep"), f"{body.keep} of {count(members, 'host')}", "fewer, or nobody may leave")

    def without_effect(self, where: Where, body: Churn, world: ScenarioReach) -> Iterator[Problem]:
        members = chosen(body.hosts, world.hosts)
        if body.keep is None and len(members) < 2:
            yield Problem((*where, "hosts"), count(len(members), "host"), "at least two, or `keep: 0`")

    def plan(self, body: Churn, planning: Planning) -> Fault:
        seed = f"{planning.seed} churn {planning.index}"
        return ChurnFault(body, planning.hosts, seed, planning.duration or 0)

    def draw(self, chance: Chance) -> Drawn | None:
        if len(chance.hosts) <= 2:
            return None
        rng = chance.rng
        body = {
            "every": format_duration(rng.choice((500, 1000, 3000)) * UNITS["ms"]),
            "kind": rng.choice(("poisson", "fixed")),
            "hosts": chance.some_hosts(2),
            "target": rng.choice(("daemon", "daemon", "host")),
            "crash": rng.choice(("0%", "50%", "100%")),
            "keep": 1,
        }
        return Drawn(body, least=3 * UNITS["s"])

    def shape(self, body: Body) -> str:
        return f"{body['target']} every {body['every']}"

    def least_hosts(self, body: Body) -> int:
        return 1 + int(body.get("keep", 0))


KIND = _Churn()

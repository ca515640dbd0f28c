"""`flap`: a host's cable is pulled and plugged in again, once or with a period; or the way between two hosts is cut so.

A host whose cable is out sees it: its interface has no carrier. Between two hosts neither sees anything but silence.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, cast

from pydantic import Field, model_validator

from lab.contracts.fault import Bench, Fault, Mark
from lab.contracts.lab import Plugged
from lab.cuts import complete, union
from lab.errors import LabError
from lab.kinds.verbs import Body, Chance, Drawn, Planning, Verb, Where
from lab.scenario.base import Model, Name, Problem, at_least, fault
from lab.scenario.check import Known
from lab.scenario.resolve import host_networks
from lab.scenario.values import UNITS, Duration, format_duration
from lab.scenario.without_effect import ScenarioReach

_SHORTEST = 10 * UNITS["ms"]


class Flap(Model):
    """Pull a host's cables (or the one of a network), or cut two hosts apart: for `down` of every `every`, or all the
    time without `every`."""

    host: Name | None = None
    """Whose cables are unplugged."""
    network: Name | None = None
    """Only its cable to this network."""
    between: Annotated[tuple[Name, ...], at_least(2, "hosts")] | None = None
    """In place of `host`: the two hosts whose path is cut."""
    every: Annotated[Duration, Field(ge=2 * _SHORTEST)] | None = None
    """Time from one cut to the next; without it one cut until the end."""
    down: Annotated[Duration, Field(ge=_SHORTEST)] | None = None
    """How long each cut lasts; half of `every` by default."""
    for_: Duration | None = Field(None, alias="for")
    """It ends by itself after this time."""

    @model_validator(mode="after")
    def _one_victim(self) -> "Flap":
        if (self.host is None) == (self.between is None):
            raise fault("either `host` or `between`", "both" if self.host is not None else "neither")
        if self.between is not None and (len(self.between) != 2 or self.between[0] == self.between[1]):
            raise fault("two hosts in `between`", ", ".join(self.between))
        if self.network is not None and self.host is None:
            raise fault("`network` with `host` only", "`network` with `between`")
        if self.down is not None and self.every is None:
            raise fault("`down` with `every`; without it, `for` says how long", "`down` alone")
        if self.every is not None and self.every - self.lasting < _SHORTEST:
            raise fault("`down` at least 10ms shorter than `every`", format_duration(self.lasting))
        return self

    @property
    def lasting(self) -> int:
        """How long the carrier is away in each period: half of it, unless said."""
        return self.down if self.down is not None else (self.every or 0) // 2

    def words(self) -> str:
        """It in a few words."""
        who = " - ".join(self.between or ()) or f"{self.host}{f' in {self.network}' if self.network else ''}"
        rhythm = f", {format_duration(self.lasting)} of {format_duration(self.every)}" if self.every else ""
        return who + rhythm


class FlapFault(Fault):
    """One flap. Down as it strikes; several may hold one cable, which is in again when none of them holds it."""

    what = "flap"
    mark = Mark("flap", "#7d5a2b")
    switch = True

    def __init__(self, body: Flap) -> None:
        self.victim = ("flap", body.words())
        self.label = f"flap {body.words()}"
        self._body = body
        self._switching = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def inject(self, bench: Bench, step: int) -> None:
        """Down; what comes after goes on in parallel with the timeline."""
        begun = bench.lab.now()
        await self._switch(bench, step, down=True)
        if self._body.every is not None:
            self._task = bench.beside(self._play(bench, step, begun, self._body.every))

    async def heal(self, bench: Bench, step: int) -> None:
        """Up for good."""
        if self._task is not None:
            async with self._switching:  # a switch under way is carried out first
                self._task.cancel()
        await self._switch(bench, step, down=False)

    async def _play(self, bench: Bench, step: int, begun: int, every: int) -> None:
        while True:
            await bench.lab.sleep_until(begun + self._body.lasting)
            async with self._switching:
                await self._switch(bench, step, down=False)
            begun += every
            await bench.lab.sleep_until(begun)
            async with self._switching:
                await self._switch(bench, step, down=True)

    async def _switch(self, bench: Bench, step: int, *, down: bool) -> None:
        if self._body.between is not None:
            if down:
                bench.live.cuts[step] = complete([(host,) for host in self._body.between])
            else:
                bench.live.cuts.pop(step, None)
            await bench.lab.set_cut(union(bench.live.cuts))
            return
        if not hasattr(bench.lab, "set_unplugged"):
            raise LabError("hosts of this backend have no cables that could be pulled")
        plugs = _plugs(bench, self._body) if down else ()
        await cast(Plugged, bench.lab).set_unplugged(step, frozenset(plugs))


def _plugs(bench: Bench, body: Flap) -> Sequence[tuple[str, str]]:
    assert body.host is not None
    places = bench.scenario.hosts[body.host].interfaces
    return [(body.host, place.network) for place in places if body.network in (None, place.network)]


class _Flap(Verb[Flap]):
    name = "flap"
    model = Flap
    form = "`flap: {host: a, every: 2s, down: 500ms, for: 10s}`, `{between: [a, b], …}`"
    about = (
        "unplug the cables of a host (or only its cable to `network`) again and again, so that the host loses the "
        "carrier; or cut the path between two hosts. Each period of `every` begins with `down` (by default half of "
        "it) unplugged; without `every` unplugged until the end. Ends with `for` or `heal`"
    )
    examples = ("flap --host a --every 2s --down 500ms --for 10s", "flap --between a,b --for 5s")
    takes_for = "lasts"
    healed = True
    needs = ("carrier",)
    # It is one change, at its end: what its single turns do is not judged, for the next one comes before they are over.
    changes = "end"
    restless = True
    regroups = True
    odds = 2

    def needed(self, body: Flap) -> tuple[str, ...]:
        return self.needs if body.host is not None else ()

    def check(self, where: Where, body: Flap, known: Known) -> Iterator[Problem]:
        yield from known.place(where, body.host, None)
        yield from known.hosts_of((*where, "between"), body.between or ())
        if body.host in known.hosts and body.network is not None:
            networks = host_networks(known.scenario.underlay, body.host)
            if body.network not in networks:
                expected = f"a network of {body.host}: {', '.join(networks)}"
                yield Problem((*where, "network"), repr(body.network), expected)

    def without_effect(self, where: Where, body: Flap, world: ScenarioReach) -> Iterator[Problem]:
        one, other = body.between or ("", "")
        if body.between is not None and world.known(body.between) and not world.linked([(one, other)]):
            yield Problem((*where, "between"), f"{one} and {other}: no link joins them", "hosts that have a link")

    def plan(self, body: Flap, planning: Planning) -> Fault:
        return FlapFault(body)

    def draw(self, chance: Chance) -> Drawn | None:
        rng = chance.rng
        if len(chance.hosts) < 2:
            return None
        body: Body = {"every": format_duration(rng.choice((1000, 3000, 7000)) * UNITS["ms"])}
        if rng.randrange(2):
            return Drawn(body | {"host": rng.choice(chance.hosts)}, least=UNITS["s"])
        return Drawn(body | {"between": rng.sample(list(chance.hosts), 2)}, least=UNITS["s"])

    def shape(self, body: Body) -> str:
        return f"{'host' if 'host' in body else 'between'} every {body['every']}"

    def without_host(self, body: Body, host: str) -> Body | None:
        return None if host in (body.get("host"), *body.get("between", ())) else body

    def bypassed(self, body: Body) -> Literal["never", "together", "always"]:
        return "always" if "between" in body else "together"


KIND = _Flap()

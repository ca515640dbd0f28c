"""`launch`: start the overlay on hosts."""

from collections.abc import Iterator, Mapping
from functools import partial

from pydantic import Field

from lab.contracts.fault import Bench
from lab.contracts.overlay import SelfTelling
from lab.contracts.plan import Action, Detail
from lab.kinds.verbs import Planning, Verb, Where
from lab.scenario.base import Problem, Scalar, chosen
from lab.scenario.check import Known
from lab.verbs._shapes import Hosts


class Launch(Hosts):
    """Start the overlay on hosts; `options` go over the scenario's."""

    options: dict[str, Scalar] = Field(default_factory=dict)
    """Options of the overlay for these hosts, besides the scenario's."""


async def _launch(body: Launch, bench: Bench) -> Detail:
    hosts = chosen(body.hosts, bench.scenario.hosts)
    async with bench.upkeep.working_on(hosts):
        await bench.overlay.launch(hosts, body.options)
        if bench.overlay.has_daemons:
            for host in hosts:
                bench.live.daemon_runs(host)
            for host in hosts:
                await bench.upkeep.launched(host)
    overlay = bench.overlay
    told = {"overlay": dict(overlay.told)} if isinstance(overlay, SelfTelling) else {}
    return {"hosts": list(hosts), **told}


class _Launch(Verb[Launch]):
    name = "launch"
    model = Launch
    form = "`launch: all`, `launch: [a, b]`, `{hosts, options}`"
    about = "start the overlay on hosts"
    setup = "up"
    changes = "end"
    regroups = True
    moves = True
    launches = "first"
    ends = ("kill",)

    def check(self, where: Where, body: Launch, known: Known) -> Iterator[Problem]:
        yield from known.hosts_of((*where, "hosts"), body.hosts)
        if body.options:
            yield from known.options((*where, "options"), body.options)

    def options(self, body: Launch) -> Mapping[str, bool | int | str]:
        return body.options

    def plan(self, body: Launch, planning: Planning) -> Action:
        return Action(f"launch {', '.join(body.hosts)}", partial(_launch, body))


KIND = _Launch()

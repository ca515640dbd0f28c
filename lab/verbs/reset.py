"""`reset`: stop the overlay on hosts and forget all it knew."""

from collections.abc import Iterator
from functools import partial

from lab.contracts.fault import Bench
from lab.contracts.plan import Action, Detail
from lab.kinds.verbs import Planning, Verb, Where
from lab.overlays.weave import weave_of
from lab.scenario.base import Problem, chosen
from lab.scenario.check import Known
from lab.verbs._shapes import Hosts


class Reset(Hosts):
    """Stop the overlay on hosts and forget all it knew (`weave reset`)."""


async def _reset(body: Reset, bench: Bench) -> Detail:
    hosts = chosen(body.hosts, bench.scenario.hosts)
    for host in hosts:
        async with bench.upkeep.working_on((host,)):
            bench.live.daemon_stops(host)
            await weave_of(bench.overlay).reset((host,))
    await bench.probing.sync()
    return {"hosts": list(hosts), **bench.containers()}


class _Reset(Verb[Reset]):
    name = "reset"
    model = Reset
    form = "`reset: all`"
    about = "`weave reset`"
    overlay_needs = "verb"
    changes = "end"
    regroups = True
    moves = True
    forgets = True

    def check(self, where: Where, body: Reset, known: Known) -> Iterator[Problem]:
        yield from known.hosts_of((*where, "hosts"), body.hosts)

    def plan(self, body: Reset, planning: Planning) -> Action:
        return Action(f"reset {', '.join(body.hosts)}", partial(_reset, body))


KIND = _Reset()

"""`reset`: stop the overlay on hosts and forget all it knew."""

from collections.abc import Iterator
from functools import partial

from lab.contracts.fault import Bench
from lab.contracts.plan import Action, Detail
from lab.kinds.verbs import Chance, Drawn, Planning, Verb, Where
from lab.overlays.weave import weave_of
from lab.scenario.base import Problem, chosen
from lab.scenario.check import Known
from lab.verbs._shapes import Hosts, replaced


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
    odds = 5
    estranges = True

    def check(self, where: Where, body: Reset, known: Known) -> Iterator[Problem]:
        yield from known.hosts_of((*where, "hosts"), body.hosts)

    def plan(self, body: Reset, planning: Planning) -> Action:
        return Action(f"reset {', '.join(body.hosts)}", partial(_reset, body))

    def draw(self, chance: Chance) -> Drawn | None:
        """A host hands its addresses over, forgets all, and joins again."""
        if len(chance.hosts) < 2 or not chance.replaceable:
            return None
        host = chance.rng.choice(list(chance.replaceable))
        services = list(chance.replaceable[host])
        launch, *then = replaced(host, chance.rng.choice([name for name in chance.hosts if name != host]), services)
        before = ({"remove": services},) if services else ()
        return Drawn({"hosts": [host]}, before=before, undo=launch, then=tuple(then), host=host)


KIND = _Reset()

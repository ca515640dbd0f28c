"""`rmpeer`: declare peers dead for good, so that others take over their addresses."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from lab.contracts.fault import Bench
from lab.contracts.overlay import together
from lab.contracts.plan import Action, Detail
from lab.kinds.verbs import Body, Chance, Drawn, Planning, Verb, Where, fewer
from lab.overlays.weave import weave_of
from lab.scenario.base import Model, Names, Problem, chosen, listed
from lab.scenario.check import Known
from lab.scenario.without_effect import ScenarioReach
from lab.verbs._shapes import replaced

_NOTICED = "8s"
"""After so long the others have noticed that a peer died: `weave rmpeer` refuses a peer that can be reached."""


class RemovePeers(Model):
    """Tell hosts that the peers of other hosts will never come back (`weave rmpeer`)."""

    hosts: Names
    """Where it is typed."""
    peers: Names
    """The hosts whose peers are gone."""


async def _remove(body: RemovePeers, bench: Bench) -> Detail:
    hosts = chosen(body.hosts, bench.scenario.hosts)
    await together(weave_of(bench.overlay).rmpeer(host, body.peers) for host in hosts)
    return {"from": list(hosts), "peers": list(body.peers)}


class _RemovePeers(Verb[RemovePeers]):
    name = "rmpeer"
    model = RemovePeers
    form = "`rmpeer: {hosts: a, peers: b}`"
    about = (
        "tell `hosts` (by `weave rmpeer`) that the peers of the hosts `peers` will never come back; their addresses "
        "are taken over. They must be down, and it must have been noticed. Such a host is usable again after a `reset`"
    )
    examples = ("rmpeer a b",)
    overlay_needs = "verb"
    changes = "end"
    odds = 6
    estranges = True

    def check(self, where: Where, body: RemovePeers, known: Known) -> Iterator[Problem]:
        yield from known.hosts_of((*where, "hosts"), body.hosts)
        yield from known.hosts_of((*where, "peers"), body.peers)

    def without_effect(self, where: Where, body: RemovePeers, world: ScenarioReach) -> Iterator[Problem]:
        if both := [name for name in body.peers if name in chosen(body.hosts, world.hosts)]:
            yield Problem((*where, "peers"), f"{listed(both)}: a peer cannot remove itself", "other hosts")

    def plan(self, body: RemovePeers, planning: Planning) -> Action:
        label = f"rmpeer {', '.join(body.peers)} on {', '.join(body.hosts)}"
        return Action(label, partial(_remove, body))

    def draw(self, chance: Chance) -> Drawn | None:
        """A host dies for good, one of the others or two of them take over, and a new one comes in its place.

        Two that are apart take over the same addresses, and must agree about them when they meet.
        """
        if len(chance.hosts) < 3 or not chance.replaceable:
            return None
        rng = chance.rng
        dead = rng.choice(list(chance.replaceable))
        heirs = rng.sample([name for name in chance.hosts if name != dead], rng.randint(1, 2))
        services = list(chance.replaceable[dead])
        before: list[dict[str, Any]] = [{"remove": services}] if services else []
        before += [{"kill": {"daemon": dead}}, {"wait": _NOTICED}]
        if len(heirs) > 1:
            before += [{"partition": {"isolate": [heirs[0]], "for": "12s"}}, {"wait": _NOTICED}]
        return Drawn(
            {"hosts": heirs, "peers": [dead]},
            before=tuple(before),
            undo={"reset": [dead]},
            then=replaced(dead, next(name for name in chance.hosts if name != dead), services),
            least=15_000_000_000 if len(heirs) > 1 else 0,
            host=dead,
        )

    def without_host(self, body: Body, host: str) -> Body | None:
        left = {key: [name for name in body[key] if name != host] for key in ("hosts", "peers")}
        return left if all(left.values()) else None

    def simpler(self, body: Body) -> Iterator[Body]:
        yield from fewer(body, "hosts", 1)


KIND = _RemovePeers()

"""`connect`: tell a host's peer to connect to others."""

from functools import partial
from typing import Any, ClassVar

from lab.contracts.fault import Bench
from lab.contracts.overlay import together
from lab.contracts.plan import Action, Detail
from lab.kinds.verbs import Chance, Drawn, Planning
from lab.scenario.base import ALL, ALL_ONLY
from lab.verbs._shapes import Ends, EndsVerb, drawn_ends


class Connect(Ends):
    """Tell a host's peer to connect to others; `all`: the first host connects to every other one."""

    short_schema: ClassVar[tuple[dict[str, Any], ...]] = ALL_ONLY


async def _connect(body: Connect, bench: Bench) -> Detail:
    """Let one peer connect to others; or, where the scenario has a graph, all of them to their neighbours."""
    edges = bench.scenario.edges
    if edges is not None and body.source is None and body.target == (ALL,):
        neighbours: dict[str, list[str]] = {}
        for dialler, dialled in edges:
            neighbours.setdefault(dialler, []).append(dialled)
        await together(bench.overlay.connect(dialler, dialled) for dialler, dialled in neighbours.items())
        return {"edges": len(edges)}
    source, targets = body.among(bench)
    if targets:
        await bench.overlay.connect(source, targets)
    return {"from": source, "to": list(targets)}


class _Connect(EndsVerb[Connect]):
    name = "connect"
    model = Connect
    form = "`connect: all`"
    about = "the first host connects to every other; or `{from: a, to: [b, c]}`"
    examples = ("connect all", "connect a b,c")
    setup = "up"
    changes = "end"
    odds = 1

    def plan(self, body: Connect, planning: Planning) -> Action:
        return Action(f"connect {body.words}", partial(_connect, body))

    def draw(self, chance: Chance) -> Drawn | None:
        """Two dials of one pair, while others know of each other already."""
        body = drawn_ends(chance)
        return None if body is None else Drawn(body, undo={"connect": body})


KIND = _Connect()

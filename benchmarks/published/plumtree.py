"""Plumtree on HyParView (Leitão, Pereira, Rodrigues, SRDS 2007): redundancy and last delivery hop under failures.

Taken from the paper: 10,000 members, active views of 5 (a fanout of 4), passive views of 30, walks of 6 and 3 hops,
shuffles of 3 and 4; one sender; RMR and last delivery hop as defined there; failures of a share of all members at one
moment.

Compared within 10 %: consequences of the definitions, and statements of the text and the figures. A stable tree
has an RMR of 0; flooding the same overlay has one of about 3, its fanout less one; with one sender the tree is as deep
as flooding is, since the first copy of a message makes the tree; after failures all that live get every message again,
and the RMR returns to 0. The last delivery hop of flooding is the distance of the farthest member over neighbours. It
is printed next to that of random graphs in which all have five neighbours (networkx), which is a little less, because a
few members of an overlay have fewer.

Not compared: the curves after failures in numbers. They are drawn in the paper, and not tabled, so nothing can be read
from them within 10 %; they depend on timers in rounds of its simulator too, where ours are in milliseconds. Our series
are printed: the last delivery hop next to the least that is possible among the survivors, and the RMR of the first
message, which pays for the repair of the tree.
"""

import gc
from collections.abc import Sequence
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import networkx

from benchmarks.published.claims import Claim, Experiment
from lab.protocols.plumtree import Plumtree
from lab.sim.dissemination import PayloadSpread
from lab.sim.member_world import MemberWorld
from overlay.env import MILLISECOND, SECOND

__all__ = ["experiment", "run", "series", "several"]

SENDER = "host1"
FLOOD = {"tree": False}
GAP = 200 * MILLISECOND
"""Between two messages: the tree has healed from one before the next comes, but for what it learns only by that."""


class Series(NamedTuple):
    """One overlay: messages before and after this number of members failed at one moment."""

    size: int
    share: float
    before: list[PayloadSpread]
    after: list[PayloadSpread]
    depth: int
    """The sender's greatest distance in the overlay before the failures."""
    depth_after: int
    """The same among the survivors, after the last message: no broadcast can take fewer hops."""

    def means(self, payloads: Sequence[PayloadSpread]) -> tuple[float, float, float]:
        """(reliability, RMR, last delivery hop)."""
        count = len(payloads)
        redundancy = [one.rmr or 0.0 for one in payloads]
        return (
            sum(one.reliability for one in payloads) / count,
            sum(redundancy) / count,
            sum(one.last_hop for one in payloads) / count,
        )


def series(size: int, share: float, *, tree: bool = True, warm: int = 10, messages: int = 20, seed: int = 1) -> Series:
    """Build an overlay, send, let `share` of the members fail, and send on."""
    world = _overlay(size, tree=tree, warm=warm, messages=messages, seed=seed)
    return _failed(world, share, messages if share else 0)


def several(size: int, shares: Sequence[float], *, messages: int = 20, seed: int = 1) -> list[Series]:
    """`series` for each share. The overlay, which takes most of the time, is built once: each share goes on with it in
    a forked process, so nothing of one is left for the next."""
    world = _overlay(size, tree=True, warm=10, messages=messages, seed=seed)
    gc.freeze()  # children copy only pages that are written, and the collector would write to all
    found = []
    for share in shares:
        receiving, sending = Pipe(duplex=False)
        child = get_context("fork").Process(target=_answer, args=(sending, world, share, messages))
        child.start()
        sending.close()
        try:
            found.append(receiving.recv())
        except EOFError:
            raise RuntimeError(f"the process with {share:.0%} of {size} members failed has ended") from None
        finally:
            child.join()
    gc.unfreeze()
    return found


def _answer(sending: Connection, world: MemberWorld, share: float, messages: int) -> None:
    sending.send(_failed(world, share, messages))


def _overlay(size: int, *, tree: bool, warm: int, messages: int, seed: int) -> MemberWorld:
    """Members that have joined, shuffled ten times, and sent `warm` messages, in which the tree forms, and others."""
    world = MemberWorld(Plumtree, size, {} if tree else FLOOD, seed=seed)
    world.begin(world.names)
    for name in world.names[1:]:
        world.join(name, SENDER)
        world.run(5 * MILLISECOND)
    world.run(100 * SECOND)
    _send(world, "warm", warm)
    _send(world, "before", messages)
    return world


def _failed(world: MemberWorld, share: float, messages: int) -> Series:
    """Let `share` of the members fail, and send on."""
    size, depth = len(world.names), _depth(world)
    world.kill(world.world.network._rng.sample(world.names[1:], round(share * (size - 1))))
    _send(world, "after", messages)
    after = _depth(world)
    world.run(5 * SECOND)
    found = list(world.group.payloads)
    before, rest = ([one for one in found if one.id.startswith(part)] for part in ("before", "after"))
    return Series(size, share, before, rest, depth, after)


def _send(world: MemberWorld, name: str, messages: int) -> None:
    for number in range(messages):
        world.publish(SENDER, f"{name}{number}")
        world.run(GAP)


def _depth(world: MemberWorld) -> int:
    """The sender's greatest distance over neighbours."""
    links = {name: one.neighbours for name, one in world.group.standing.items()}
    far = {SENDER: 0}
    todo = [SENDER]
    for name in todo:
        for other in links[name]:
            if other in links and other not in far:
                far[other] = far[name] + 1
                todo.append(other)
    return max(far.values())


def depth_of_random_graphs(size: int, neighbours: int = 5, graphs: int = 3, starts: int = 5) -> float:
    """Mean distance of the farthest vertex from some vertices of random regular graphs."""
    found: list[int] = []
    for seed in range(graphs):
        graph = networkx.random_regular_graph(neighbours, size, seed=seed)
        found += [max(networkx.single_source_shortest_path_length(graph, one).values()) for one in range(starts)]
    return sum(found) / len(found)


def run(size: int = 10_000, shares: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.8), messages: int = 20) -> Experiment:
    """All claims."""
    flood = series(size, 0, tree=False, messages=min(messages, 5))
    return experiment(size, flood, several(size, shares, messages=messages))


def experiment(size: int, flood: Series, found: Sequence[Series]) -> Experiment:
    """What these series of one size come to."""
    flooded, stable = flood.means(flood.before), found[0].means(found[0].before)
    claims = [
        Claim("RMR of flooding", 3.0, flooded[1], source="fanout less one"),
        Claim("last delivery hop of flooding", flood.depth, flooded[2], source="farthest member (shortest paths)"),
        Claim("the same over that in random graphs", None, flooded[2] / depth_of_random_graphs(size)),
        Claim("reliability, no failures", 1.0, stable[0], source="text and figures"),
        Claim("RMR of the tree, no failures", 0.0, stable[1], source="definition, figures"),
        Claim("last delivery hop of the tree over that of flooding", 1.0, stable[2] / flooded[2], source="one sender"),
    ]
    rows = []
    for one in found:
        first, healed = one.means(one.after[:1]), one.means(one.after[-10:])
        rows.append((f"{one.share:.0%}", *first, *healed, one.depth_after))
        claims += [
            Claim(f"reliability, healed after {one.share:.0%} failed", 1.0, healed[0], source="figures"),
            Claim(f"RMR, healed after {one.share:.0%} failed", 0.0, healed[1], source="figures"),
            Claim(f"RMR of the first message after {one.share:.0%} failed", None, first[1]),
            Claim(f"last delivery hop, healed after {one.share:.0%} failed", None, healed[2]),
        ]
    parts = ("first message after", "last ten after")
    header = ("failed", *(f"{what}, {part}" for part in parts for what in ("reliability", "RMR", "hops")), "least hops")
    tables: list[tuple[str, Sequence[str], Sequence[Sequence[Any]]]] = [(f"{size:,} members, means.", header, rows)]
    for one in found:
        body = [(number, p.reliability, p.rmr, p.last_hop) for number, p in enumerate(one.after, 1)]
        tables.append((f"Messages after {one.share:.0%} failed.", ("message", "reliability", "RMR", "hops"), body))
    return Experiment(
        "plumtree",
        "Plumtree: redundancy and last delivery hop",
        (__doc__ or "").partition("\n\n")[2],
        claims,
        tables,
    )

"""What must hold at every moment of a simulated run, whatever is broken underneath. Pure: looks, and changes nothing.

Each node's own invariants; no two peers of one ring own the same addresses; no two containers of one ring have the
same one. What holds only once all have agreed (equal views, complete rings) is for expectations to ask. Knows worlds
and kernels, not how a run is played.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise

from lab.sim.kernel import Kernel
from lab.sim.world import World

__all__ = ["violations"]

_NODES = 16
"""Nodes whose own invariants are looked at in one go, in turn: a look at all of a thousand takes seconds."""


def violations(world: World, kernels: Mapping[str, Kernel], turn: int) -> Iterator[str]:
    """What does not hold now, a sentence each; `turn` counts the looks, so that every node comes round."""
    running = world.running()
    for place in range(min(_NODES, len(running))):
        peer = running[(turn * _NODES + place) % len(running)]
        assert peer.node is not None
        try:
            peer.node.check_invariants()
        except AssertionError as broken:
            yield f"an invariant of {peer.name}'s peer does not hold: {broken or 'see the code'}"
    yield from _owned_twice(world)
    yield from _used_twice(world, kernels)


def _owned_twice(world: World) -> Iterator[str]:
    """Each owner alone changes its tokens, so two can never both believe that a range is theirs."""
    owned: dict[object, list[tuple[int, int, str]]] = {}
    for peer in world.running():
        assert peer.node is not None
        lineage, extents = peer.node.ipam.owned
        if lineage is not None:
            owned.setdefault(lineage, []).extend((start, end, peer.name) for start, end in extents)
    for ranges in owned.values():
        ranges.sort()
        for (_, end, one), (start, _, other) in pairwise(ranges):
            if start < end:
                yield f"{one} and {other} both own addresses from offset {start} on"


def _used_twice(world: World, kernels: Mapping[str, Kernel]) -> Iterator[str]:
    lineages = {peer.node.ipam.owned[0] for peer in world.running() if peer.node is not None}
    if len(lineages - {None}) > 1:
        return  # networks that allocated before they met: no protocol can prevent it, and quarantine settles it
    users: dict[str, str] = {}
    for host, kernel in kernels.items():
        for port in kernel.ports.values():
            for address in port.addresses:
                other = users.setdefault(address, f"{port.container} on {host}")
                if other != f"{port.container} on {host}":
                    yield f"{other} and {port.container} on {host} both have the address {address}"

"""Partitions of the underlay: who can no longer send to whom, as pure functions, and the fault that switches it.

A cut is a set of directions (sender, receiver). Overlapping partitions are in force together: what is cut is the union
of theirs, so each heals on its own time. After Jepsen's "grudges" (complete, bridge, majorities ring) and blockade's
rule that hosts not named form one more group.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from lab.contracts.fault import Bench, Mark
from lab.scenario.base import chosen
from lab.scenario.steps import Partition

MARK = Mark("partition", "#d1495b")

Pairs = frozenset[tuple[str, str]]
Groups = tuple[tuple[str, ...], ...]


def complete(groups: Iterable[Sequence[str]]) -> Pairs:
    """Every direction between hosts of different groups."""
    listed = [tuple(group) for group in groups]
    return frozenset(
        (sender, receiver)
        for index, group in enumerate(listed)
        for other, members in enumerate(listed)
        if index != other
        for sender in group
        for receiver in members
    )


def with_rest(hosts: Sequence[str], groups: Iterable[Sequence[str]]) -> Groups:
    """The groups, and those that none of them names as one more."""
    listed = tuple(tuple(group) for group in groups if group)
    named = {name for group in listed for name in group}
    rest = tuple(name for name in hosts if name not in named)
    return (*listed, rest) if rest else listed


def one_way(senders: Sequence[str], receivers: Sequence[str]) -> Pairs:
    """Nothing goes from these to those; the other direction stays."""
    return frozenset((sender, receiver) for sender in senders for receiver in receivers if sender != receiver)


def isolated(hosts: Sequence[str], alone: Sequence[str]) -> Groups:
    """Each of these hosts alone, the others together."""
    return with_rest(hosts, [(name,) for name in alone])


def bridge(hosts: Sequence[str], between: str) -> Pairs:
    """Two halves that do not see each other, and one host that sees both."""
    others = [name for name in hosts if name != between]
    middle = (len(others) + 1) // 2
    return complete((others[:middle], others[middle:]))


def majorities_ring(hosts: Sequence[str]) -> Pairs:
    """Every host sees a majority, itself included, and no two see the same: its neighbours on a ring."""
    number = len(hosts)
    reach = (number // 2 + 1) // 2
    near = {(index, (index + step) % number) for index in range(number) for step in range(-reach, reach + 1)}
    return frozenset(
        (hosts[one], hosts[other]) for one in range(number) for other in range(number) if (one, other) not in near
    )


def cut_of(step: Partition, hosts: Sequence[str]) -> Pairs:
    """The directions that a partition step cuts."""
    if step.groups is not None:
        return complete(with_rest(hosts, [chosen(group, hosts) for group in step.groups]))
    if step.isolate is not None:
        return complete(isolated(hosts, chosen(step.isolate, hosts)))
    if step.one_way is not None:
        return one_way(chosen(step.one_way.source, hosts), chosen(step.one_way.target, hosts))
    if step.bridge is not None:
        return bridge(hosts, step.bridge)
    return majorities_ring(hosts)


def union(cuts: Mapping[int, Pairs]) -> Pairs:
    """What is cut when all of these are in force."""
    return frozenset[tuple[str, str]]().union(*cuts.values())


def groups_of(hosts: Sequence[str], cut: Pairs) -> Groups:
    """Hosts that can reach each other over paths on which both directions pass, in the order of the hosts.

    A peer relays for others, so a bridge joins what it sees; one direction alone carries no connection.
    """
    left = list(hosts)
    groups = []
    while left:
        group = list(_component(left[0], left, cut))
        left = [name for name in left if name not in group]
        groups.append(tuple(name for name in hosts if name in group))
    return tuple(groups)


def _component(first: str, among: Sequence[str], cut: Pairs) -> Iterator[str]:
    seen, queue = {first}, [first]
    while queue:
        here = queue.pop()
        yield here
        for there in among:
            if there not in seen and (here, there) not in cut and (there, here) not in cut:
                seen.add(there)
                queue.append(there)


class PartitionFault:
    """One partition step."""

    what = "partition"
    mark = MARK
    hosts: tuple[str, ...] = ()

    def __init__(self, step: Partition, hosts: Sequence[str]) -> None:
        self.pairs = cut_of(step, hosts)
        self.victim = ("partition", "")
        self.label = f"partition {_words(step, hosts)}"

    def works_on(self, bench: Bench) -> Sequence[str]:
        """See `Fault`."""
        return ()

    async def inject(self, bench: Bench, step: int) -> None:
        """Add this cut to those in force."""
        bench.cuts[step] = self.pairs
        await bench.lab.set_cut(union(bench.cuts))

    async def heal(self, bench: Bench, step: int) -> None:
        """Take this cut away; what others cut stays cut."""
        bench.cuts.pop(step, None)
        await bench.lab.set_cut(union(bench.cuts))


def _words(step: Partition, hosts: Sequence[str]) -> str:
    if step.one_way is not None:
        return f"{_few(step.one_way.source)} -> {_few(step.one_way.target)}"
    if step.isolate is not None:
        return f"isolate {_few(step.isolate)}"
    if step.bridge is not None:
        return f"bridge {step.bridge}"
    if step.ring is not None:
        return "ring of majorities"
    groups = with_rest(hosts, [chosen(group, hosts) for group in step.groups or ()])
    return " | ".join(_few(group) for group in groups)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} … {names[-1]} ({len(names)})"

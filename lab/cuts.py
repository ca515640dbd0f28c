"""Cuts of the underlay: which hosts can no longer send to which. Pure functions of host names.

A cut is a set of directions (sender, receiver). Several cuts may be active; the effective cut is their union. Modelled
on Jepsen's "grudges" (complete, bridge, majorities ring) and blockade's rule that hosts not named form one more group.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

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
    """The groups, plus one group of all hosts that they do not name."""
    listed = tuple(tuple(group) for group in groups if group)
    named = {name for group in listed for name in group}
    rest = tuple(name for name in hosts if name not in named)
    return (*listed, rest) if rest else listed


def one_way(senders: Sequence[str], receivers: Sequence[str]) -> Pairs:
    """Nothing passes from `senders` to `receivers`; the other direction is open."""
    return frozenset((sender, receiver) for sender in senders for receiver in receivers if sender != receiver)


def isolated(hosts: Sequence[str], alone: Sequence[str]) -> Groups:
    """Each of these hosts alone, the others together."""
    return with_rest(hosts, [(name,) for name in alone])


def bridge(hosts: Sequence[str], between: str) -> Pairs:
    """Two halves that cannot reach each other, and one host that reaches both."""
    others = [name for name in hosts if name != between]
    middle = (len(others) + 1) // 2
    return complete((others[:middle], others[middle:]))


def majorities_ring(hosts: Sequence[str]) -> Pairs:
    """Every host reaches a majority, itself included, and no two the same: its neighbours on a ring."""
    number = len(hosts)
    reach = (number // 2 + 1) // 2
    near = {(index, (index + step) % number) for index in range(number) for step in range(-reach, reach + 1)}
    return frozenset(
        (hosts[one], hosts[other]) for one in range(number) for other in range(number) if (one, other) not in near
    )


def union(cuts: Mapping[int, Pairs]) -> Pairs:
    """The effective cut of all of these."""
    return frozenset[tuple[str, str]]().union(*cuts.values())


def classes(pairs: Pairs) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The same cut as (senders, receivers): senders that do not reach the same receivers are together."""
    receivers: dict[str, set[str]] = {}
    for sender, receiver in pairs:
        receivers.setdefault(sender, set()).add(receiver)
    found: dict[frozenset[str], list[str]] = {}
    for sender in sorted(receivers):
        found.setdefault(frozenset(receivers[sender]), []).append(sender)
    return [(tuple(senders), tuple(sorted(others))) for others, senders in found.items()]


def groups_of(hosts: Sequence[str], cut: Pairs) -> Groups:
    """Hosts that can reach each other over paths that are open in both directions, in the order of the hosts.

    Peers relay for others, so a bridge connects the hosts that it reaches; a single direction carries no connection.
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

"""What must hold between a topology and the rest of an underlay: places that are nodes, one network, no other routers.

Pure: a model in, problems out. What is wrong with a topology by itself is `lab.scenario.topology_model`'s.
"""

from collections.abc import Iterator
from difflib import get_close_matches

from lab.scenario.base import Problem, listed
from lab.scenario.model import UnderlayModel
from lab.scenario.resolve import default_link
from lab.scenario.topology_model import topology_faults

__all__ = ["node_problem", "topology_problems"]


def topology_problems(underlay: UnderlayModel) -> Iterator[Problem]:
    """All of them, in the file's order."""
    topology = underlay.topology
    nodes = topology.names() if topology is not None else ()
    for name, host in underlay.hosts.items():
        if host.at is not None and host.at not in nodes:
            yield node_problem(("underlay", "hosts", name, "at"), host.at, nodes)
    if topology is None:
        if underlay.peers == "topology":
            yield Problem(("underlay", "peers"), "'topology'", "a topology (`file` or `topology`)")
        return
    yield from topology_faults(topology, default_link(underlay))
    place = ("underlay", "file" if underlay.file is not None else "topology")
    if underlay.routers:
        yield Problem(("underlay", "routers"), "`routers` together with a topology", "one or the other")
    if len(underlay.networks) > 1 or any(len(host.networks) > 1 for host in underlay.hosts.values()):
        yield Problem(place, "several networks", "one network: the topology joins all its hosts")


def node_problem(where: tuple[str | int, ...], name: str, nodes: tuple[str, ...]) -> Problem:
    """A name that is no node."""
    close = get_close_matches(name, nodes, 1, 0.6)
    expected = f"a node: {listed(nodes)}" if nodes else "no node: there is no topology (`file` or `topology`)"
    return Problem(where, repr(name), expected, f"did you mean {close[0]!r}?" if close else "")

"""A routed topology as a scenario says it: nodes, and cables between them with what they do to packets.

Owns the pydantic model and how it becomes `lab.links.topology`'s data, hosts' places included. Files of other programs
come to the same model (`lab.scenario.graph_files`); what holds between hosts and nodes is `lab.scenario.check`'s.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

from pydantic import Field

from lab.links import Link
from lab.links.topology import RoutedTopology, TopologyEdge, spread
from lab.scenario.base import Model, Name, Problem, at_least
from lab.scenario.link_spec import LinkSpec

__all__ = ["Cable", "TopologyModel", "topology_faults", "topology_of"]

WEIGHT = 1000
"""Of a weight of 1: weights may have three decimals."""


class Cable(LinkSpec):
    """One cable between two nodes: what it does to packets in both directions, or in one."""

    source: Name = Field(alias="from")
    """The node at one end."""
    target: Name = Field(alias="to")
    """The node at the other end."""
    both: bool = True
    """For both directions; `false`: only from `from` to `to`."""
    weight: Annotated[float | int, Field(gt=0, le=1_000_000_000)] | None = None
    """What a path over it costs; said by all cables or by none. Without it a path costs its delay."""


class TopologyModel(Model):
    """Nodes that forward packets by shortest paths, and the cables between them."""

    nodes: tuple[Name, ...] = ()
    """In the order in which ties are broken; those that only cables name come after these."""
    cables: Annotated[tuple[Cable, ...], at_least(1, "cable")]
    """Cables between two nodes each, with the parameters of links."""

    def names(self) -> tuple[str, ...]:
        """All nodes."""
        named = (end for cable in self.cables for end in (cable.source, cable.target))
        return tuple(dict.fromkeys((*self.nodes, *named)))


def topology_faults(model: TopologyModel, default: Link) -> Iterator[Problem]:
    """What is wrong with a topology by itself."""
    said = [cable.weight is not None for cable in model.cables]
    for index, cable in enumerate(model.cables):
        where = ("underlay", "topology", "cables", index)
        if cable.source == cable.target:
            yield Problem(where, f"a cable from {cable.source} to itself", "two nodes")
        if any(said) and not said[index]:
            yield Problem(where, "no `weight`", "a weight on every cable, or on none")
        for wrong in cable.link(default).faults():
            found, _, expected = wrong.partition(", expected ")
            yield Problem(where, found, expected or "values that fit")


def topology_of(
    model: TopologyModel, hosts: Sequence[str], said: Mapping[str, str | None], default: Link
) -> RoutedTopology:
    """The topology with all hosts in their places: where `said` puts them, else at the node of their own name, else
    spread. `default`: what cables do that say nothing."""
    nodes = model.names()
    edges = tuple(_edges(model, default))
    known = set(nodes)
    places = {host: said.get(host) or (host if host in known else "") for host in hosts}
    loose = [host for host in hosts if not places[host]]
    if loose:
        places |= zip(
            loose, spread(len(loose), nodes, edges, [place for place in places.values() if place]), strict=True
        )
    return RoutedTopology(nodes, edges, places)


def _edges(model: TopologyModel, default: Link) -> Iterator[TopologyEdge]:
    for cable in model.cables:
        link = cable.link(default)
        weight = link.delay if cable.weight is None else round(cable.weight * WEIGHT)
        yield TopologyEdge(cable.source, cable.target, link, weight)
        if cable.both:
            yield TopologyEdge(cable.target, cable.source, link, weight)

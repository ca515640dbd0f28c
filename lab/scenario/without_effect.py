"""Faults and questions that do nothing: a scenario that has one tests less than it says, so they are refused.

Owns what "nothing" is for probes and links; each verb says it for its steps. Pure. Names that do not exist are told by
`lab.scenario.check`; here they are passed over.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from lab.kinds.probes import PROBES
from lab.kinds.verbs import Where
from lab.links import Links
from lab.links.topology import RoutedTopology
from lab.scenario.base import ALL, Problem
from lab.scenario.model import Scenario
from lab.scenario.resolve import (
    default_link,
    host_names,
    host_networks,
    link_pairs,
    links_of,
    underlay_topology,
)
from lab.scenario.topology_model import topology_faults

__all__ = ["ScenarioReach", "nothing"]


def nothing(scenario: Scenario) -> Iterator[Problem]:
    """Whatever of this scenario does nothing."""
    world = ScenarioReach(scenario)
    for key in scenario.underlay.links:
        pairs = link_pairs(key)
        for one, other in (pairs or ())[:1] if key != "default" else ():
            if one == other and one in world.hosts:
                yield Problem(("underlay", "links", key), f"a link from {one} to itself", "two hosts", at_key=True)
    for index, probe in enumerate(scenario.probes or ()):
        yield from _probe(("probes", index), probe, world)
    for index, step in enumerate(scenario.timeline):
        where: Where = ("timeline", index, step.verb)
        if step.kind.lasts and step.duration == 0:
            yield Problem(where, "`for: 0`: it would end as it begins", "a duration above 0, or no `for`")
        yield from step.kind.without_effect(where, step.body, world)
        world.running.update(step.kind.containers(step.body, scenario.services))


class ScenarioReach:
    """Which hosts can reach each other, and how many containers there may be, and are by now."""

    def __init__(self, scenario: Scenario) -> None:
        underlay = scenario.underlay
        self.hosts = host_names(underlay)
        self.services = scenario.services
        self._underlay = underlay
        self.running: dict[str, int] = {}
        """Service -> containers after the steps before, of those that were started."""
        self._most = {name: service.replicas or 1 for name, service in scenario.services.items()}
        for step in scenario.timeline:
            for name, number in step.kind.containers(step.body, scenario.services).items():
                self._most[name] = max(self._most[name], number)
        joined: dict[str, str] = {}

        def root(network: str) -> str:
            while network in joined:
                network = joined[network]
            return network

        for router in underlay.routers.values():
            for network in router.networks[1:]:
                if (one := root(router.networks[0])) != (other := root(network)):
                    joined[other] = one
        self._reach = {host: {root(network) for network in host_networks(underlay, host)} for host in self.hosts}

    @cached_property
    def links(self) -> Links | None:
        """The link of each direction; None while something is wrong with the links themselves."""
        links = links_of(self._underlay, self.hosts)
        every = (links.default, *links.regional.values(), *links.pairs.values())
        return None if any(True for link in every for _ in link.faults()) else links

    @cached_property
    def topology(self) -> RoutedTopology | None:
        """Nodes and cables; None while there are none, or something is wrong with them."""
        underlay = self._underlay
        if underlay.topology is None or any(topology_faults(underlay.topology, default_link(underlay))):
            return None
        return underlay_topology(underlay)

    def known(self, names: Iterable[str]) -> bool:
        """Whether these are all hosts."""
        return all(name in self._reach for name in names)

    def linked(self, pairs: Iterable[tuple[str, str]]) -> bool:
        """Whether anything can go any of these ways at all."""
        return any(one != other and self._reach[one] & self._reach[other] for one, other in pairs)

    def containers(self, names: tuple[str, ...]) -> set[str] | None:
        """The containers that these names can mean; None when one of them is unknown."""
        found: set[str] = set()
        for name in self.services if names == (ALL,) else names:
            service, _, number = name.rpartition("-")
            if name in self.services:
                found |= {f"{name}-{one}" for one in range(1, self._most[name] + 1)}
            elif service in self.services and re.fullmatch(r"\d{1,5}", number):
                found.add(f"{service}-{int(number)}")
            else:
                return None
        return found

    def asked(self, where: Where, source: tuple[str, ...], target: tuple[str, ...] | None) -> Iterator[Problem]:
        """A question needs somebody to ask and, with a target, somebody else who answers.

        What is said of all is left to the run, which knows who there is by then."""
        if source == (ALL,) and target in (None, (ALL,)):
            return
        asking = self.containers(source)
        answering = self.containers(target) if target is not None else None
        if asking is None or (target is not None and answering is None):
            return
        if not asking:
            yield Problem(where, "nobody to ask", "a service that asks")
        elif answering is not None and len(asking | answering) < 2:
            yield Problem(
                where, f"{next(iter(source))} and nobody else", "two containers, one to ask and one to answer"
            )


def _probe(where: Where, probe: Any, world: ScenarioReach) -> Iterator[Problem]:
    answers = [service for service in world.services.values() if service.http_port]
    kind = PROBES.get(probe.kind)
    if kind.asks == "port" and probe.target == (ALL,) and world.services and not answers:
        yield Problem(where, f"no service that answers {kind.title}", "a `port` in one of them, or kind icmp")
        return
    yield from world.asked(where, probe.source, None if kind.asks == "name" else probe.target)

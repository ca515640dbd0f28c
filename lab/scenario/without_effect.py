"""Faults and questions that do nothing: a scenario that has one tests less than it says, so they are refused.

Owns what "nothing" is for each verb, probe and link, in one place. Pure. Names that do not exist are told by
`lab.scenario.check`; here they are passed over.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import permutations
from typing import Any

from lab.fabric.plan import MTU
from lab.faults.partition import cut_of
from lab.kinds.probes import PROBES
from lab.scenario.base import ALL, Problem, chosen, listed
from lab.scenario.model import Scenario
from lab.scenario.resolve import host_names, host_networks, link_pairs
from lab.scenario.steps import TIMED, Pair, Step
from lab.words import count

__all__ = ["nothing"]

Where = tuple[str | int, ...]


def nothing(scenario: Scenario) -> Iterator[Problem]:
    """Whatever of this scenario does nothing."""
    world = _World(scenario)
    for key in scenario.underlay.links:
        pairs = link_pairs(key)
        for one, other in (pairs or ())[:1] if key != "default" else ():
            if one == other and one in world.hosts:
                yield Problem(("underlay", "links", key), f"a link from {one} to itself", "two hosts", at_key=True)
    for index, probe in enumerate(scenario.probes or ()):
        yield from _probe(("probes", index), probe, world)
    counts: dict[str, int] = {}
    for index, step in enumerate(scenario.timeline):
        yield from _step(("timeline", index, step.verb), step, world)
        yield from _scale(("timeline", index, step.verb), step, scenario, counts)


class _World:
    """Who can reach whom, and how many containers there may be."""

    def __init__(self, scenario: Scenario) -> None:
        underlay = scenario.underlay
        self.hosts = host_names(underlay)
        self.services = scenario.services
        self._most = {name: service.replicas or 1 for name, service in scenario.services.items()}
        for step in scenario.timeline:
            if step.scale is not None and step.scale.service in self._most:
                self._most[step.scale.service] = max(self._most[step.scale.service], step.scale.to)
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

    def known(self, names: Iterable[str]) -> bool:
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


def _step(where: Where, step: Step, world: _World) -> Iterator[Problem]:
    body = step.body
    if step.verb in TIMED and step.duration == 0:
        yield Problem(where, "`for: 0`: it would end as it begins", "a duration above 0, or no `for`")
    match step.verb:
        case "block" | "mtu":
            among = chosen(body.hosts, world.hosts)
            if world.known(among) and not world.linked(permutations(among, 2)):
                yield _no_way(where, "hosts", among, f"nothing to {'drop' if step.verb == 'block' else 'shrink'}")
            if step.verb == "mtu" and body.to >= MTU:
                expected = f"less than {MTU}, which is what hosts' interfaces send at most"
                yield Problem((*where, "to"), str(body.to), expected)
        case "partition":
            if world.known(_named(body)) and not world.linked(cut := cut_of(body, world.hosts)):
                what = "a partition that cuts nothing"
                if cut:
                    what += ": no link joins these hosts"
                yield Problem(where, what, f"hosts on both sides that have a link, of {listed(world.hosts)}")
        case "churn":
            members = chosen(body.hosts, world.hosts)
            if body.keep is None and len(members) < 2:
                yield Problem((*where, "hosts"), count(len(members), "host"), "at least two, or `keep: 0`")
        case "slow_disk":
            if not body.latency and not body.full:
                yield Problem(where, "a disk as fast as ever", "`latency` above 0, or `full: true`")
        case "clock":
            if not body.offset and not body.drift_ppm:
                yield Problem(where, "a clock that is right", "an `offset` or a `drift_ppm`")
        case "connect" | "forget":
            source = body.source or next(iter(world.hosts), "")
            if body.target == (source,):
                yield Problem((*where, "to"), f"{source} itself", "another host")
        case "expect":
            for kind, what in body.conditions:
                place = (*where, kind)
                if isinstance(what, Pair):
                    yield from _asked(place, what.source, what.target, world)
                elif kind == "dns":
                    yield from _asked(place, what.source, None, world)


def _probe(where: Where, probe: Any, world: _World) -> Iterator[Problem]:
    answers = [service for service in world.services.values() if service.http_port]
    kind = PROBES.get(probe.kind)
    if kind.asks == "port" and probe.target == (ALL,) and world.services and not answers:
        yield Problem(where, f"no service that answers {kind.title}", "a `port` in one of them, or kind icmp")
        return
    yield from _asked(where, probe.source, None if kind.asks == "name" else probe.target, world)


def _asked(where: Where, source: tuple[str, ...], target: tuple[str, ...] | None, world: _World) -> Iterator[Problem]:
    """A question needs somebody to ask and, with a target, somebody else who answers.

    What is said of all is left to the run, which knows who there is by then."""
    if source == (ALL,) and target in (None, (ALL,)):
        return
    asking = world.containers(source)
    answering = world.containers(target) if target is not None else None
    if asking is None or (target is not None and answering is None):
        return
    if not asking:
        yield Problem(where, "nobody to ask", "a service that asks")
    elif answering is not None and len(asking | answering) < 2:
        yield Problem(where, f"{next(iter(source))} and nobody else", "two containers, one to ask and one to answer")


def _scale(where: Where, step: Step, scenario: Scenario, counts: dict[str, int]) -> Iterator[Problem]:
    """Keeps how many containers a service has by now."""
    body = step.body
    if step.verb in ("run", "remove"):
        for name in chosen(body.services, scenario.services):
            if name in scenario.services:
                counts[name] = (scenario.services[name].replicas or 1) if step.verb == "run" else 0
    elif step.verb == "scale" and body.service in scenario.services:
        if counts.get(body.service, 0) == body.to:
            found = f"{count(body.to, 'container')}, as {body.service} has already"
            yield Problem((*where, "to"), found, "another number")
        counts[body.service] = body.to


def _named(body: Any) -> list[str]:
    ways = (body.one_way.source, body.one_way.target) if body.one_way is not None else ()
    named = [*(body.groups or ()), *ways, body.isolate or (), (body.bridge,) if body.bridge else ()]
    return [name for names in named for name in names if name != ALL]


def _no_way(where: Where, key: str, among: tuple[str, ...], what: str) -> Problem:
    if len(among) < 2:
        return Problem((*where, key), f"{listed(among) or 'no host'} alone: {what}", "at least two hosts")
    return Problem((*where, key), f"{listed(among)}: {what}, for no link joins any two", "hosts that have a link")

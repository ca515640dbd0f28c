"""What must hold between the parts of a scenario: names that exist, addresses that fit, times that go forwards.

Pure: a model in, problems out, all of them. Each part's own shape was checked by the model before.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches

from lab.kinds.options import KindWithOptions, OptionFault
from lab.kinds.overlays import OVERLAYS, overlays_that
from lab.kinds.probes import PROBES
from lab.kinds.verbs import Where
from lab.links import Link
from lab.scenario.base import ALL, Problem, listed
from lab.scenario.engine_pools import first_free
from lab.scenario.files import CATALOGUE
from lab.scenario.generators import KINDS, faults
from lab.scenario.model import PROCESS, Scenario, UnderlayModel
from lab.scenario.names import DNS_NAME, domain_of, full_name, unfit_for_container, unfit_for_host
from lab.scenario.overlay_ranges import ranges_of
from lab.scenario.resolve import REGION, host_names, host_networks, host_regions, link_pairs, network_subnets
from lab.scenario.steady import steady_problems
from lab.scenario.topology_check import topology_problems
from lab.scenario.without_effect import nothing
from overlay.ranges import Network, misfit, overlapping, reserved, room


def check(scenario: Scenario) -> list[Problem]:
    """Everything that is wrong between the parts of this scenario, in the file's order of sections."""
    known = Known(scenario)
    return [
        *_underlay(scenario),
        *_links(scenario, known),
        *_options(("overlay", "options"), scenario, {}),
        *_services(scenario, known),
        *_probes(scenario, known),
        *steady_problems(scenario, known),
        *_timeline(scenario, known),
        *nothing(scenario),
    ]


def nearest(word: str, words: Iterable[str]) -> str:
    """`did you mean …?` for the closest of the words, or nothing."""
    known = list(words)
    longer = [other for other in known if other.startswith((f"{word}-", f"{word}_"))]  # `beat` is `beat-interval`
    close = longer or get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else ""


class Known:
    """A scenario, and the names in it that may be referred to."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.hosts = host_names(scenario.underlay)
        self.regions = tuple(dict.fromkeys(host_regions(scenario.underlay, self.hosts).values()))
        self.services = tuple(scenario.services)
        self.most = {name: service.replicas or 1 for name, service in scenario.services.items()}
        for step in scenario.timeline:
            for name, number in step.kind.containers(step.body, scenario.services).items():
                self.most[name] = max(self.most[name], number)

    def is_replica(self, name: str) -> bool:
        match = re.fullmatch(r"(.+)-(\d{1,5})", name)
        return bool(match) and 1 <= int(match[2]) <= self.most.get(match[1], 0) if match else False

    def twin(self, name: str) -> str:
        """The service one of whose replicas differs from this name in upper and lower case only; empty: none."""
        match = re.fullmatch(r"(.+)-(\d{1,5})", name.lower())
        if not match:
            return ""
        found = (each for each, most in self.most.items() if each.lower() == match[1] and 1 <= int(match[2]) <= most)
        return next(found, "")

    def host(self, where: Where, name: str) -> Iterator[Problem]:
        """Whether a host exists."""
        if name not in self.hosts:
            yield _unknown(where, "host", name, self.hosts)

    def service(self, where: Where, name: str) -> Iterator[Problem]:
        """Whether a service exists."""
        if name not in self.services:
            yield _unknown(where, "service", name, self.services)

    def hosts_of(self, where: Where, names: tuple[str, ...]) -> Iterator[Problem]:
        """Whether all these hosts exist."""
        for place, name in each(where, names):
            yield from self.host(place, name)

    def services_of(self, where: Where, names: tuple[str, ...], *, replicas: bool = False) -> Iterator[Problem]:
        """Whether all these services exist; with `replicas`, names of containers do as well."""
        for place, name in each(where, names):
            if not (replicas and self.is_replica(name)):
                yield from self.service(place, name)

    def place(self, where: Where, host: str | None, service: str | None) -> Iterator[Problem]:
        """Whether the keys `host` and `service` name one that exists, as far as they are there."""
        if host is not None:
            yield from self.host((*where, "host"), host)
        if service is not None:
            yield from self.services_of((*where, "service"), (service,), replicas=True)

    def options(self, where: Where, options: Mapping[str, bool | int | str]) -> Iterator[Problem]:
        """Whether the overlay takes these options of a step, which go over the scenario's."""
        yield from _options(where, self.scenario, options)


def each(where: Where, names: tuple[str, ...]) -> Iterator[tuple[Where, str]]:
    """Each name of a list with its place."""
    if names != (ALL,):
        yield from (((*where, index), name) for index, name in enumerate(names))


def _unknown(where: Where, kind: str, name: str, known: Iterable[str]) -> Problem:
    words = list(known)
    expected = f"a {kind}: {listed(words)}" if words else f"a {kind}, but there are none"
    return Problem(where, repr(name), expected, nearest(name, words))


def _underlay(scenario: Scenario) -> Iterator[Problem]:
    underlay = scenario.underlay
    place: Where = ("underlay",)
    if underlay.generate is not None:
        kind = underlay.generate.kind
        if kind not in KINDS:
            expected = f"a generator that exists: {listed((*KINDS, CATALOGUE))}"
            yield Problem((*place, "generate", "kind"), repr(kind), expected, nearest(kind, KINDS))
        else:
            for key, found, expected in faults(underlay.generate):
                where: Where = (*place, "generate", key) if key else (*place, "generate")
                yield Problem(where, found, expected)
        if underlay.edges is not None:
            yield Problem((*place, "edges"), "`edges` together with `generate`", "one or the other")
        if underlay.hosts or underlay.networks:
            yield Problem((*place, "generate"), "`generate` together with hosts or networks", "one or the other")
            return
    elif not underlay.hosts:
        yield Problem(place, "no hosts", "at least one host (or `generate`)")
    else:
        yield from _edges(scenario)
    yield from _host_names(scenario)
    yield from topology_problems(scenario.underlay)
    networks = network_subnets(underlay)
    yield from _networks(scenario, networks)
    yield from _addresses(scenario, networks)
    for name, router in underlay.routers.items():
        for index, network in enumerate(router.networks):
            if network not in networks:
                yield _unknown((*place, "routers", name, "networks", index), "network", network, networks)
        if router.nat is not None and router.nat.network not in router.networks:
            hidden = router.nat.network
            yield _unknown((*place, "routers", name, "nat"), "network of this router", hidden, router.networks)


def _host_names(scenario: Scenario) -> Iterator[Problem]:
    """Names that mean something else to the machines themselves, or that differ in upper and lower case only."""
    taken: dict[str, str] = {}
    for kind, names in (("hosts", scenario.underlay.hosts), ("routers", scenario.underlay.routers)):
        for name in names:
            where: Where = ("underlay", kind, name)
            if why := unfit_for_host(name):
                yield Problem(where, repr(name), f"another name than one {why}", at_key=True)
            if (other := taken.get(name.lower())) is not None:
                yield Problem(where, f"{name!r} next to {other!r}", _ONE_NAME, at_key=True)
            taken.setdefault(name.lower(), name)


_ONE_NAME = "a name of its own: upper and lower case are one in DNS"


def _edges(scenario: Scenario) -> Iterator[Problem]:
    hosts = scenario.underlay.hosts
    seen: set[frozenset[str]] = set()
    for index, edge in enumerate(scenario.underlay.edges or ()):
        where: Where = ("underlay", "edges", index)
        for name in edge:
            if name not in hosts:
                yield _unknown(where, "host", name, hosts)
        if edge[0] == edge[1]:
            yield Problem(where, f"an edge from {edge[0]} to itself", "two hosts")
        elif frozenset(edge) in seen:
            yield Problem(where, f"{' - '.join(edge)} twice", "each edge once")
        seen.add(frozenset(edge))


def _subnet_of(underlay: UnderlayModel, network: str) -> Where:
    """Where the subnet of a network is said."""
    if underlay.generate is not None:
        return ("underlay", "generate", "subnet")
    return ("underlay", "networks", network, "subnet")


def _networks(scenario: Scenario, networks: dict[str, str]) -> Iterator[Problem]:
    """Networks that no host can be in, that share addresses, or that leave none for the overlay or the engines."""
    before: dict[str, Network] = {}
    ranges = ranges_of(scenario)
    default = OVERLAYS.get(scenario.overlay.kind).default_range
    for name, text in networks.items():
        subnet = ipaddress.ip_network(text)
        where = _subnet_of(scenario.underlay, name)
        if why := reserved(subnet):
            yield Problem(where, text, f"a network that hosts can be in: {why}")
        for other, taken in before.items():
            if overlapping(subnet, (taken,)):
                yield Problem(where, text, f"a subnet apart from that of {other} ({taken})")
        before[name] = subnet
        if default is not None and not ranges and overlapping(subnet, (default,)):
            expected = f"a subnet apart from {default}, which the overlay gives out by default"
            yield Problem(where, text, expected, "another range is `overlay: {options: {iprange: …}}`")
    if first_free(before.values()) is None:
        found = listed(map(str, before.values()))
        yield Problem(("underlay", "networks"), found, "networks that leave Docker's engines a /16 or /20 of their own")


def _addresses(scenario: Scenario, networks: dict[str, str]) -> Iterator[Problem]:
    taken: dict[str, str] = {}
    wanted = dict.fromkeys(networks, 0)
    for name, host in scenario.underlay.hosts.items():
        where: Where = ("underlay", "hosts", name)
        if host.networks and (host.network or host.address):
            yield Problem(where, "`networks` together with `network` or `address`", "one or the other")
        if host.network is None and not host.networks and len(networks) > 1:
            yield Problem(where, "no network", f"`network`, one of {listed(networks)}")
        for network, address in host_networks(scenario.underlay, name).items():
            key = (*where, "networks", network) if host.networks else (*where, "address")
            if network not in networks:
                place = (*where, "networks", network) if host.networks else (*where, "network")
                problem = _unknown(place, "network", network, networks)
                yield Problem(problem.where, problem.found, problem.expected, problem.hint, bool(host.networks))
                continue
            wanted[network] += 1
            if address is None:
                continue
            if (fault := misplaced(address, networks[network])) is not None:
                yield Problem(key, address, fault)
            if address in taken:
                yield Problem(key, address, f"an address of its own: {taken[address]} has it already")
            taken.setdefault(address, name)
    if scenario.underlay.generate is not None:
        wanted[next(iter(networks))] += scenario.underlay.generate.hosts
    for router in scenario.underlay.routers.values():
        for network in router.networks:
            if network in wanted:
                wanted[network] += 1
    for network, number in wanted.items():
        if lacking := room(ipaddress.ip_network(networks[network]), number):
            yield Problem(_subnet_of(scenario.underlay, network), networks[network], f"{lacking}, hosts and routers")


def misplaced(address: str, network: str) -> str | None:
    """Why this address cannot be a host's in this network."""
    subnet, ip = ipaddress.ip_network(network), ipaddress.ip_address(address)
    if ip.version != subnet.version or ip not in subnet:
        return f"an address in {network}"
    if word := misfit(ip, subnet):
        return f"a host's address in {network}, not the {word} address"
    return None


def _links(scenario: Scenario, known: Known) -> Iterator[Problem]:
    default = own.link(Link()) if (own := scenario.underlay.links.get("default")) is not None else Link()
    for key, spec in scenario.underlay.links.items():
        where: Where = ("underlay", "links", key)
        pairs = link_pairs(key)
        if key != "default":
            if pairs is None:
                yield Problem(where, repr(key), "'default', 'A -> B' or 'A <-> B'", at_key=True)
            for name in pairs[0] if pairs else ():
                region = name.removeprefix(REGION)
                if name.startswith(REGION):
                    if region not in known.regions:
                        problem = _unknown(where, "region", region, known.regions)
                        yield Problem(where, problem.found, problem.expected, problem.hint, True)
                elif name not in known.hosts:
                    problem = _unknown(where, "host", name, known.hosts)
                    yield Problem(where, problem.found, problem.expected, problem.hint, True)
        for fault in spec.link(Link() if key == "default" else default).faults():
            yield Problem(where, fault.split(", expected ")[0], fault.partition(", expected ")[2] or "values that fit")


def _options(where: Where, scenario: Scenario, more: Mapping[str, bool | int | str]) -> Iterator[Problem]:
    """Options that the overlay would not take; `more` are a step's own, which go over the scenario's."""
    own = scenario.overlay.options
    kind = OVERLAYS.get(scenario.overlay.kind)
    before = {(fault.key, fault.found) for fault in kind.option_faults(own)} if more else set()
    for fault in kind.option_faults({**own, **more}):
        if (fault.key, fault.found) not in before:
            yield _option(where, fault, kind)


def _option(where: Where, fault: OptionFault, kind: KindWithOptions) -> Problem:
    hint = nearest(fault.key, kind.options()) if fault.unknown else ""
    place = (*where, fault.key) if fault.key else where
    return Problem(place, fault.found, fault.expected, hint, fault.unknown)


def _services(scenario: Scenario, known: Known) -> Iterator[Problem]:
    domain = domain_of(scenario.overlay.options)
    if scenario.services and OVERLAYS.get(scenario.overlay.kind).protocol is not None:
        found, expected = "services", f"no services: overlay {scenario.overlay.kind} has no containers"
        yield Problem(("services",), found, expected, at_key=True)
    taken: dict[str, str] = {}
    named = {full_name(host, domain).lower(): host for host in known.hosts}
    for name, service in scenario.services.items():
        where: Where = ("services", name)
        full = full_name(name, domain)
        if why := unfit_for_host(name) or unfit_for_container(name if service.replicas is None else f"{name}-1"):
            yield Problem(where, repr(name), f"another name than one {why}", at_key=True)
        elif len(full) > DNS_NAME:
            expected = f"a name with which {full[:20]}…{full[-20:]} has at most {DNS_NAME} characters"
            yield Problem(where, repr(name), expected, at_key=True)
        if (other := named.get(full.lower())) not in (None, name):
            yield Problem(where, f"{name!r} next to {other!r}", _ONE_NAME, at_key=True)
        named.setdefault(full.lower(), name)
        if service.command is None and service.image is None:
            yield Problem(where, "neither image nor command", "`image` (with `args`), or `command`")
        if service.command is not None and (service.args or service.image not in (None, PROCESS)):
            yield Problem((*where, "command"), "`command` together with `image` or `args`", "one or the other")
        if service.host is not None and service.hosts is not None:
            yield Problem((*where, "hosts"), "`hosts` together with `host`", "one or the other")
        if service.host is not None:
            yield from known.host((*where, "host"), service.host)
        if service.hosts is not None:
            yield from known.hosts_of((*where, "hosts"), service.hosts)
        if name in known.hosts:
            yield Problem(where, f"{name!r}, which is a host too", "a name of its own", at_key=True)
        if known.is_replica(name):
            yield Problem(where, f"{name!r}, which a replica bears", "a name of its own", at_key=True)
        elif (other := known.twin(name)) and other != name:
            yield Problem(where, f"{name!r} next to the replicas of {other!r}", _ONE_NAME, at_key=True)
        if service.address is not None:
            if service.replicas is not None and service.replicas != 1:
                found = f"one address for {service.replicas} replicas"
                yield Problem((*where, "address"), found, "no address: the overlay gives each replica its own")
            subnet = ipaddress.ip_interface(service.address)
            if (fault := misplaced(str(subnet.ip), str(subnet.network))) is not None:
                yield Problem((*where, "address"), service.address, fault)
            elif why := reserved(ipaddress.ip_network(subnet.ip)):
                yield Problem((*where, "address"), service.address, f"an address that containers can have: {why}")
            if str(subnet.ip) in taken:
                expected = f"an address of its own: {taken[str(subnet.ip)]} has it already"
                yield Problem((*where, "address"), service.address, expected)
            taken.setdefault(str(subnet.ip), name)


def _probes(scenario: Scenario, known: Known) -> Iterator[Problem]:
    for index, probe in enumerate(scenario.probes or ()):
        where: Where = ("probes", index)
        yield from known.services_of((*where, "from"), probe.source, replicas=True)
        kind = PROBES.get(probe.kind)
        yield from (_option((*where, "options"), fault, kind) for fault in kind.option_faults(probe.options))
        asks = kind.asks
        if asks == "name":
            if probe.name is None:
                yield Problem(where, f"a {probe.kind} probe without a name", "`name`, as svc1.weave.local")
            if probe.target != (ALL,):
                yield Problem((*where, "to"), f"`to` in a {probe.kind} probe", "`name`: what to ask for")
            if not OVERLAYS.get(scenario.overlay.kind).has_names:
                found = f"a {probe.kind} probe on overlay {scenario.overlay.kind}"
                yield Problem((*where, "kind"), found, overlays_that(lambda kind: kind.has_names))
            continue
        if probe.name is not None:
            yield Problem((*where, "name"), f"`name` in a probe of kind {probe.kind}", "`to`: the services to ask")
        yield from known.services_of((*where, "to"), probe.target, replicas=True)
        for place, name in each((*where, "to"), probe.target):
            service = scenario.services.get(name)
            if asks == "port" and service is not None and not service.http_port:
                yield Problem(place, f"{name!r}, of which no port is known", f"`port` in services.{name}")


def _timeline(scenario: Scenario, known: Known) -> Iterator[Problem]:
    last = 0
    for index, step in enumerate(scenario.timeline):
        where: Where = ("timeline", index)
        if step.at is not None:
            if step.at < last:
                found = f"at {_seconds(step.at)}, after a step at {_seconds(last)}"
                yield Problem((*where, "at"), found, "times that do not go backwards")
            last = max(last, step.at)
        kind, place = step.kind, (*where, step.verb)
        yield from kind.check(place, step.body, known)
        if not kind.allowed(OVERLAYS.get(scenario.overlay.kind)):
            found = f"`{step.verb}` on overlay {scenario.overlay.kind}"
            yield Problem(place, found, overlays_that(kind.allowed), at_key=True)


def _seconds(ns: int) -> str:
    return f"{ns / 1e9:g}s"

"""A scenario made concrete: every host with its addresses, every service with its placement, probes and links resolved.

Pure data and the rules that make it: auto-assigned addresses, round-robin placement, names of replicas, generated
underlays. Backends and the runner read a `Resolved`; none of them reads a scenario file. Expects a scenario that
`lab.scenario.check` found nothing wrong with.
"""

import ipaddress
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
from msgspec import Struct
from pydantic import BaseModel

from lab.calibration import CALIBRATION, Calibration
from lab.kinds.overlays import OVERLAYS
from lab.kinds.probes import PROBES
from lab.links import Link, Links
from lab.links.topology import RoutedTopology
from lab.scenario import generators
from lab.scenario.base import ALL, chosen
from lab.scenario.generators import Edges
from lab.scenario.link_spec import LinkSpec
from lab.scenario.model import PROCESS, ProbeSpec, Scenario, Service, UnderlayModel
from lab.scenario.names import domain_of, host_name_of
from lab.scenario.steady import SteadyCondition, as_plain, resolved_conditions
from lab.scenario.steps import Step, stretched
from lab.scenario.topology_model import topology_of
from lab.scenario.values import UNITS
from lab.translation import Translation
from lab.words import file_name

DEFAULT_NETWORK = "lan"
DEFAULT_SUBNET = "192.168.0.0/24"
REGION = "region:"
"""Before the name of a region, where a link's end is not a host but all those of a region."""


class HostInterface(Struct, frozen=True):
    """A host's place in one network: address and prefix length."""

    network: str
    address: str
    prefix: int


class HostSpec(Struct, frozen=True):
    """One host; `address` is its first."""

    name: str
    interfaces: tuple[HostInterface, ...]

    @property
    def address(self) -> str:
        """Where its peers reach it."""
        return self.interfaces[0].address


class RouterSpec(Struct, frozen=True):
    """A router: its place in each network, the network that it hides (`nat`, or empty), the protocols it drops."""

    name: str
    interfaces: tuple[HostInterface, ...]
    nat: str = ""
    drop: tuple[str, ...] = ()
    translation: Translation = Translation()
    """How it hides it."""


class Replica(Struct, frozen=True, kw_only=True):
    """One container of a service. `address` is the one asked for with its prefix, or empty: the overlay chooses."""

    name: str
    service: str
    index: int
    host: str
    image: str
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    labels: dict[str, str] = {}
    publish: tuple[str, ...] = ()
    port: int = 0
    path: str = "/"
    address: str = ""
    hostname: str = ""
    allow_spoofing: bool = False

    def without_address(self) -> "Replica":
        """The same, with an address of the overlay's choice."""
        return msgspec.structs.replace(self, address="")


class ServiceSpec(Struct, frozen=True, kw_only=True):
    """One service: what it runs, where, how many at first."""

    name: str
    image: str
    archive: str = ""
    """The file that holds the image, for engines to load; empty: they have it, or the lab does."""
    args: tuple[str, ...]
    env: dict[str, str]
    labels: dict[str, str] = {}
    publish: tuple[str, ...]
    port: int
    path: str
    address: str
    hostname: str
    allow_spoofing: bool = False
    """It may send with foreign MACs and addresses, where the overlay guards ports."""
    hosts: tuple[str, ...]
    """Replica i is placed on the host at (i - 1) modulo their number."""
    replicas: int
    numbered: bool
    """Whether the first replica is called `name-1`, and not just `name`."""

    def replica(self, index: int) -> Replica:
        """The container number `index`, from 1."""
        return Replica(
            name=self.name if index == 1 and not self.numbered else f"{self.name}-{index}",
            service=self.name,
            index=index,
            host=self.hosts[(index - 1) % len(self.hosts)],
            image=self.image,
            args=self.args,
            env=self.env,
            labels=self.labels,
            publish=self.publish,
            port=self.port,
            path=self.path,
            address=self.address if index == 1 else "",
            hostname=self.hostname,
            allow_spoofing=self.allow_spoofing,
        )


class MachineCost(Struct, frozen=True):
    """What hosts have in common on a simulated machine: its cores, and nanoseconds per message and per byte."""

    cores: int
    per_message: int
    per_byte: int


class ProbePlan(Struct, frozen=True, kw_only=True):
    """A kind of probe between services: `sources` and `targets` are names of services or replicas; `name` for dns."""

    kind: str
    sources: tuple[str, ...]
    targets: tuple[str, ...] = ()
    name: str = ""
    every: int
    timeout: int
    options: dict[str, bool | int | str] = {}
    rate: int = 0
    """Nanoseconds from one try of the whole plan to the next, whose pairs take turns; 0: each pair tries `every`."""

    def asks(self, replica: Replica) -> bool:
        """Whether this replica is a source."""
        return replica.service in self.sources or replica.name in self.sources

    def asked(self, replica: Replica) -> bool:
        """Whether this replica is a target."""
        return replica.service in self.targets or replica.name in self.targets


class Resolved(Struct, frozen=True, kw_only=True):
    """Everything a backend and the runner need to know of a scenario."""

    name: str
    question: str
    """What the scenario answers, in the words of its first line."""
    file: str
    seed: int
    networks: dict[str, str]
    """Name to subnet."""
    hosts: dict[str, HostSpec]
    routers: dict[str, RouterSpec]
    links: Links
    edges: Edges | None = None
    """Which host `connect: all` connects to which, where a graph says it; None: the first host to all others."""
    topology: RoutedTopology | None = None
    """Routers and cables between the hosts; None: all hosts share their networks, pair by pair."""
    overlay: str
    """Its kind (`lab.kinds.overlays`)."""
    options: dict[str, bool | int | str]
    services: dict[str, ServiceSpec]
    probes: tuple[ProbePlan, ...]
    timeline: tuple[Step, ...]
    steady: tuple[SteadyCondition, ...] = ()
    machine: MachineCost | None = None
    """None: computing takes no time of a simulated run."""
    model: Calibration = CALIBRATION
    """Constants of the simulator."""
    pace: int = 1
    """How many times as long as in the file everything takes."""
    notes: tuple[str, ...] = ()
    """What is worth knowing of it that is no fault; each begins with its place in the file."""

    def at_pace(self, pace: int) -> "Resolved":
        """The same for machines that are `pace` times as slow as those that the file was written for."""
        return msgspec.structs.replace(
            self,
            timeline=tuple(stretched(step, pace) for step in self.timeline),
            probes=tuple(
                msgspec.structs.replace(plan, every=plan.every * pace, timeout=plan.timeout * pace)
                for plan in self.probes
            ),
            steady=tuple(
                msgspec.structs.replace(
                    one,
                    window=one.window * pace,
                    again_within=one.again_within * pace,
                    timeout=one.timeout * pace,
                )
                for one in self.steady
            ),
            pace=self.pace * pace,
        )

    def with_step(self, step: Step) -> "Resolved":
        """The same with one more step at its end."""
        return msgspec.structs.replace(self, timeline=(*self.timeline, step))

    def replicas(self) -> Iterator[Replica]:
        """All replicas as they are before anything is scaled, in the file's order."""
        for service in self.services.values():
            for index in range(1, service.replicas + 1):
                yield service.replica(index)

    def recorded(self) -> dict[str, Any]:
        """As `to_json`, with the names of files without their folders: what a history begins with. Two equal runs have
        equal histories wherever their files are."""
        plain = self.to_json()
        plain["file"] = file_name(self.file)
        for service in plain["services"].values():
            service["archive"] = file_name(service["archive"])
        for step in plain["timeline"]:
            body = step[step["verb"]]
            for key in ("file", "distribution"):
                if isinstance(body, dict) and isinstance(file := body.get(key), str):
                    body[key] = file_name(file)
        return plain

    def to_json(self) -> dict[str, Any]:
        """As plain data, for other languages and for the history: durations in nanoseconds, replicas expanded."""
        return {
            "version": 1,
            "name": self.name,
            "question": self.question,
            "file": self.file,
            "seed": self.seed,
            **({"pace": self.pace} if self.pace != 1 else {}),
            **({"notes": list(self.notes)} if self.notes else {}),
            **({"model": msgspec.to_builtins(self.model)} if self.model != CALIBRATION else {}),
            "underlay": {
                "networks": {name: {"subnet": subnet} for name, subnet in self.networks.items()},
                "hosts": {
                    name: msgspec.to_builtins(host) | {"address": host.address} for name, host in self.hosts.items()
                },
                "routers": msgspec.to_builtins(self.routers),
                "links": [_link(*pair) for pair in (("*", "*", self.links.default), *_pairs(self.links))],
                **({"machine": msgspec.to_builtins(self.machine)} if self.machine is not None else {}),
                **({"regions": dict(self.links.regions)} if self.links.regions else {}),
                **({"edges": [list(edge) for edge in self.edges]} if self.edges is not None else {}),
                **({"topology": _topology_json(self.topology)} if self.topology is not None else {}),
            },
            "overlay": {"kind": self.overlay, "options": dict(self.options)},
            "services": msgspec.to_builtins(self.services),
            "replicas": [msgspec.to_builtins(replica) for replica in self.replicas()],
            "probes": [_probe_plan(plan) for plan in self.probes],
            **({"steady": [as_plain(condition) for condition in self.steady]} if self.steady else {}),
            "timeline": [_step(index, step) for index, step in enumerate(self.timeline)],
        }


def resolve(
    scenario: Scenario,
    *,
    file: str = "",
    name: str = "",
    question: str = "",
    seed: int | None = None,
    notes: tuple[str, ...] = (),
) -> Resolved:
    """The concrete form of a checked scenario; `seed` overrides the file's, `name` stands in for a missing one."""
    networks = network_subnets(scenario.underlay)
    hosts = _hosts(scenario.underlay, networks)
    services = dict(_services(scenario, tuple(hosts)))
    seed = scenario.seed if seed is None else seed
    topology = underlay_topology(scenario.underlay)
    edges = _edges(scenario.underlay, tuple(hosts), seed, topology)
    machine = scenario.underlay.machine
    constants: Any = scenario.model
    return Resolved(
        name=scenario.name or name or "scenario",
        question=question,
        file=file,
        seed=seed,
        networks=networks,
        hosts=hosts,
        routers=_routers(scenario.underlay, networks, hosts),
        links=links_of(scenario.underlay, tuple(hosts)),
        edges=edges,
        topology=topology,
        overlay=scenario.overlay.kind,
        options=_options(scenario, edges),
        services=services,
        probes=tuple(_probes(scenario.probes, services)),
        timeline=scenario.timeline,
        steady=tuple(resolved_conditions(scenario)),
        model=Calibration(**constants.model_dump()),
        machine=MachineCost(machine.cores, machine.per_message, machine.per_byte) if machine is not None else None,
        notes=notes,
    )


def network_subnets(underlay: UnderlayModel) -> dict[str, str]:
    """Name to subnet of every network, the implied one included."""
    if underlay.generate is not None:
        return {DEFAULT_NETWORK: underlay.generate.subnet}
    named = {name: network.subnet for name, network in underlay.networks.items()}
    return named or {DEFAULT_NETWORK: DEFAULT_SUBNET}


def host_names(underlay: UnderlayModel) -> tuple[str, ...]:
    """All hosts, in their order: the file's, or host1 … hostN of a generator."""
    if underlay.generate is not None:
        return tuple(f"host{index}" for index in range(1, underlay.generate.hosts + 1))
    return tuple(underlay.hosts)


def host_networks(underlay: UnderlayModel, name: str) -> dict[str, str | None]:
    """Network to address (None: to be assigned) of one host, in order."""
    if name not in underlay.hosts:
        return {DEFAULT_NETWORK: None}
    host = underlay.hosts[name]
    if host.networks:
        return dict(host.networks)
    return {host.network or next(iter(network_subnets(underlay))): host.address}


def taken_addresses(underlay: UnderlayModel) -> dict[str, str]:
    """Address to the host or router that has it from the beginning; empty where the underlay makes no sense."""
    networks = network_subnets(underlay)
    try:
        hosts = _hosts(underlay, networks)
        places: list[HostSpec | RouterSpec] = [*hosts.values(), *_routers(underlay, networks, hosts).values()]
    except (KeyError, RuntimeError, StopIteration, ValueError):
        return {}
    return {place.address: spec.name for spec in places for place in spec.interfaces}


def host_regions(underlay: UnderlayModel, hosts: tuple[str, ...]) -> dict[str, str]:
    """Host to region, of the hosts that have one."""
    if underlay.generate is not None:
        return generators.regions(underlay.generate, hosts)
    return {name: host.region for name, host in underlay.hosts.items() if host.region is not None}


def link_pairs(key: str) -> tuple[tuple[str, str], ...] | None:
    """(sender, receiver) of `a -> b`, both directions of `a <-> b`; None when it is neither."""
    for arrow, both in (("<->", True), ("->", False)):
        left, found, right = key.partition(arrow)
        if found and left.strip() and right.strip():
            pair = (left.strip(), right.strip())
            return (pair, pair[::-1]) if both else (pair,)
    return None


def _hosts(underlay: UnderlayModel, networks: dict[str, str]) -> dict[str, HostSpec]:
    wanted = {name: host_networks(underlay, name) for name in host_names(underlay)}
    free = _free_addresses(networks, wanted)
    return {name: HostSpec(name, tuple(_interfaces(places, networks, free))) for name, places in wanted.items()}


def _interfaces(
    places: dict[str, str | None], networks: dict[str, str], free: dict[str, Iterator[str]]
) -> Iterator[HostInterface]:
    for network, address in places.items():
        yield HostInterface(network, address or next(free[network]), ipaddress.ip_network(networks[network]).prefixlen)


def _free_addresses(networks: dict[str, str], wanted: dict[str, dict[str, str | None]]) -> dict[str, Iterator[str]]:
    """Per network its unused addresses from the second on: the first is left to routers, while there are others."""
    taken = {address for places in wanted.values() for address in places.values() if address}

    def unused(subnet: str) -> Iterator[str]:
        usable = iter(ipaddress.ip_network(subnet).hosts())
        first = list(itertools.islice(usable, 1))
        return (str(address) for address in itertools.chain(usable, first) if str(address) not in taken)

    return {name: unused(subnet) for name, subnet in networks.items()}


def _routers(underlay: UnderlayModel, networks: dict[str, str], hosts: dict[str, HostSpec]) -> dict[str, RouterSpec]:
    """Routers take the first free address of each of their networks."""
    taken = {place.address for host in hosts.values() for place in host.interfaces}
    routers = {}
    for name, router in underlay.routers.items():
        places = []
        for network in router.networks:
            subnet = ipaddress.ip_network(networks[network])
            address = next(str(candidate) for candidate in subnet.hosts() if str(candidate) not in taken)
            taken.add(address)
            places.append(HostInterface(network, address, subnet.prefixlen))
        routers[name] = RouterSpec(
            name,
            tuple(places),
            router.nat.network if router.nat is not None else "",
            router.drop,
            router.nat.translation if router.nat is not None else Translation(),
        )
    return routers


def _edges(underlay: UnderlayModel, hosts: tuple[str, ...], seed: int, topology: RoutedTopology | None) -> Edges | None:
    if underlay.generate is not None:
        return generators.edges(underlay.generate, hosts, seed)
    if underlay.edges is None and underlay.peers == "topology" and topology is not None:
        joined = {frozenset((edge.sender, edge.receiver)) for edge in topology.edges}
        places = topology.places
        return tuple(
            (one, other)
            for one, other in itertools.combinations(hosts, 2)
            if places[one] == places[other] or frozenset((places[one], places[other])) in joined
        )
    return underlay.edges


def underlay_topology(underlay: UnderlayModel) -> RoutedTopology | None:
    """The topology of an underlay with all hosts in their places; None: it has none."""
    if underlay.topology is None:
        return None
    said = {name: host.at for name, host in underlay.hosts.items()}
    return topology_of(underlay.topology, host_names(underlay), said, default_link(underlay))


def default_link(underlay: UnderlayModel) -> Link:
    """What `links: {default: …}` says: of all pairs of hosts, or of all cables of a topology."""
    return underlay.links["default"].link(Link()) if "default" in underlay.links else Link()


def _options(scenario: Scenario, edges: Edges | None) -> dict[str, bool | int | str]:
    """The overlay's options, with those that keep it to a graph."""
    options = dict(scenario.overlay.options)
    if edges is None:
        return options
    return dict(OVERLAYS.get(scenario.overlay.kind).on_graph(options, generators.max_degree(edges)))


def links_of(underlay: UnderlayModel, hosts: tuple[str, ...]) -> Links:
    """The link of each direction."""
    default = default_link(underlay) if underlay.topology is None else Link()
    regions = host_regions(underlay, hosts)
    regional: dict[tuple[str, str], Link] = {}
    single: list[tuple[tuple[str, str], LinkSpec]] = []
    for key, spec in underlay.links.items():
        for ends in link_pairs(key) or ():
            if all(end.startswith(REGION) for end in ends):
                between = ends[0].removeprefix(REGION), ends[1].removeprefix(REGION)
                regional[between] = spec.link(regional.get(between, default))
            else:
                single += [(pair, spec) for pair in _meant(ends, hosts, regions)]
    links = Links(default, {}, regions if regional else {}, regional)
    pairs: dict[tuple[str, str], Link] = {}
    for pair, spec in single:
        pairs[pair] = spec.link(pairs.get(pair, links.below(*pair)))
    return replace(links, pairs=pairs)


def _meant(ends: tuple[str, str], hosts: tuple[str, ...], regions: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The pairs of hosts between two ends of a link, of which at most one is a region."""
    senders, receivers = (
        [name for name in hosts if regions.get(name) == end.removeprefix(REGION)] if end.startswith(REGION) else [end]
        for end in ends
    )
    return ((sender, receiver) for sender in senders for receiver in receivers if sender != receiver)


def _services(scenario: Scenario, hosts: tuple[str, ...]) -> Iterator[tuple[str, ServiceSpec]]:
    domain = domain_of(scenario.overlay.options)
    loose = 0
    for name, service in scenario.services.items():
        placed = _placement(service, hosts)
        if not placed:
            # Single services without a host go round the hosts too, so that two of them do not share one.
            start = 0 if service.replicas is not None else loose % len(hosts)
            loose += service.replicas is None
            placed = hosts[start:] + hosts[:start]
        yield (
            name,
            ServiceSpec(
                name=name,
                image=service.image or PROCESS,
                archive=service.archive or "",
                args=service.args if service.command is None else service.command,
                env=dict(service.env),
                labels=dict(service.labels),
                publish=service.publish,
                port=service.http_port,
                path=service.path,
                address=service.address or "",
                hostname=_host_name(service, name, domain),
                allow_spoofing=service.allow_spoofing,
                hosts=placed,
                replicas=1 if service.replicas is None else service.replicas,
                numbered=service.replicas is not None,
            ),
        )


def _host_name(service: Service, name: str, domain: str) -> str:
    """What a service's containers are called; a name with a dot that was asked for stays as it is."""
    if service.hostname is not None and "." in service.hostname:
        return service.hostname
    return host_name_of(service.hostname or name, domain)


def _placement(service: Service, hosts: tuple[str, ...]) -> tuple[str, ...]:
    if service.host is not None:
        return (service.host,)
    return () if service.hosts is None else chosen(service.hosts, hosts)


def _probes(specs: tuple[ProbeSpec, ...] | None, services: dict[str, ServiceSpec]) -> Iterator[ProbePlan]:
    serving = tuple(name for name, service in services.items() if service.port)
    silent = tuple(name for name in services if name not in serving)
    if specs is None:
        for kind in PROBES:
            targets = serving if kind.asks == "port" else silent
            if kind.by_default and targets:
                yield ProbePlan(
                    kind=kind.name,
                    sources=tuple(services),
                    targets=targets,
                    every=200 * UNITS["ms"],
                    timeout=UNITS["s"],
                )
        return
    for spec in specs:
        asks = PROBES.get(spec.kind).asks
        everything = serving if asks == "port" else tuple(services)
        yield ProbePlan(
            kind=spec.kind,
            sources=chosen(spec.source, services),
            targets=() if asks == "name" else chosen(spec.target, everything),
            name=spec.name or "",
            every=spec.every,
            timeout=spec.timeout,
            options=dict(spec.options),
        )


def _pairs(links: Links) -> Iterator[tuple[str, str, Link]]:
    for (sender, receiver), link in links.regional.items():
        yield REGION + sender, REGION + receiver, link
    for (sender, receiver), link in links.pairs.items():
        yield sender, receiver, link


def _link(sender: str, receiver: str, link: Link) -> dict[str, Any]:
    return {"from": sender, "to": receiver} | {name: msgspec.to_builtins(getattr(link, name)) for name in link.asks()}


def _topology_json(topology: RoutedTopology) -> dict[str, Any]:
    return {
        "nodes": list(topology.nodes),
        "edges": [_link(edge.sender, edge.receiver, edge.link) | {"weight": edge.weight} for edge in topology.edges],
        "places": dict(topology.places),
    }


def _probe_plan(plan: ProbePlan) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(plan)
    return {key: value for key, value in body.items() if value or key not in ("options", "rate")}


def _step(index: int, step: Step) -> dict[str, Any]:
    body = step.body
    if isinstance(body, BaseModel):
        body = body.model_dump(mode="json", by_alias=True, exclude_none=True)
    resolved = {"step": index, "verb": step.verb, "at": step.at, "for": step.duration, step.verb: body}
    if step.on_failure != "abort":
        resolved["on_failure"] = step.on_failure
    return resolved


__all__ = [
    "ALL",
    "REGION",
    "HostInterface",
    "HostSpec",
    "MachineCost",
    "ProbePlan",
    "Replica",
    "Resolved",
    "RouterSpec",
    "ServiceSpec",
    "default_link",
    "host_names",
    "host_networks",
    "host_regions",
    "link_pairs",
    "links_of",
    "network_subnets",
    "resolve",
    "underlay_topology",
]

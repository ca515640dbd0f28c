"""The pydantic model of a scenario's nouns: underlay, overlay, services and probes, and the scenario itself.

Owns shape, types and defaults of each part on its own. What holds between parts (does this host exist?) is
`lab.scenario.check`'s, the timeline's steps `lab.scenario.steps`', places in the file `lab.scenario.load`'s.
"""

import ipaddress
import re
from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    WithJsonSchema,
    create_model,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from lab.calibration import model_constants
from lab.kinds.overlays import DEFAULT, OVERLAYS
from lab.kinds.probes import PROBES
from lab.scenario.base import ALL, Command, DnsName, Model, Name, Names, Scalar, at_least, fault
from lab.scenario.kind_names import KindName, enumeration
from lab.scenario.link_spec import LinkSpec
from lab.scenario.steady import SteadyModel
from lab.scenario.steps import Step, step_model
from lab.scenario.topology_model import TopologyModel
from lab.scenario.values import UNITS, Duration, Percentage
from lab.translation import KINDS, LINUX, Behaviour, Translation

HTTP_PORTS = {"ksahnine/dummy-http": 8080}
"""Images whose service is known to answer HTTP, and where."""
PROCESS = "process"
"""The image of services that are somebody's own command."""


def _subnet(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value))
    except ValueError:
        raise fault("a subnet as 192.168.0.0/24, with no host bits set") from None


def _address(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise fault("an address as 192.168.0.2") from None


def _interface(value: str) -> str:
    try:
        parsed = ipaddress.ip_interface(value)
    except ValueError:
        parsed = None
    if parsed is None or "/" not in value:
        raise fault("an address with its prefix, as 10.0.1.1/24")
    return str(parsed)


def _texts(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    numbers = {key: str(item) for key, item in value.items() if type(item) in (int, float)}
    return value | numbers


Address = Annotated[str, AfterValidator(_address)]
Subnet = Annotated[str, AfterValidator(_subnet)]
Cidr = Annotated[str, AfterValidator(_interface)]
Port = Annotated[int, Field(ge=1, le=65535)]
Text = Annotated[str, StringConstraints(min_length=1)]
RateUnit = Literal["bit", "kbit", "mbit", "gbit"]
Environment = Annotated[
    dict[Text, str],
    BeforeValidator(_texts),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": ["string", "number"]}}),
]
_PUBLISHED = re.compile(r"(?:[0-9.]+:)?(\d{1,5})(?::(\d{1,5}))?(?:/(?:tcp|udp))?")


def _published(value: str) -> str:
    match = _PUBLISHED.fullmatch(value)
    if not match or any(port and not 1 <= int(port) <= 65535 for port in match.groups()):
        raise fault("a published port as 8080:80 (host:container)")
    return value


_names = {"type": "array", "items": {"type": "string"}, "minItems": 1}
_several = {"type": "array", "items": {"type": "string"}, "minItems": 2}


class NetworkModel(Model):
    """A network that joins hosts."""

    subnet: Subnet
    """Its addresses, such as `192.168.0.0/24`."""


class HostModel(Model):
    """A machine: in one network with an optional address, or in several ({network: address or null})."""

    network: Name | None = None
    """The network it is in; need not be said if there is one."""
    address: Address | None = None
    """Its address there; without it the next free one."""
    networks: dict[Name, Address | None] = Field(default_factory=dict)
    """In place of `network`: several networks, each with the address or `null`."""
    region: Name | None = None
    """The region it belongs to, which `links` may name as `region:NAME`."""
    at: Name | None = None
    """The node of the topology that it is attached to."""


class NatModel(Model):
    """Which network a router hides, and how: the classic kind, or mapping and filtering in the words of RFC 4787."""

    network: Name
    """The network whose hosts are hidden."""
    kind: Literal["linux", "full-cone", "restricted-cone", "port-restricted-cone", "symmetric"] | None = None
    """How it translates UDP, in the usual words; `linux` by default."""
    mapping: Behaviour | None = None
    """In place of `kind`: for which destinations the outer port stays the same (RFC 4787)."""
    filtering: Behaviour | None = None
    """In place of `kind`: who may send to a mapping (RFC 4787)."""
    hairpin: bool = False
    """Hidden hosts reach each other at the outer address."""
    timeout: Annotated[Duration, Field(ge=UNITS["s"])] | None = None
    """How long a mapping lives after the last packet from inside."""

    short_schema: ClassVar[tuple[dict[str, Any], ...]] = ({"type": "string"},)

    @classmethod
    def expand(cls, value: Any) -> Any:
        return {"network": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_way(self) -> "NatModel":
        if self.kind is not None and (self.mapping or self.filtering):
            raise fault("either `kind`, or `mapping` and `filtering`", "both")
        if (self.mapping is None) != (self.filtering is None):
            raise fault("`mapping` and `filtering` together", "one of them")
        if self.hairpin and self.translation.mapping != "endpoint-independent":
            raise fault(
                "an endpoint-independent mapping (a cone) for `hairpin`: else nobody knows another one's port",
                self.kind or self.mapping or LINUX,
            )
        return self

    @property
    def translation(self) -> Translation:
        """What that comes to."""
        mapping, filtering = KINDS[self.kind or LINUX]
        linux = self.mapping is None and self.kind in (None, LINUX)
        return Translation(self.mapping or mapping, self.filtering or filtering, linux, self.hairpin, self.timeout or 0)


class RouterModel(Model):
    """Joins networks; with `nat`, hides the hosts of that network behind its own addresses in the others."""

    networks: Annotated[tuple[Name, ...], at_least(2, "networks"), WithJsonSchema(_several)]
    """The networks that it joins."""
    nat: NatModel | None = None
    """Hides the hosts of one of its networks behind its own address."""
    drop: tuple[Literal["tcp", "udp", "icmp"], ...] = ()
    """Protocols that it does not forward."""


class Generate(Model):
    """Hosts, and who is whose neighbour, by rule instead of by hand (see `lab.scenario.generators`)."""

    kind: Text
    """The kind of graph: who is a neighbour of whom."""
    hosts: Annotated[int, Field(ge=1, le=100_000)] = 0
    """How many hosts."""
    name: Text | None = None
    """Of the catalogue's topology, where the kind is one (`topohub`)."""
    degree: Annotated[int, Field(ge=1)] | None = None
    """Neighbours of each host."""
    branching: Annotated[int, Field(ge=1)] | None = None
    """Children of each host in a tree."""
    rewire: Percentage | None = None
    """Share of the edges of a small world that are redirected at random."""
    attach: Annotated[int, Field(ge=1)] | None = None
    """Edges that each new host of a scale-free graph adds."""
    regions: Annotated[tuple[Name, ...], at_least(1, "region"), WithJsonSchema(_names)] | None = None
    """Divides the hosts, in order, into regions of equal size."""
    subnet: Subnet = "192.168.0.0/16"
    """The network of the hosts."""


class MachineSpec(Model):
    """One machine that all simulated hosts share (see `lab.sim.machine`)."""

    cores: Annotated[int, Field(ge=1, le=1024)] = 1
    """Processors that all simulated hosts share."""
    per_message: Duration = 50 * UNITS["us"]
    """Time that a message takes a processor."""
    per_byte: Duration = 0
    """Time that each byte of it takes besides."""


class UnderlayModel(Model):
    """The network between the hosts."""

    networks: dict[Name, NetworkModel] = Field(default_factory=dict)
    """Networks by name; without any there is one, `lan`."""
    hosts: dict[Name, HostModel] = Field(default_factory=dict)
    """Hosts by name."""
    links: dict[Text, LinkSpec] = Field(default_factory=dict)
    """What links do to packets, by `default`, `a -> b` or `a <-> b`."""
    routers: dict[Name, RouterModel] = Field(default_factory=dict)
    """Routers by name; they join networks."""
    edges: tuple[tuple[Name, Name], ...] | None = None
    """Pairs of neighbours, which `connect: all` connects."""
    generate: Generate | None = None
    """Makes hosts and a graph of neighbours."""
    file: Text | None = None
    """A topology next to the scenario: GraphML, GML or node-link JSON."""
    topology: TopologyModel | None = None
    """Nodes and cables between the hosts; packets take shortest paths."""
    peers: Literal["all", "topology"] | None = None
    """Whom `connect: all` connects, without `edges`: all hosts, or those of the same and of neighbouring nodes."""
    units: dict[Text, RateUnit] = Field(default_factory=dict)
    """In what a file's attribute counts, where its numbers do not say."""
    machine: MachineSpec | None = None
    """The computing time of simulated hosts."""


class OverlayModel(Model):
    """Which overlay the services use, and its options."""

    kind: Annotated[str, KindName(OVERLAYS)] = DEFAULT
    """Which overlay; `weave` by default."""
    options: dict[Text, Scalar] = Field(default_factory=dict)
    """Its options; of `weave` the flags of `weave launch`."""

    short_schema: ClassVar[tuple[dict[str, Any], ...]] = (enumeration(OVERLAYS),)

    @classmethod
    def expand(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value


class Service(Model):
    """A program in containers: an image with its arguments, or a command of one's own."""

    image: Text | None = None
    """A name, or the path of an archive of `docker save`, next to the scenario: `./shop.tar`."""
    archive: SkipJsonSchema[Text | None] = None
    """That path, made absolute by `lab.scenario.files`; `image` is then the name in it."""
    args: tuple[str, ...] = ()
    """Arguments of the image's program."""
    command: Command | None = None
    """In place of `image`: a program of your own."""
    host: Name | None = None
    """The host that runs all its containers."""
    hosts: Names | None = None
    """In place of `host`: several hosts in turn; `all` by default."""
    address: Cidr | None = None
    """The overlay address of its one container, with prefix length; without it the overlay chooses."""
    replicas: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """How many containers at first."""
    port: Port | None = None
    """Where it answers HTTP."""
    path: Annotated[str, StringConstraints(pattern=r"^/\S*$")] = "/"
    """What HTTP probes get there."""
    env: Environment = Field(default_factory=dict)
    """Environment variables of its containers."""
    publish: tuple[Annotated[str, AfterValidator(_published)], ...] = ()
    """Ports of its host that lead to it, as `8080:80`."""
    hostname: Name | None = None
    """Its name in DNS, if not its own."""
    labels: Environment = Field(default_factory=dict)
    """Of its containers, as of `docker run --label`: policies may name them."""
    allow_spoofing: bool = False
    """It may send with MACs and addresses that are not its own: a router, VRRP, a bridge."""

    @property
    def http_port(self) -> int:
        """Where it answers HTTP; 0 when it does not (or nobody said)."""
        return self.port or HTTP_PORTS.get(self.image or "", 0)


class ProbeSpec(Model):
    """What is measured between services, how often."""

    kind: Annotated[str, KindName(PROBES)]
    """What is sent."""
    name: DnsName | None = None
    """The name that `dns` looks up."""
    source: Names = Field((ALL,), alias="from")
    """Services or replicas that ask; `all` by default."""
    target: Names = Field((ALL,), alias="to")
    """Services or replicas that are asked; `all` by default."""
    every: Annotated[Duration, Field(ge=UNITS["ms"])] = 200 * UNITS["ms"]
    """Time between two tries."""
    timeout: Annotated[Duration, Field(ge=UNITS["ms"])] = UNITS["s"]
    """A try without an answer by then has failed."""
    options: dict[Text, Scalar] = Field(default_factory=dict)
    """What this kind takes besides."""


def _constants() -> type[Model]:
    """The simulator's constants, each within its limits (`lab.calibration`)."""
    fields: dict[str, Any] = {}
    for name, constant in model_constants().items():
        kind: Any = Duration if constant.unit == "time" else int
        fields[name] = (
            Annotated[kind, Field(ge=constant.low, le=constant.high, description=constant.about)],
            constant.default,
        )
    return create_model("ModelConstants", __base__=Model, __module__=__name__, __doc__=_constants.__doc__, **fields)


ModelConstants = _constants()


class Scenario(Model):
    """A scenario file, valid by itself and frozen. `lab.scenario.resolve.resolve` makes it concrete."""

    version: Literal[1]
    """The version of this format: 1."""
    name: Name | None = None
    """Of the lab and its run directories; by default the file's name."""
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    """The seed of all random numbers."""
    underlay: UnderlayModel
    """Hosts and the network between them."""
    overlay: OverlayModel = OverlayModel()
    """The overlay that runs on the hosts."""
    model: ModelConstants = ModelConstants()  # type: ignore[valid-type]
    """How long what simulated machines do takes; `sim` only."""
    services: dict[Name, Service] = Field(default_factory=dict)
    """Programs in containers."""
    probes: tuple[ProbeSpec, ...] | None = None
    """What is measured; by default HTTP between services with a port, ICMP to the others."""
    steady: dict[Name, SteadyModel] = Field(default_factory=dict)
    """Conditions that must hold all the time, but during faults that may break them."""
    timeline: tuple[Step, ...]
    """What happens, in order."""


def scenario_model(timeline: Iterable[Any] | None = None) -> type[Scenario]:
    """The model of a scenario whose steps have the verbs that this timeline (plain data) names: the one to read a file
    with. Without `timeline` they have all verbs: the one that says what a file may have."""
    return _scenario_model(step_model(timeline))


@cache
def _scenario_model(step: type[Step]) -> type[Scenario]:
    steps: Any = (Annotated[tuple[step, ...], at_least(1, "step")], ...)  # type: ignore[valid-type]
    return create_model("Scenario", __base__=Scenario, __module__=__name__, __doc__=Scenario.__doc__, timeline=steps)

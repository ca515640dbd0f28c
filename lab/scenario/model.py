"""The pydantic model of a scenario's nouns: underlay, overlay, services and probes, and the scenario itself.

Owns shape, types and defaults of each part on its own. What holds between parts (does this host exist?) is
`lab.scenario.check`'s, the timeline's steps `lab.scenario.steps`', places in the file `lab.scenario.load`'s.
"""

import ipaddress
import re
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


class HostModel(Model):
    """A machine: in one network with an optional address, or in several ({network: address or null})."""

    network: Name | None = None
    address: Address | None = None
    networks: dict[Name, Address | None] = Field(default_factory=dict)
    region: Name | None = None
    at: Name | None = None
    """The node of the topology that it is attached to."""


class NatModel(Model):
    """Which network a router hides, and how: the classic kind, or mapping and filtering in the words of RFC 4787."""

    network: Name
    kind: Literal["linux", "full-cone", "restricted-cone", "port-restricted-cone", "symmetric"] | None = None
    mapping: Behaviour | None = None
    filtering: Behaviour | None = None
    hairpin: bool = False
    timeout: Annotated[Duration, Field(ge=UNITS["s"])] | None = None

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
    nat: NatModel | None = None
    drop: tuple[Literal["tcp", "udp", "icmp"], ...] = ()


class Generate(Model):
    """Hosts, and who is whose neighbour, by rule instead of by hand (see `lab.scenario.generators`)."""

    kind: Text
    hosts: Annotated[int, Field(ge=1, le=100_000)] = 0
    name: Text | None = None
    """Of the catalogue's topology, where the kind is one (`topohub`)."""
    degree: Annotated[int, Field(ge=1)] | None = None
    branching: Annotated[int, Field(ge=1)] | None = None
    rewire: Percentage | None = None
    attach: Annotated[int, Field(ge=1)] | None = None
    regions: Annotated[tuple[Name, ...], at_least(1, "region"), WithJsonSchema(_names)] | None = None
    subnet: Subnet = "192.168.0.0/16"


class MachineSpec(Model):
    """One machine that all simulated hosts share (see `lab.sim.machine`)."""

    cores: Annotated[int, Field(ge=1, le=1024)] = 1
    per_message: Duration = 50 * UNITS["us"]
    per_byte: Duration = 0


class UnderlayModel(Model):
    """The network between the hosts."""

    networks: dict[Name, NetworkModel] = Field(default_factory=dict)
    hosts: dict[Name, HostModel] = Field(default_factory=dict)
    links: dict[Text, LinkSpec] = Field(default_factory=dict)
    routers: dict[Name, RouterModel] = Field(default_factory=dict)
    edges: tuple[tuple[Name, Name], ...] | None = None
    generate: Generate | None = None
    file: Text | None = None
    topology: TopologyModel | None = None
    peers: Literal["all", "topology"] | None = None
    """Whom `connect: all` connects, without `edges`: all hosts, or those of the same and of neighbouring nodes."""
    units: dict[Text, RateUnit] = Field(default_factory=dict)
    """In what a file's attribute counts, where its numbers do not say."""
    machine: MachineSpec | None = None


class OverlayModel(Model):
    """Which overlay the services use, and its options."""

    kind: Annotated[str, KindName(OVERLAYS)] = DEFAULT
    options: dict[Text, Scalar] = Field(default_factory=dict)

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
    command: Command | None = None
    host: Name | None = None
    hosts: Names | None = None
    address: Cidr | None = None
    replicas: Annotated[int, Field(ge=1, le=10_000)] | None = None
    port: Port | None = None
    path: Annotated[str, StringConstraints(pattern=r"^/\S*$")] = "/"
    env: Environment = Field(default_factory=dict)
    publish: tuple[Annotated[str, AfterValidator(_published)], ...] = ()
    hostname: Name | None = None
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
    name: DnsName | None = None
    source: Names = Field((ALL,), alias="from")
    target: Names = Field((ALL,), alias="to")
    every: Annotated[Duration, Field(ge=UNITS["ms"])] = 200 * UNITS["ms"]
    timeout: Annotated[Duration, Field(ge=UNITS["ms"])] = UNITS["s"]
    options: dict[Text, Scalar] = Field(default_factory=dict)


def _constants() -> type[Model]:
    """The simulator's constants, each within its limits (`lab.calibration`)."""
    fields: dict[str, Any] = {}
    for name, constant in model_constants().items():
        kind: Any = Duration if constant.unit == "time" else int
        fields[name] = (Annotated[kind, Field(ge=constant.low, le=constant.high)], constant.default)
    return create_model("ModelConstants", __base__=Model, __module__=__name__, __doc__=_constants.__doc__, **fields)


ModelConstants = _constants()


class Scenario(Model):
    """A scenario file, valid by itself and frozen. `lab.scenario.resolve.resolve` makes it concrete."""

    version: Literal[1]
    name: Name | None = None
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    underlay: UnderlayModel
    overlay: OverlayModel = OverlayModel()
    model: ModelConstants = ModelConstants()  # type: ignore[valid-type]
    services: dict[Name, Service] = Field(default_factory=dict)
    probes: tuple[ProbeSpec, ...] | None = None
    steady: dict[Name, SteadyModel] = Field(default_factory=dict)
    timeline: tuple[Step, ...]


@cache
def scenario_model() -> type[Scenario]:
    """The model of a scenario whose steps have all verbs: the one to read a file with."""
    steps: Any = (Annotated[tuple[step_model(), ...], at_least(1, "step")], ...)  # type: ignore[misc]
    return create_model("Scenario", __base__=Scenario, __module__=__name__, __doc__=Scenario.__doc__, timeline=steps)

"""The verbs of a scenario's timeline, as pydantic models: `launch` to `wait`, and what `expect` may ask.

Owns each verb's shape and its short forms. Knows nothing of how a step is carried out (`lab.runner.steps`).
"""

import re
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StringConstraints, model_validator

from lab import linear
from lab.scenario.base import ALL, NAMES_SCHEMA, Command, DnsName, Model, Name, Names, Scalar, fault
from lab.scenario.values import UNITS, Duration, Frequency, Percentage
from overlay.errors import UsageError
from overlay.policy.words import Policy, parse

VERBS = (
    *("launch", "connect", "forget", "run", "attach", "detach", "policy", "exec", "partition", "heal", "block", "mtu"),
    *("kill", "restart", "churn", "slow_disk", "clock", "scale", "remove", "reset", "expect", "wait"),
)
_ALL_ONLY: tuple[dict[str, Any], ...] = ({"const": ALL},)
SHAPES = ("groups", "one_way", "isolate", "bridge", "ring")
"""How a partition may be said."""
TIMED = ("partition", "block", "mtu", "kill", "churn", "slow_disk", "clock")
"""Verbs that `for` ends by itself."""


def _regex(value: str) -> str:
    try:
        linear.compile(value)
    except linear.BadPattern:
        try:
            re.compile(value)
        except (re.error, RecursionError, OverflowError):
            raise fault("a regular expression") from None
    return value


def _answers(value: Any) -> Any:
    if type(value) is int and 0 <= value <= 100_000:
        return value
    if isinstance(value, tuple) and all(isinstance(item, str) for item in value):
        return value
    raise fault("a number of addresses, or a list of them")


Answers = Annotated[int | tuple[str, ...], BeforeValidator(_answers)]
Port = Annotated[int, Field(ge=1, le=65535)] | Literal["all"]
Regex = Annotated[str, AfterValidator(_regex)]


class _Hosts(Model):
    """Steps about hosts: `all`, a name, or a list of names."""

    hosts: Names = (ALL,)

    short_schema: ClassVar[tuple[dict[str, Any], ...]] = NAMES_SCHEMA

    @classmethod
    def expand(cls, value: Any) -> Any:
        return {"hosts": value} if isinstance(value, str | tuple) else value


class Launch(_Hosts):
    """Start the overlay on hosts; `options` go over the scenario's."""

    options: dict[str, Scalar] = Field(default_factory=dict)


class Reset(_Hosts):
    """Stop the overlay on hosts and forget all it knew (`weave reset`)."""


class Connect(Model):
    """Tell a host's peer to connect to others; `all`: the first host connects to every other one."""

    source: Name | None = Field(None, alias="from")
    target: Names = Field((ALL,), alias="to")

    short_schema: ClassVar[tuple[dict[str, Any], ...]] = _ALL_ONLY

    @classmethod
    def expand(cls, value: Any) -> Any:
        return {} if value == ALL else value


class Forget(Connect):
    """Undo `connect`: the targets are no longer dialled."""

    short_schema: ClassVar[tuple[dict[str, Any], ...]] = ()


class Remove(Model):
    """Remove all containers of services (`docker rm -f`)."""

    services: Names = (ALL,)

    short_schema: ClassVar[tuple[dict[str, Any], ...]] = NAMES_SCHEMA

    @classmethod
    def expand(cls, value: Any) -> Any:
        return {"services": value} if isinstance(value, str | tuple) else value


class Run(Remove):
    """Start services, each on its hosts. With `ipam` the overlay chooses all addresses, also of those that have one."""

    ipam: bool = False


class Attach(Model):
    """Give the containers of a service one more (or their first) overlay address; `detach` takes it away."""

    service: Name
    address: str | None = None

    short_schema: ClassVar[tuple[dict[str, Any], ...]] = ({"type": "string"},)

    @classmethod
    def expand(cls, value: Any) -> Any:
        return {"service": value} if isinstance(value, str) else value


class SetPolicy(Model):
    """Say who may speak to whom, on a host (the first one): `weave allow` or `deny`; `remove` takes it back.

    `force`: though nobody is meant yet, or another policy says the opposite.
    """

    rule: str
    host: Name | None = None
    remove: bool = False
    force: bool = False

    short_schema: ClassVar[tuple[dict[str, Any], ...]] = ({"type": "string"},)

    @classmethod
    def expand(cls, value: Any) -> Any:
        return {"rule": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _understood(self) -> "SetPolicy":
        verb, _, rest = self.rule.partition(" ")
        if verb not in ("allow", "deny"):
            raise fault("`allow from X to Y` or `deny from X to Y`", self.rule)
        try:
            parse(verb == "allow", rest)
        except UsageError as error:
            raise fault("`allow from X to Y` or `deny from X to Y`", str(error)) from None
        return self

    @property
    def policy(self) -> Policy:
        """What it says."""
        verb, _, rest = self.rule.partition(" ")
        return parse(verb == "allow", rest)


class ExecExpect(Model):
    """What a command must end with: its exit code and a pattern found in its standard output."""

    code: Annotated[int, Field(ge=0, le=255)] = 0
    stdout: Regex | None = None


class Exec(Model):
    """Run a command on a host, or in the first container of a service."""

    host: Name | None = None
    service: Name | None = None
    command: Command
    timeout: Duration = 30 * UNITS["s"]
    expect: ExecExpect = ExecExpect()

    @model_validator(mode="after")
    def _one_place(self) -> "Exec":
        if (self.host is None) == (self.service is None):
            raise fault("either `host` or `service`", "both" if self.host else "neither")
        return self


class Pair(Model):
    """From some services to others; a name, or `all`."""

    source: Names = Field((ALL,), alias="from")
    target: Names = Field((ALL,), alias="to")

    short_schema: ClassVar[tuple[dict[str, Any], ...]] = _ALL_ONLY

    @classmethod
    def expand(cls, value: Any) -> Any:
        return {} if value == ALL else value


class OneWay(Model):
    """Cut one direction only: nothing goes from these hosts to those."""

    source: Names = Field(alias="from")
    target: Names = Field(alias="to")


class Partition(Model):
    """Cut the underlay between hosts. Hosts that no group names form one more group together."""

    groups: tuple[Names, ...] | None = None
    one_way: OneWay | None = None
    isolate: Names | None = None
    bridge: Name | None = None
    ring: Literal["majorities"] | None = None
    for_: Duration | None = Field(None, alias="for")

    @model_validator(mode="after")
    def _one_shape(self) -> "Partition":
        shapes = [shape for shape in SHAPES if getattr(self, shape) is not None]
        if len(shapes) != 1:
            raise fault("exactly one of groups, one_way, isolate, bridge, ring", ", ".join(shapes) or "none of them")
        return self


class Block(Model):
    """Drop packets of one protocol between hosts, to one port or to all, as a firewall that says nothing does."""

    udp: Port | None = None
    tcp: Port | None = None
    hosts: Names = (ALL,)
    for_: Duration | None = Field(None, alias="for")

    @model_validator(mode="after")
    def _one_protocol(self) -> "Block":
        given = [name for name in ("udp", "tcp") if getattr(self, name) is not None]
        if len(given) != 1:
            raise fault("exactly one of udp, tcp", ", ".join(given) or "none of them")
        return self

    @property
    def what(self) -> tuple[str, int]:
        """Protocol and port; port 0 is all of them."""
        protocol, port = ("udp", self.udp) if self.udp is not None else ("tcp", self.tcp)
        return protocol, port if isinstance(port, int) else 0


class ShrinkMtu(Model):
    """Packets between these hosts that are larger than `to` vanish without a word (a black hole; RFC 2923)."""

    to: Annotated[int, Field(ge=576, le=65535)]
    hosts: Names = (ALL,)
    for_: Duration | None = Field(None, alias="for")


class Heal(Model):
    """Undo partitions: all of them."""

    what: Literal["all"] = "all"

    short_schema: ClassVar[tuple[dict[str, Any], ...]] = _ALL_ONLY

    @classmethod
    def expand(cls, value: Any) -> Any:
        return {"what": value} if isinstance(value, str) else value


class Victim(Model):
    """One thing to kill or to restart: the overlay's daemon on a host, the host, or a service's containers."""

    daemon: Name | None = None
    host: Name | None = None
    service: Name | None = None
    for_: Duration | None = Field(None, alias="for")

    short_schema: ClassVar[tuple[dict[str, Any], ...]] = ({"type": "string"},)

    @classmethod
    def expand(cls, value: Any) -> Any:
        return {"daemon": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_victim(self) -> "Victim":
        given = [name for name in ("daemon", "host", "service") if getattr(self, name) is not None]
        if len(given) != 1:
            raise fault("exactly one of daemon, host, service", ", ".join(given) or "none of them")
        return self


class Churn(Model):
    """Peers leave and join, about (poisson) or exactly (fixed) so often, until it ends; then all are back.

    At each turn one that runs leaves, or one that left joins. With `downtime` every turn is a leaving, and each comes
    back by itself after about that time. A `crash` is a kill, the others say farewell; a `target: host` is switched
    off. At least `keep` (half of them, unless said) stay.
    """

    rate: Frequency | None = None
    every: Annotated[Duration, Field(ge=UNITS["ms"])] | None = None
    kind: Literal["poisson", "fixed"] = "poisson"
    hosts: Names = (ALL,)
    target: Literal["daemon", "host"] = "daemon"
    crash: Percentage = 0.5
    downtime: Annotated[Duration, Field(ge=UNITS["ms"])] | None = None
    keep: Annotated[int, Field(ge=0)] | None = None
    for_: Duration | None = Field(None, alias="for")

    @model_validator(mode="after")
    def _one_rhythm(self) -> "Churn":
        if (self.rate is None) == (self.every is None):
            raise fault("either `rate` (2/s) or `every` (500ms)", "both" if self.rate else "neither")
        return self

    @property
    def interval(self) -> int:
        """Nanoseconds from one turn to the next, in the mean."""
        found = self.every if self.rate is None else self.rate
        assert found is not None
        return found


class SlowDisk(Model):
    """A host's disk takes so long for every synced write, or is full."""

    host: Name
    latency: Duration = 200 * UNITS["ms"]
    full: bool = False
    for_: Duration | None = Field(None, alias="for")


class ClockSkew(Model):
    """A host's clock is ahead by `offset` and drifts by `drift_ppm` (parts per million; below 0 it is slow)."""

    host: Name
    offset: Duration = 0
    drift_ppm: Annotated[int, Field(ge=-100_000, le=100_000)] = 0
    for_: Duration | None = Field(None, alias="for")


class Scale(Model):
    """Run more or fewer replicas of a service; 0 removes it."""

    service: Name
    to: Annotated[int, Field(ge=0, le=10_000)]


class DnsExpect(Model):
    """How many addresses, or which, a name must answer with; asked from the containers of `from`."""

    name: DnsName
    answers: Answers
    source: Names = Field((ALL,), alias="from")


class HttpExpect(Model):
    """What a URL must answer, asked with curl from the first container of a service."""

    source: Name = Field(alias="from")
    url: Annotated[str, StringConstraints(min_length=1)]
    body: Regex


class Expect(Model):
    """Something that must come true within a deadline (and hold for a while); all that is listed must."""

    reachable: Pair | None = None
    unreachable: Pair | None = None
    converged: Literal["all"] | None = None
    dns: DnsExpect | None = None
    http: HttpExpect | None = None
    exec: Exec | None = None
    within: Duration = 5 * UNITS["s"]
    for_: Duration = Field(0, alias="for")

    @model_validator(mode="after")
    def _something(self) -> "Expect":
        if not self.conditions:
            raise fault("at least one of reachable, unreachable, converged, dns, http, exec", "none of them")
        return self

    @property
    def conditions(self) -> tuple[tuple[str, Any], ...]:
        """(kind, what) of each condition, in the order of this class."""
        kinds = ("reachable", "unreachable", "converged", "dns", "http", "exec")
        return tuple((kind, getattr(self, kind)) for kind in kinds if getattr(self, kind) is not None)


_TIMES = ("at", "for_", "wait", "within", "timeout", "every", "rate", "downtime")
"""Fields that say when, how long or how often; what is done (a latency, a clock's offset) is not among them."""


M = TypeVar("M", bound=BaseModel)


def stretched(model: M, pace: int) -> M:
    """The same, `pace` times as slowly."""
    changes: dict[str, Any] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            changes[name] = stretched(value, pace)
        elif name in _TIMES and isinstance(value, int):
            changes[name] = value * pace
    return model.model_copy(update=changes)


class Step(Model):
    """One entry of the timeline: one verb, when (`at`, from the first step) and for how long (`for`)."""

    at: Duration | None = None
    for_: Duration | None = Field(None, alias="for")
    on_failure: Literal["abort", "continue"] = "abort"
    launch: Launch | None = None
    connect: Connect | None = None
    forget: Forget | None = None
    run: Run | None = None
    attach: Attach | None = None
    detach: Attach | None = None
    policy: SetPolicy | None = None
    exec: Exec | None = None
    partition: Partition | None = None
    heal: Heal | None = None
    block: Block | None = None
    mtu: ShrinkMtu | None = None
    kill: Victim | None = None
    restart: Victim | None = None
    churn: Churn | None = None
    slow_disk: SlowDisk | None = None
    clock: ClockSkew | None = None
    scale: Scale | None = None
    remove: Remove | None = None
    reset: Reset | None = None
    expect: Expect | None = None
    wait: Duration | None = None

    @model_validator(mode="after")
    def _one_verb(self) -> "Step":
        given = [verb for verb in VERBS if getattr(self, verb) is not None]
        if len(given) != 1:
            raise fault(f"exactly one verb of {', '.join(VERBS)}", ", ".join(given) or "none of them")
        body = self.body
        if self.for_ is not None:
            if given[0] not in (*TIMED, "expect"):
                raise fault(f"`for` beside {', '.join(TIMED)} or expect only", f"`for` beside {given[0]}")
            if getattr(body, "for_", None):
                raise fault(f"`for` once, not in the step and in its {given[0]}", "two of them")
        if self.on_failure == "continue" and given[0] not in ("expect", "exec"):
            raise fault("`on_failure: continue` beside expect or exec only", f"beside {given[0]}")
        if given[0] == "churn" and not self.duration:
            raise fault("`for`: how long the churn lasts", "none")
        if given[0] == "restart" and self.body.for_ is not None:
            raise fault("no `for`: a restart lasts", "`for` beside restart")
        return self

    @property
    def verb(self) -> str:
        """Which one it is."""
        return next(verb for verb in VERBS if getattr(self, verb) is not None)

    @property
    def body(self) -> Any:
        """What is said to the verb: its model, or nanoseconds for `wait`."""
        return getattr(self, self.verb)

    @property
    def duration(self) -> int | None:
        """How long what it starts lasts (a fault) or must hold (expect); None: until something ends it."""
        inner = getattr(self.body, "for_", None) if isinstance(self.body, BaseModel) else None
        return self.for_ if self.for_ is not None else inner

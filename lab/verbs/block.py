"""`block`: packets of one protocol are dropped between hosts."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lab.contracts.fault import Fault
from lab.contracts.lab import Obstacle
from lab.kinds.verbs import Body, Chance, Drawn, Planning
from lab.scenario.base import ALL, Model, Names, chosen, fault
from lab.scenario.values import Duration
from lab.verbs._obstacle import ObstacleFault, ObstacleVerb

Port = Annotated[int, Field(ge=1, le=65535)] | Literal["all"]


class Block(Model):
    """Drop packets of one protocol between hosts, to one port or to all, as a firewall that says nothing does."""

    udp: Port | None = None
    """A UDP port, or `all`."""
    tcp: Port | None = None
    """A TCP port, or `all`."""
    hosts: Names = (ALL,)
    """Between which hosts; `all` by default."""
    for_: Duration | None = Field(None, alias="for")
    """It ends by itself after this time."""

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


class _Block(ObstacleVerb[Block]):
    name = "block"
    model = Block
    form = "`block: {udp: 6784, hosts: all, for: 10s}`"
    about = "drop a protocol (`udp` or `tcp`), one port of it or `all`, between these hosts"
    examples = ("block --udp 6784 --for 10s", "block --tcp all --hosts a,b")
    does = "drop"

    def plan(self, body: Block, planning: Planning) -> Fault:
        protocol, port = body.what
        obstacle = Obstacle(chosen(body.hosts, planning.hosts), protocol=protocol, port=port)
        return ObstacleFault("block", f"{protocol} {port or 'all'}", obstacle)

    def draw(self, chance: Chance) -> Drawn | None:
        if len(chance.hosts) < 2:
            return None
        what = chance.rng.choice(({"udp": 6784}, {"udp": 6783}, {"tcp": 6783}))
        return Drawn({"hosts": chance.some_hosts(2), **what})

    def shape(self, body: Body) -> str:
        return " ".join(f"{protocol} {body[protocol]}" for protocol in ("udp", "tcp") if protocol in body)


KIND = _Block()

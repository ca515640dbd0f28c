"""The input of `weave check`: the router's own report, and facts about the host. Data only.

Drivers collect it (`overlay.cli.facts`); a simulated host has a report and no `HostFacts`. The checks must not know
where a fact comes from.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

__all__ = [
    "BlockingRule",
    "BridgeEntry",
    "ContainerFacts",
    "Facts",
    "Forward",
    "HostFacts",
    "KernelFeature",
    "ProgramFacts",
    "StateDirectoryFacts",
]


class KernelFeature(Struct, frozen=True):
    """A kernel feature that the router uses, tried in a scratch namespace."""

    name: str
    problem: str = ""
    """Why it is missing, and the remedy; empty if it works."""
    needed: bool = True
    """The router does not start without it."""


class Forward(Struct, frozen=True, kw_only=True):
    """The chain FORWARD of iptables or ip6tables."""

    command: str
    called: bool
    """Bridged frames go through it (bridge-nf-call-…)."""
    filters: bool
    """It may drop packets: by its policy, or by rules of others."""
    jumps: bool
    """It jumps to the chain WEAVE."""
    rules: tuple[str, ...] = ()
    """Its rules as `iptables-save` prints them, without the policy."""
    policy: str = ""


class BlockingRule(Struct, frozen=True, kw_only=True):
    """A rule or policy of this host's packet filter that drops packets to a port of the router."""

    protocol: str
    port: int
    rule: str
    undo: str
    """The command that allows the packets."""


class BridgeEntry(Struct, frozen=True, kw_only=True):
    """The bridge's entry for the MAC of one of its guarded ports."""

    port: str
    mac: str
    at: str
    """The port to which the bridge sends that MAC's frames; empty: there is no entry."""
    manner: str
    """`sticky`, `static`, `learned`, `local`; empty: no entry."""


class ContainerFacts(Struct, frozen=True, kw_only=True):
    """A container of this host that is on the overlay."""

    id: str
    name: str
    pid: int
    """0 if it does not run."""
    addresses: tuple[str, ...]
    """The addresses that the router assigned, each "a.b.c.d/n"."""
    found: tuple[str, ...] | None = None
    """The addresses on its `ethwe`; None: could not be read."""
    servers: tuple[str, ...] | None = None
    """The name servers in its resolv.conf; None: could not be read."""
    asked: tuple[str, ...] = ()
    """The name servers in the request that created the container."""
    plugin: bool = False
    """It is an endpoint of a plugin's network, so the engine owns its interface and its resolv.conf."""

    @property
    def shown(self) -> str:
        """Its name, or its id if it has none."""
        return self.name or self.id[:12]


class ProgramFacts(Struct, frozen=True, kw_only=True):
    """The router or the proxy as a process."""

    state: str
    """`running`, `stopped` (by a signal), `died` (without a farewell), `none`."""
    pid: int = 0
    version: str = ""
    """Empty if unknown."""


class StateDirectoryFacts(Struct, frozen=True, kw_only=True):
    """The state directory."""

    directory: str
    problem: str = ""
    """Why it cannot be used; empty if it can."""
    free: int = 0
    """Bytes."""
    damaged: tuple[str, ...] = ()
    """Files that are set aside or unreadable."""


class HostFacts(Struct, frozen=True, kw_only=True):
    """Facts about the host."""

    kernel: tuple[KernelFeature, ...] = ()
    kernel_problem: str = ""
    """Why the kernel was not tried; empty if it was."""
    settings: Mapping[str, str] = {}
    """Values of /proc/sys by dotted name; only existing ones."""
    underlay: str = ""
    """The interface to other hosts; empty if none was found."""
    underlay_mtu: int = 0
    routes: tuple[tuple[str, str], ...] = ()
    """(network, device), without the overlay's own."""
    forward: tuple[Forward, ...] = ()
    forward_problem: str = ""
    blocks: tuple[BlockingRule, ...] = ()
    entries: tuple[BridgeEntry, ...] = ()
    bridge: bool = False
    """The bridge `weave` exists."""
    bridge_problem: str = ""
    engine: str = ""
    """Name and version of the container engine; empty if none answers."""
    engine_problem: str = ""
    containers: tuple[ContainerFacts, ...] = ()
    containers_problem: str = ""
    dns: tuple[tuple[str, str], ...] = ()
    """(`UDP` or `TCP`, why there was no answer; empty if there was one). An empty tuple: DNS was not tried."""
    router: ProgramFacts = ProgramFacts(state="none")
    proxy: ProgramFacts = ProgramFacts(state="none")
    plugin: tuple[tuple[str, str], ...] = ()
    """(socket, why it does not answer)."""
    state: StateDirectoryFacts | None = None
    wall: int = 0
    """This host's clock, in nanoseconds."""


class Facts(Struct, frozen=True, kw_only=True):
    """All facts."""

    program: str
    """The version of this command."""
    report: Mapping[str, Any] | None = None
    """The router's report; None: it does not answer."""
    problem: str = ""
    """Why there is no report, if the reason is not that no router runs."""
    options: Mapping[str, Any] = {}
    """Its launch options, by the flags' names with underscores."""
    version: str = ""
    """The version of the running router."""
    clocks: Sequence[Mapping[str, Any]] | None = None
    """The clock offset of each neighbour; None: not measured."""
    host: HostFacts | None = None
    """None for a simulated host."""

    @property
    def driver(self) -> Mapping[str, Any]:
        """The part of the report that comes from the drivers."""
        found: Mapping[str, Any] = (self.report or {}).get("driver", {})
        return found

    @property
    def mesh(self) -> Mapping[str, Any]:
        """The part of the report about peers."""
        found: Mapping[str, Any] = (self.report or {}).get("mesh", {})
        return found

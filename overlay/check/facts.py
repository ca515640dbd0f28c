"""What `weave check` judges: the router's own report, and what was seen of the host. Data alone.

Drivers gather it (`overlay.cli.facts`); a simulated host has a report and no `HostFacts`. The checks must not know
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
    """Something that the router takes of the kernel, tried in a scratch namespace."""

    name: str
    problem: str = ""
    """Why it is not there, and the remedy; empty: it is."""
    needed: bool = True
    """The router does not start without it."""


class Forward(Struct, frozen=True, kw_only=True):
    """The chain FORWARD of iptables or ip6tables."""

    command: str
    called: bool
    """Bridged frames go through it (bridge-nf-call-…)."""
    filters: bool
    """It drops something: by its policy, or by rules of others."""
    jumps: bool
    """It leads to the chain WEAVE."""
    rules: tuple[str, ...] = ()
    """Its rules as `iptables-save` prints them, the policy not among them."""
    policy: str = ""


class BlockingRule(Struct, frozen=True, kw_only=True):
    """A rule of this host's packet filter that drops what comes to a port of the router, or a policy that does."""

    protocol: str
    port: int
    rule: str
    undo: str
    """The command that lets the packets in."""


class BridgeEntry(Struct, frozen=True, kw_only=True):
    """The bridge's entry for the MAC of one of its guarded ports."""

    port: str
    mac: str
    at: str
    """The port to which the bridge sends that MAC's frames; empty: it has no entry."""
    manner: str
    """`sticky`, `static`, `learned`, `local`; empty: no entry."""


class ContainerFacts(Struct, frozen=True, kw_only=True):
    """A container of this host that is on the overlay."""

    id: str
    name: str
    pid: int
    """0: it does not run."""
    addresses: tuple[str, ...]
    """What the router gave it, each "a.b.c.d/n"."""
    found: tuple[str, ...] | None = None
    """What is on its `ethwe`; None: it could not be looked at."""
    servers: tuple[str, ...] | None = None
    """The name servers in its resolv.conf; None: it could not be looked at."""
    asked: tuple[str, ...] = ()
    """The name servers that the engine was told when the container was made."""
    plugin: bool = False
    """An endpoint of a plugin's network: its interface and its resolv.conf are the engine's."""

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
    """Empty: it does not say."""


class StateDirectoryFacts(Struct, frozen=True, kw_only=True):
    """The state directory."""

    directory: str
    problem: str = ""
    """Why it cannot be used; empty: it can."""
    free: int = 0
    """Bytes."""
    damaged: tuple[str, ...] = ()
    """Files that were set aside, or cannot be read."""


class HostFacts(Struct, frozen=True, kw_only=True):
    """What was seen of the host."""

    kernel: tuple[KernelFeature, ...] = ()
    kernel_problem: str = ""
    """Why the kernel was not tried; empty: it was."""
    settings: Mapping[str, str] = {}
    """Values of /proc/sys by dotted name; only those that there are."""
    underlay: str = ""
    """The interface towards other hosts; empty: none was found."""
    underlay_mtu: int = 0
    routes: tuple[tuple[str, str], ...] = ()
    """(network, device), without what is the overlay's own."""
    forward: tuple[Forward, ...] = ()
    forward_problem: str = ""
    blocks: tuple[BlockingRule, ...] = ()
    entries: tuple[BridgeEntry, ...] = ()
    bridge: bool = False
    """There is a bridge `weave`."""
    bridge_problem: str = ""
    engine: str = ""
    """Name and version of the container engine; empty: none answers."""
    engine_problem: str = ""
    containers: tuple[ContainerFacts, ...] = ()
    containers_problem: str = ""
    dns: tuple[tuple[str, str], ...] = ()
    """(`UDP` or `TCP`, why no answer came); an empty reason: one came. Empty: DNS was not asked."""
    router: ProgramFacts = ProgramFacts(state="none")
    proxy: ProgramFacts = ProgramFacts(state="none")
    plugin: tuple[tuple[str, str], ...] = ()
    """(socket, why it does not answer)."""
    state: StateDirectoryFacts | None = None
    wall: int = 0
    """This host's clock, in nanoseconds."""


class Facts(Struct, frozen=True, kw_only=True):
    """All of it."""

    program: str
    """The version of the command itself."""
    report: Mapping[str, Any] | None = None
    """What the router says of itself; None: it does not answer."""
    problem: str = ""
    """Why there is no report, where it is another reason than that no router runs."""
    options: Mapping[str, Any] = {}
    """With what it was launched, as flags' names with underscores."""
    version: str = ""
    """Of the running router."""
    clocks: Sequence[Mapping[str, Any]] | None = None
    """How far the clock of each neighbour is off; None: was not asked."""
    host: HostFacts | None = None
    """None: a simulated host."""

    @property
    def driver(self) -> Mapping[str, Any]:
        """The part of the report that is not the node's own."""
        found: Mapping[str, Any] = (self.report or {}).get("driver", {})
        return found

    @property
    def mesh(self) -> Mapping[str, Any]:
        """The part of the report about peers."""
        found: Mapping[str, Any] = (self.report or {}).get("mesh", {})
        return found

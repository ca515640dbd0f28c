"""The abilities of a backend: small protocols, one for each. The runner knows only these.

A backend turns the underlay of a resolved scenario into a `Lab` of `Host`s. All access to hosts goes through here and
through `lab.fabric`; the overlay on the hosts is driven by its own `weave` command (`Host.exec`).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar, runtime_checkable

from msgspec import Struct

from lab.fabric.relay.orders import DirectionCounts, RelayReply
from lab.links.changes import LinkChange
from lab.links.topology import EdgeChange
from lab.records.history import PeerGone, Sample, View

T = TypeVar("T")


class CommandResult(Struct, frozen=True):
    """The result of a command: exit code and output."""

    code: int
    out: str
    err: str


KILLED_BY_TIMEOUT = 124
"""Exit code after a timeout, as in timeout(1)."""


def overdue(timeout: float, out: str = "", err: str = "") -> CommandResult:
    """The result of a command that was killed after its timeout."""
    return CommandResult(KILLED_BY_TIMEOUT, out, f"{err}killed: not done after {timeout:g} s\n")


class Probe(Struct, frozen=True, kw_only=True):
    """One probe of one pair, on a fixed schedule: due at `first + k * every`."""

    probe: str
    """Its kind (`lab.kinds.probes`)."""
    container: str
    """Engine name of the container that sends (`svc1`); the probe runs inside its network namespace."""
    source: str
    target: str
    address: str
    """The target's IP literal; for dns: the name server's."""
    port: int = 0
    path: str = "/"
    every: int
    timeout: int
    first: int = 0
    """Phase in nanoseconds, drawn from the run's seed: tries are due when the clock is `first` modulo `every`. 0:
    derived from the name."""
    options: dict[str, bool | int | str] = {}
    """Options, as in the scenario."""
    serves: bool = False
    """It sends nothing: it answers the probes of this kind in the container, at `port`."""
    netns: str = ""
    """Path of the container's network namespace as the agent sees it (`/proc/123/ns/net`); set by the backend."""


class Host(Protocol):
    """One machine of the lab."""

    name: str
    address: str
    """Its first underlay address."""

    async def exec(
        self, argv: Sequence[str], *, container: str = "", timeout: float = 30.0, env: Mapping[str, str] = {}
    ) -> CommandResult:
        """Run a command on the host, or in one of its containers, and collect its output."""
        ...

    def views(self) -> AsyncIterator[View | PeerGone]:
        """The daemon's view from now on, at each change, and `PeerGone` when it stops. Does not end by itself."""
        ...

    def probe(self, probes: Sequence[Probe]) -> AsyncIterator[Sample]:
        """Run these probes from containers of this host until the iterator is closed. Failures do not stop it."""
        ...

    async def kill_daemon(self) -> None:
        """`kill -9` of the overlay's daemon."""
        ...

    async def signal(self, number: int, *, container: str = "", daemon: bool = False) -> None:
        """Send a signal to the overlay's daemon, to all processes of a container, or else to all processes of the host.

        Spares the lab's own processes on the host, and its process 1. Does nothing where nothing runs.
        """
        ...

    async def kill(self) -> None:
        """Power off: every process of the host dies at once; its disk stays."""
        ...

    async def start(self) -> None:
        """Power on again after `kill`."""
        ...


class LineReader(Protocol):
    """A program's output, with the interface of `asyncio.StreamReader`."""

    async def readline(self) -> bytes:
        """The next line; b"" at the end. Raises `ValueError` for one that is too long."""
        ...

    def at_eof(self) -> bool:
        """Whether all data was read and the stream has ended."""
        ...


@runtime_checkable
class Conversing(Protocol):
    """A host that can run a program that exchanges lines; needed by drivers of overlays."""

    def converse(
        self, argv: Sequence[str], *, env: Mapping[str, str], complain: Callable[[str], None], limit: int
    ) -> AbstractAsyncContextManager[tuple[LineReader, Callable[[bytes], object]]]:
        """Run a program on the host until the context ends; yields its output, and a function that writes to its input.

        `complain` gets each line of its standard error, truncated if long; `limit`: bytes of a line of output.
        """
        ...


class Adjustable(Protocol):
    """A host whose disk and clock can be disturbed; needed by `slow_disk` and `clock` steps."""

    async def set_disk(self, *, latency: int, full: bool, torn: bool = False) -> None:
        """From now on a synced write takes `latency` ns, or waits until there is room; with `torn`, a power cut tears
        data that is written from now on."""
        ...

    async def set_clock(self, *, offset: int | None, drift: int) -> None:
        """From now on the clock is `offset` ns ahead (None: unchanged) and drifts, in parts per billion."""
        ...


@runtime_checkable
class Traceable(Protocol):
    """A backend whose runs can be traced (`lab.records.trace`)."""

    traced: bool
    """Whether the next run is traced."""

    def traces(self) -> Mapping[str, Sequence[Sequence[Any]]]:
        """The tables of the last traced run."""
        ...


class HoldsMember(Protocol):
    """A host that can run one member of a protocol (`lab.protocols`)."""

    async def begin_member(self, make: Callable[..., Any], options: Mapping[str, Any]) -> None:
        """Start a member; raises `LabError` if one runs, or the host is off."""
        ...

    def join_member(self, seeds: tuple[str, ...]) -> None:
        """Tell the member about others; raises `LabError` if none runs."""
        ...

    def publish(self, id: str, size: int) -> None:
        """Let the member broadcast a message; raises `LabError` if none runs."""
        ...

    async def farewell_member(self) -> None:
        """Let the member leave gracefully; raises `LabError` if none runs."""
        ...

    def member_log(self) -> Sequence[str]:
        """Log of the members of this host."""
        ...


class Stressed(Protocol):
    """A host whose CPUs can be kept busy; needed by `stress` steps."""

    @property
    def cores(self) -> int:
        """Number of CPUs."""
        ...

    async def set_stress(self, *, millicores: int, memory: int) -> None:
        """From now on processes at normal priority keep `millicores` busy, and hold `memory` bytes."""
        ...


class Engined(Protocol):
    """A host whose container engine can be ended and started; needed by `engine` of `kill` and `restart`."""

    async def end_engine(self, number: int, *, live_restore: bool) -> None:
        """Send this signal (SIGKILL, SIGTERM) to the engine, wait for its end, and keep it down.

        After SIGTERM it stops its containers too, unless it has `live_restore`.
        """
        ...

    async def start_engine(self, *, live_restore: bool) -> None:
        """Start it again after `end_engine`, and wait until it answers.

        With `live_restore` it takes over the containers that still run, otherwise it ends them.
        """
        ...


class Sniffing(Struct, frozen=True, kw_only=True):
    """What to capture on one host."""

    label: str
    """Prefix of the interfaces' names in the file."""
    container: str = ""
    """Engine name of the container whose interfaces are captured; empty: the host's."""
    interfaces: tuple[str, ...] = ()
    """Names, or `any`; empty: a host's cables, or all interfaces of a container."""
    program: str = ""
    """Classic BPF (`lab.capture.filters`)."""
    between: tuple[str, ...] = ()
    """Addresses of which each packet must have one; empty: any packet."""
    most: int
    """Maximum bytes."""


class Sniffed(Protocol):
    """A host whose packets can be captured; needed by `capture` steps."""

    async def sniff(self, wanted: Sniffing, take: Callable[[bytes], None], enough: asyncio.Event) -> None:
        """Pass pcapng to `take` as packets arrive, until `enough` is set or the place is gone; waits for a host that is
        off and a container that does not run. Raises `LabError` if capturing is not possible here."""
        ...


class Obstacle(Struct, frozen=True):
    """Traffic to drop between any two of these hosts: a protocol (port 0: all of it), or packets that exceed an MTU."""

    hosts: tuple[str, ...]
    protocol: str = ""
    port: int = 0
    mtu: int = 0


class Lab(Protocol):
    """A running lab."""

    @property
    def hosts(self) -> Mapping[str, Host]:
        """Hosts by name, in the scenario's order."""
        ...

    async def set_cut(self, pairs: frozenset[tuple[str, str]]) -> None:
        """Cut exactly these directions (sender, receiver), host names; all others pass. Atomic."""
        ...

    def now(self) -> int:
        """Nanoseconds since the run started (virtual on `sim`)."""
        ...

    def wall_clock(self) -> int:
        """The time of day, in nanoseconds since 1970 (virtual on `sim`)."""
        ...

    async def sleep_until(self, t: int) -> None:
        """Wait until `now()` is at least `t`."""
        ...

    async def down(self) -> None:
        """End everything; idempotent."""
        ...


class Obstructed(Protocol):
    """A lab whose network can have obstacles."""

    async def set_obstacle(self, key: int, obstacle: Obstacle | None) -> None:
        """Set this obstacle, or remove it; those of other keys stay."""
        ...


class Linked(Protocol):
    """A lab whose links can change while it runs."""

    async def set_link(self, key: int, change: LinkChange | None) -> None:
        """Set this change, or remove it; those of other keys stay.

        Changes override the scenario's links parameter by parameter; of several, the one whose key was set last wins,
        and a key that is set again keeps its position (`lab.links.changes.ChangedLinks` defines the result). When this
        returns, the new links apply to packets that are sent from then on.
        """
        ...


class Cabled(Protocol):
    """A lab with a topology between its hosts, whose cables can change while it runs."""

    async def set_cable(self, key: int, change: EdgeChange | None) -> None:
        """Apply this change to cables, or remove it; those of other keys stay, and of several the last one wins."""
        ...


class Plugged(Protocol):
    """A lab whose hosts' cables can be unplugged, so that a host's interface loses its carrier."""

    async def set_unplugged(self, key: int, plugs: frozenset[tuple[str, str]]) -> None:
        """This key unplugs exactly these (host, network); a cable is plugged in when no key unplugs it."""
        ...


class Readdressable(Protocol):
    """A lab whose hosts can change their underlay addresses while they run."""

    async def set_address(self, host: str, network: str, address: str) -> None:
        """Replace the host's address in this network; its MAC stays.

        Everything in the lab that names addresses is updated: hosts files, neighbour entries, rules of routers.
        """
        ...


@runtime_checkable
class Relayed(Protocol):
    """A lab with links that a relay may implement, which counts its packets."""

    relayed: Callable[[Sequence[DirectionCounts]], None]
    """Called with the counters of links that were changed."""

    async def link_counts(self) -> RelayReply | None:
        """Counters of relayed links so far; None when no link is relayed."""
        ...


class Joinable(Protocol):
    """A running lab that more hosts can join."""

    async def join(self, scenario: Any, name: str) -> None:
        """Boot a host that the scenario now contains, and connect it; no overlay yet."""
        ...


class Backend(Protocol):
    """One kind of host. Registered by name in `lab.kinds.backends`."""

    name: str

    def refuse(self, scenario: Any) -> list[str]:
        """Unsupported features of this scenario: one sentence each, naming the step. Starts nothing."""
        ...

    async def up(self, scenario: Any) -> Lab:
        """Start the hosts and the network between them; no overlay yet."""
        ...


@runtime_checkable
class Virtual(Protocol):
    """A backend with virtual time: nothing waits for a real clock, and a run is a function of its inputs."""

    virtual: bool

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in virtual time."""
        ...


@runtime_checkable
class Paced(Protocol):
    """A backend whose hosts may be slower than a scenario's author assumed."""

    def pace(self) -> tuple[int, str]:
        """Factor by which to slow a scenario down on this machine, and why; 1 if nothing is slow."""
        ...


@runtime_checkable
class Housed(Protocol):
    """A backend whose labs have their own namespaces and serve other terminals from there."""

    def inside(self, work: Callable[[], int], *, name: str, detach: bool = False) -> int:
        """Run `work` inside a fresh lab, in which `up` works; returns its exit code, as `netns.launch` does."""
        ...

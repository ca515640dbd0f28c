"""What a backend can do: small protocols, one for each capability. The runner knows only these.

A backend turns the underlay of a resolved scenario into a `Lab` of `Host`s. Everything that touches hosts goes
through here and through `lab.fabric`; the overlay on the hosts is driven by its own `weave` command (`Host.exec`).
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
    """How a command ended: exit code and what it wrote."""

    code: int
    out: str
    err: str


KILLED_BY_TIMEOUT = 124
"""Exit code of a command that took too long, as of timeout(1)."""


def overdue(timeout: float, out: str = "", err: str = "") -> CommandResult:
    """How a command ended that was killed after its timeout."""
    return CommandResult(KILLED_BY_TIMEOUT, out, f"{err}killed: not done after {timeout:g} s\n")


class Probe(Struct, frozen=True, kw_only=True):
    """One probe of one pair, on a fixed schedule: due at `first + k * every`."""

    probe: str
    """Its kind (`lab.kinds.probes`)."""
    container: str
    """Engine name of the container that asks (`svc1`); the probe runs inside its network namespace."""
    source: str
    target: str
    address: str
    """IP literal to ask; for dns: the name server's."""
    port: int = 0
    path: str = "/"
    every: int
    timeout: int
    first: int = 0
    """Phase in nanoseconds, drawn from the run's seed: tries are due where the clock is `first` modulo `every`. 0: its
    name gives one."""
    options: dict[str, bool | int | str] = {}
    """As the scenario has them."""
    serves: bool = False
    """It asks nobody: it answers the probes of this kind in the container, at `port`."""
    netns: str = ""
    """Path of the container's network namespace as the agent sees it (`/proc/123/ns/net`); the backend fills it in."""


class Host(Protocol):
    """One machine of the lab."""

    name: str
    address: str
    """Its first underlay address."""

    async def exec(
        self, argv: Sequence[str], *, container: str = "", timeout: float = 30.0, env: Mapping[str, str] = {}
    ) -> CommandResult:
        """Run a command on the host, or inside one of its containers; its output is collected."""
        ...

    def views(self) -> AsyncIterator[View | PeerGone]:
        """The daemon's view from now on: again at each change, `PeerGone` when it stops. Never ends by itself."""
        ...

    def probe(self, probes: Sequence[Probe]) -> AsyncIterator[Sample]:
        """Run these probes from containers of this host until the iterator is closed. Never stops for failures."""
        ...

    async def kill_daemon(self) -> None:
        """`kill -9` of the overlay's daemon."""
        ...

    async def signal(self, number: int, *, container: str = "", daemon: bool = False) -> None:
        """Send a signal to the overlay's daemon, to all processes of a container, or else to all of the host.

        The lab's own processes on the host, and the first of all, are spared. Where nothing runs nothing is done."""
        ...

    async def kill(self) -> None:
        """Power off: every process of the host dies at once; its disk stays."""
        ...

    async def start(self) -> None:
        """Power on again after `kill`."""
        ...


class LineReader(Protocol):
    """What a program writes, as `asyncio.StreamReader` gives it."""

    async def readline(self) -> bytes:
        """The next line; b"" at the end. Raises `ValueError` for one that is too long."""
        ...

    def at_eof(self) -> bool:
        """Whether all was read and nothing will come."""
        ...


@runtime_checkable
class Conversing(Protocol):
    """A host on which a program can run that is told and answers in lines; what drivers of overlays need."""

    def converse(
        self, argv: Sequence[str], *, env: Mapping[str, str], complain: Callable[[str], None], limit: int
    ) -> AbstractAsyncContextManager[tuple[LineReader, Callable[[bytes], object]]]:
        """Run a program on the host until the context ends: what it writes, and what writes to it.

        `complain` gets each line of its standard error, cut where it is long; `limit`: bytes of a line of output."""
        ...


class Adjustable(Protocol):
    """A host whose devices can be disturbed; what `slow_disk` and `clock` steps need, for backends that offer them."""

    async def set_disk(self, *, latency: int, full: bool, torn: bool = False) -> None:
        """From now on a synced write takes `latency` ns, or waits until there is room; with `torn` what is
        written from now on is torn when the power is cut."""
        ...

    async def set_clock(self, *, offset: int | None, drift: int) -> None:
        """From now on the clock is `offset` ns ahead (None: as it is) and drifts, in parts per billion."""
        ...


@runtime_checkable
class Traceable(Protocol):
    """A backend whose runs can be traced (`lab.records.trace`)."""

    traced: bool
    """Whether the next run is."""

    def traces(self) -> Mapping[str, Sequence[Sequence[Any]]]:
        """The tables of the last run that was traced."""
        ...


class HoldsMember(Protocol):
    """A host that can run one member of a protocol (`lab.protocols`)."""

    async def begin_member(self, make: Callable[..., Any], options: Mapping[str, Any]) -> None:
        """Run one; raises `LabError` where one runs, or the host is off."""
        ...

    def join_member(self, seeds: tuple[str, ...]) -> None:
        """Tell the member of others; raises `LabError` where none runs."""
        ...

    def publish(self, id: str, size: int) -> None:
        """Let the member bring a message to all; raises `LabError` where none runs."""
        ...

    async def farewell_member(self) -> None:
        """Let the member leave in good order; raises `LabError` where none runs."""
        ...

    def member_log(self) -> Sequence[str]:
        """What members of this host have noted."""
        ...


class Stressed(Protocol):
    """A host whose processors can be kept busy; what `stress` steps need."""

    @property
    def cores(self) -> int:
        """How many it has."""
        ...

    async def set_stress(self, *, millicores: int, memory: int) -> None:
        """From now on processes at normal priority keep `millicores` busy, and hold `memory` bytes."""
        ...


class Engined(Protocol):
    """A host whose container engine can be ended and started; what `engine` of `kill` and `restart` needs."""

    async def end_engine(self, number: int, *, live_restore: bool) -> None:
        """Send this signal (SIGKILL, SIGTERM) to the engine, wait for its end, and keep it down.

        With SIGTERM it takes its containers along, unless it has `live_restore`."""
        ...

    async def start_engine(self, *, live_restore: bool) -> None:
        """Start it again after `end_engine`, and wait until it answers.

        With `live_restore` it takes over the containers that still run, else it ends them."""
        ...


class Sniffing(Struct, frozen=True, kw_only=True):
    """What is captured on one host."""

    label: str
    """What the interfaces are called in the file, before their own names."""
    container: str = ""
    """Engine name of the container whose interfaces are meant; empty: the host's."""
    interfaces: tuple[str, ...] = ()
    """Names, or `any`; empty: the cables of a host, all of a container."""
    program: str = ""
    """Classic BPF (`lab.capture.filters`)."""
    between: tuple[str, ...] = ()
    """Addresses of which one must be in each packet; empty: any packet."""
    most: int
    """Bytes."""


class Sniffed(Protocol):
    """A host whose packets can be captured; what `capture` steps need."""

    async def sniff(self, wanted: Sniffing, take: Callable[[bytes], None], enough: asyncio.Event) -> None:
        """Give pcapng to `take` as packets pass, until there is enough or the place is gone; waits for a host that is
        off and a container that does not run. Raises `LabError` for what cannot be captured here."""
        ...


class Obstacle(Struct, frozen=True):
    """What is dropped between any two of these hosts: a protocol (port 0: all of it), or what exceeds an MTU."""

    hosts: tuple[str, ...]
    protocol: str = ""
    port: int = 0
    mtu: int = 0


class Lab(Protocol):
    """A running lab."""

    @property
    def hosts(self) -> Mapping[str, Host]:
        """By name, in the scenario's order."""
        ...

    async def set_cut(self, pairs: frozenset[tuple[str, str]]) -> None:
        """Cut exactly these directions (sender, receiver), host names; all others pass. One atomic switch."""
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
    """A lab whose network can be obstructed."""

    async def set_obstacle(self, key: int, obstacle: Obstacle | None) -> None:
        """Set this obstacle, or take it away; those of other keys stay."""
        ...


class Linked(Protocol):
    """A lab whose links can be changed while it runs."""

    async def set_link(self, key: int, change: LinkChange | None) -> None:
        """Set this change, or take it away; those of other keys stay.

        Changes go over the scenario's links parameter by parameter; of several the one whose key was set last wins,
        and a key that is set again keeps its place (`lab.links.changes.ChangedLinks` says what holds). When this
        returns, the new links hold for packets that are sent from then on."""
        ...


class Cabled(Protocol):
    """A lab with a topology between its hosts whose cables can change while it runs."""

    async def set_cable(self, key: int, change: EdgeChange | None) -> None:
        """Put this change over cables, or take it away; those of other keys stay, and of several the last one wins."""
        ...


class Plugged(Protocol):
    """A lab whose hosts' cables can be pulled, so that a host sees that its interface has no carrier."""

    async def set_unplugged(self, key: int, plugs: frozenset[tuple[str, str]]) -> None:
        """This key holds these (host, network) unplugged, and no others; one is plugged in when no key holds it."""
        ...


class Readdressable(Protocol):
    """A lab whose hosts can get another underlay address while they run."""

    async def set_address(self, host: str, network: str, address: str) -> None:
        """From now on the host has this address in this network instead of the one before; its MAC stays.

        Everything of the lab that names addresses follows: hosts files, neighbour entries, rules of routers."""
        ...


@runtime_checkable
class Relayed(Protocol):
    """A lab of which some links may be made by a relay, which counts what it does."""

    relayed: Callable[[Sequence[DirectionCounts]], None]
    """Told what links did that have been changed."""

    async def link_counts(self) -> RelayReply | None:
        """What relayed links did so far; None where no link is relayed."""
        ...


class Joinable(Protocol):
    """A running lab that more hosts can join."""

    async def join(self, scenario: Any, name: str) -> None:
        """Boot a host that the scenario has by now, and plug it in; no overlay yet."""
        ...


class Backend(Protocol):
    """One kind of host. Registered by name in `lab.kinds.backends`."""

    name: str

    def refuse(self, scenario: Any) -> list[str]:
        """What of this scenario this backend cannot honour: one sentence each, naming the step. Starts nothing."""
        ...

    async def up(self, scenario: Any) -> Lab:
        """Bring up the hosts and the network between them; no overlay yet."""
        ...


@runtime_checkable
class Virtual(Protocol):
    """A backend with a time of its own: nothing waits for a real clock, and a run is a function of its inputs."""

    virtual: bool

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry out a coroutine in that time."""
        ...


@runtime_checkable
class Paced(Protocol):
    """A backend whose hosts may be slower than a scenario's author had in mind."""

    def pace(self) -> tuple[int, str]:
        """How many times as long a scenario should take on this machine, and why; 1 where nothing is slow."""
        ...


@runtime_checkable
class Housed(Protocol):
    """A backend whose labs live in namespaces of their own and answer other terminals from there."""

    def inside(self, work: Callable[[], int], *, name: str, detach: bool = False) -> int:
        """Run `work` inside a fresh lab, in which `up` works; returns its exit code, as `netns.launch` does."""
        ...

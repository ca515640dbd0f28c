"""The runner's interface to an overlay of any kind: launch, connect, run, remove, restart, and the address of a
service.

Owns the protocol and how a command on a host is executed or fails. Uses hosts only through `lab.contracts.lab`.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from ipaddress import IPv4Interface, IPv6Interface
from typing import Any, Protocol, TypeVar, runtime_checkable

from msgspec import Struct

from lab.contracts.lab import Host, Lab
from lab.errors import LabError
from lab.kinds.options import Options
from lab.scenario.resolve import Replica, Resolved

T = TypeVar("T")


class CommandFailed(LabError):
    """A command on a host did not exit with 0; the text has its last lines."""

    def __init__(self, host: str, argv: Sequence[str], code: int, output: str) -> None:
        self.host, self.argv, self.code, self.output = host, tuple(argv), code, output
        shown = " ".join(argv[:6]) + (" …" if len(argv) > 6 else "")
        super().__init__(f"{host}: `{shown}` ended with {code}: {last_lines(output) or 'no output'}")


def last_lines(text: str, number: int = 5) -> str:
    """The last non-blank lines of some output."""
    return "\n".join([line for line in text.splitlines() if line.strip()][-number:])


async def must(host: Host, argv: Sequence[str], *, container: str = "", timeout: float = 180.0) -> str:
    """A command's standard output; raises `CommandFailed` unless it exits with 0.

    The timeout is for commands that hang: on a busy emulated machine a container takes a minute to start.
    """
    result = await host.exec(argv, container=container, timeout=timeout)
    if result.code != 0:
        raise CommandFailed(host.name, argv, result.code, result.err.strip() or result.out)
    return result.out


async def together(work: Iterable[Coroutine[Any, Any, T]], *, at_once: int = 16) -> list[T]:
    """The results of all, at most `at_once` at a time; a failure cancels the others and is raised."""
    gate = asyncio.Semaphore(at_once)

    async def one(item: Coroutine[Any, Any, T]) -> T:
        async with gate:
            return await item

    tasks = [asyncio.ensure_future(one(item)) for item in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class OnSubnets:
    """Shared by overlays whose replicas reach each other only within a subnet."""

    def __init__(self) -> None:
        self._addresses: dict[str, IPv4Interface | IPv6Interface] = {}

    def address_of(self, replica: str) -> str:
        """Its first overlay address."""
        interface = self._addresses.get(replica)
        return str(interface.ip) if interface else ""

    def endpoint(self, source: Replica, target: Replica, port: int) -> tuple[str, int] | None:
        """Replicas of one subnet reach each other directly; those of different subnets do not."""
        ours, theirs = self._addresses.get(source.name), self._addresses.get(target.name)
        if ours is None or theirs is None or theirs.ip not in ours.network or ours.ip not in theirs.network:
            return None
        return str(theirs.ip), port


class Overlay(Protocol):
    """One kind of overlay on a running lab. Methods raise `CommandFailed` (or another `LabError`)."""

    kind: str
    has_daemons: bool
    """Whether hosts run a daemon, which can be killed and restarted."""
    has_views: bool
    """Whether these daemons report their beliefs, as ours do (`Host.views`)."""
    has_dns: bool

    async def launch(self, hosts: Sequence[str], options: Options) -> None:
        """Start the overlay on these hosts; `options` override the scenario's."""
        ...

    async def connect(self, source: str, targets: Sequence[str]) -> None:
        """Connect one host's peer to those of others."""
        ...

    async def run(self, replica: Replica) -> None:
        """Start a container and give it its address."""
        ...

    async def remove(self, replica: Replica) -> None:
        """Remove a container, running or not; its address becomes free."""
        ...

    async def kill(self, replica: Replica) -> None:
        """SIGKILL of a container's processes; the container stays, stopped."""
        ...

    async def restart(self, replica: Replica) -> None:
        """Start a stopped container again, attached to the overlay as before."""
        ...

    async def relaunch(self, host: str) -> bool:
        """Start the overlay on a host again after its daemon or the host was killed; containers are not touched.

        True when a daemon runs there now.
        """
        ...

    async def stop(self, host: str) -> None:
        """Stop the overlay's daemon on a host gracefully, with a farewell; containers are not touched."""
        ...

    async def kill_daemon(self, host: str) -> None:
        """`kill -9` of the overlay's daemon on a host."""
        ...

    def address_of(self, replica: str) -> str:
        """The overlay address of a running replica, without prefix; empty when it has none."""
        ...

    def endpoint(self, source: Replica, target: Replica, port: int) -> tuple[str, int] | None:
        """(address, port) at which one replica reaches another; None when the overlay separates them on purpose."""
        ...

    async def resolver(self, host: str) -> str:
        """The address of the name server that a host's containers use."""
        ...

    async def log_tail(self, host: str) -> str:
        """The last lines of a host's daemon, for users; empty when there are none."""
        ...


@runtime_checkable
class ClosableOverlay(Protocol):
    """An overlay with resources outside its hosts."""

    async def close(self) -> None:
        """The lab ends: release them."""
        ...


@runtime_checkable
class SelfTelling(Protocol):
    """An overlay that describes itself once it is launched."""

    @property
    def told(self) -> Mapping[str, Any]:
        """Facts for the history: name, version, how addresses are assigned."""
        ...


class OverlayReport(Struct, frozen=True, kw_only=True):
    """The claims of an overlay about one host, and what the lab knows of it."""

    running: bool
    """Whether it claims to run."""
    peers: tuple[str, ...] = ()
    """Hosts that it claims to reach; empty if it cannot tell."""
    connected: tuple[str, ...] = ()
    """Hosts that the lab has connected it with, directly or through others."""
    stopped: bool = False
    """Whether the lab stopped or killed it, and has not started it again."""
    left: tuple[str, ...] = ()
    """Its processes that run although it is stopped, in words."""


@runtime_checkable
class Reporting(Protocol):
    """An overlay that can be asked what it believes."""

    async def report(self, host: str) -> OverlayReport | None:
        """Ask it on one host, which is on; None if it was not launched there. Raises `LabError`."""
        ...


class OverlayFactory(Protocol):
    """Creates the overlay of a scenario on a lab."""

    def __call__(self, lab: Lab, scenario: Resolved) -> Overlay: ...

"""The real `weave` command on a simulated host, in virtual time: the same coroutines as on a real one.

Owns the environment of such a command. The host implements what it awaits (the daemon's answer, a launch, a farewell)
while time passes. Knows nothing of what the commands mean.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from lab.contracts.lab import CommandResult
from overlay.cli.client import DaemonClient, Pairs
from overlay.cli.environment import CommandEnvironment
from overlay.cli.main import weave
from overlay.daemon.control.route import Fields
from overlay.daemon.control.table import Asked
from overlay.options import LaunchOptions
from overlay.ranges import Network

__all__ = ["RouterLife", "run_weave"]


class RouterLife(Protocol):
    """Operations of commands on the router of a simulated host. Every failure raises `OverlayError`."""

    async def launch(self, options: LaunchOptions) -> None:
        """Start a daemon."""
        ...

    async def ask(self, asked: Asked) -> str:
        """The daemon's answer as text."""
        ...

    async def leave(self, *, surrender: bool, restart: bool) -> None:
        """Send a farewell; returns when the daemon has ended."""
        ...

    async def clean_up(self) -> None:
        """Remove the leftovers of a daemon that does not run."""
        ...


class _SimulatedClient(DaemonClient):
    """The daemon of a simulated host."""

    def __init__(self, router: RouterLife) -> None:
        self._router = router

    async def ask(
        self, method: str, path: str, query: Pairs = (), form: Pairs | None = None, value: Any = None, lines: str = ""
    ) -> str:
        body = lines.encode() if value is None else msgspec.json.encode(value)
        return await self._router.ask(Asked(method, path, Fields.of(query), Fields.of(form or ()), body))

    async def leave(self, *, surrender: bool = False, restart: bool = False) -> None:
        await self._router.leave(surrender=surrender, restart=restart)


class _SimulatedEnvironment(CommandEnvironment):
    """A simulated host, as one command sees it."""

    simulated = True

    def __init__(
        self,
        router: RouterLife,
        environment: Mapping[str, str],
        routes: Sequence[tuple[Network, str]],
        bridge: str,
    ) -> None:
        super().__init__(environment, _SimulatedClient(router))
        self.out, self.err = io.StringIO(), io.StringIO()
        self._router = router
        self._routes = routes
        self._bridge = bridge

    def write(self, text: str, *, complaint: bool = False) -> None:
        (self.err if complaint else self.out).write(text)

    async def start_router(self, words: Sequence[str], options: LaunchOptions) -> None:
        await self._router.launch(options)

    async def clean_up(self) -> None:
        await self._router.clean_up()

    def routes(self) -> Sequence[tuple[Network, str]]:
        return self._routes

    def look(
        self,
        report: Mapping[str, Any] | None,
        options: Mapping[str, Any],
        attached: Sequence[Mapping[str, Any]],
    ) -> None:
        return None

    def bridge_address(self, name: str) -> str:
        return self._bridge

    def has_units(self) -> bool:
        return False


async def run_weave(
    words: Sequence[str],
    environment: Mapping[str, str],
    router: RouterLife,
    routes: Sequence[tuple[Network, str]] = (),
    bridge: str = "",
) -> CommandResult:
    """Run `weave WORDS`. `routes` are the networks of its host, `bridge` is the address of its engine's bridge."""
    here = _SimulatedEnvironment(router, environment, routes, bridge)
    code = await weave(here, words)
    return CommandResult(code, here.out.getvalue(), here.err.getvalue())

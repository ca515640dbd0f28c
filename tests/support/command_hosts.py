"""Hosts for commands of `weave` that are tried without a machine: nothing runs there until a command starts it."""

from collections.abc import Mapping, Sequence
from typing import Any

from overlay.cli.client import DaemonClient, NotRunning, Pairs
from overlay.cli.environment import CommandEnvironment
from overlay.options import LaunchOptions
from overlay.ranges import Network


class Answers(DaemonClient):
    """A daemon that answers each request with the same text; None: none runs."""

    def __init__(self, text: str | None = None) -> None:
        self.text = text
        self.asked: list[tuple[str, str, Pairs, Pairs | None, Any]] = []

    async def ask(
        self, method: str, path: str, query: Pairs = (), form: Pairs | None = None, value: Any = None, lines: str = ""
    ) -> str:
        self.asked.append((method, path, query, form, value))
        if self.text is None:
            raise NotRunning
        return self.text

    async def leave(self, *, surrender: bool = False, restart: bool = False) -> None:
        if self.text is None:
            raise NotRunning
        self.text = None


class CommandHost(CommandEnvironment):
    """`then`: what the daemon answers once it was started."""

    simulated = True

    def __init__(self, routes: Sequence[tuple[Network, str]] = (), then: str | None = None) -> None:
        self.daemon = Answers()
        super().__init__({}, self.daemon)
        self.started: list[LaunchOptions] = []
        self.out = self.err = ""
        self._routes = routes
        self._then = then

    def write(self, text: str, *, complaint: bool = False) -> None:
        if complaint:
            self.err += text
        else:
            self.out += text

    async def start_router(self, words: Sequence[str], options: LaunchOptions) -> None:
        self.started.append(options)
        self.daemon.text = self._then

    def routes(self) -> Sequence[tuple[Network, str]]:
        return self._routes

    def look(self, report: Mapping[str, Any] | None, options: Mapping[str, Any], attached: Any) -> None:
        return None

    def bridge_address(self, name: str) -> str:
        return ""

    def has_units(self) -> bool:
        return False

    async def clean_up(self) -> None:
        return

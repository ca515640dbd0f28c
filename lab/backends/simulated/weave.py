"""The real `weave` command on a simulated host, in virtual time.

The command is ordinary, blocking code; here nothing may block. So it is run until it asks for something, what it asked
for is done while time passes, and it is run again from the start with the answers so far: its words and the answers
determine all that it does. Knows nothing of what the commands mean.
"""

import contextlib
import io
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from lab.contracts.lab import CommandResult
from overlay.cli.client import DaemonClient
from overlay.cli.main import HERE, CommandEnvironment, main
from overlay.errors import OverlayError
from overlay.options import LaunchOptions
from overlay.ranges import Network

__all__ = ["Asked", "CleanUp", "ControlRequest", "LeaveRequest", "Spawn", "run_weave"]


class ControlRequest(Struct, frozen=True):
    """One request to the daemon's control API."""

    method: str
    path: str
    body: bytes
    kind: str


class LeaveRequest(Struct, frozen=True):
    """A farewell; answered when the daemon has ended."""

    surrender: bool
    restart: bool


class Spawn(Struct, frozen=True):
    """Start a daemon."""

    options: LaunchOptions


class CleanUp(Struct, frozen=True):
    """Remove what a daemon left."""


Asked = ControlRequest | LeaveRequest | Spawn | CleanUp


class _Pending(BaseException):
    """The command waits for something that has not been done yet."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked


class _Answers:
    """What was answered so far, handed out in order."""

    def __init__(self, known: Sequence[Any]) -> None:
        self._known = known
        self._next = 0

    def ask(self, asked: Asked) -> Any:
        if self._next == len(self._known):
            raise _Pending(asked)
        answer = self._known[self._next]
        self._next += 1
        if isinstance(answer, OverlayError):
            raise answer
        return answer


class _SimClient(DaemonClient):
    """The daemon of a simulated host."""

    def __init__(self, answers: _Answers) -> None:
        super().__init__("")
        self._answers = answers

    def leave(self, *, surrender: bool = False, restart: bool = False) -> None:
        self._answers.ask(LeaveRequest(surrender, restart))

    def _ask(self, method: str, path: str, body: str | None = None, kind: str = "") -> str:
        text: str = self._answers.ask(ControlRequest(method, path, (body or "").encode(), kind))
        return text


class _SimEnvironment(CommandEnvironment):
    """A simulated host, as the command sees it."""

    def __init__(
        self,
        answers: _Answers,
        environment: Mapping[str, str],
        routes: Sequence[tuple[Network, str]],
        bridge: str,
    ) -> None:
        self._answers = answers
        self._environment = environment
        self._routes = routes
        self._bridge = bridge
        self.spawn = self._spawn

    @property
    def environment(self) -> Mapping[str, str]:
        return self._environment

    def client(self) -> DaemonClient:
        return _SimClient(self._answers)

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

    def clean_up(self) -> None:
        self._answers.ask(CleanUp())

    def _spawn(self, options: LaunchOptions) -> None:
        self._answers.ask(Spawn(options))


async def run_weave(
    words: Sequence[str],
    environment: Mapping[str, str],
    act: Callable[[Asked], Awaitable[Any]],
    routes: Sequence[tuple[Network, str]] = (),
    bridge: str = "",
) -> CommandResult:
    """Run `weave WORDS`. `act` does what it asks for; an `OverlayError` of it is raised in the command. `routes` are
    the networks of its host, `bridge` is the address of its engine's bridge."""
    answers: list[Any] = []
    while True:
        out, err = io.StringIO(), io.StringIO()
        token = HERE.set(_SimEnvironment(_Answers(answers), environment, routes, bridge))
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = main(list(words))
        except _Pending as pending:
            asked = pending.asked
        else:
            return CommandResult(code, out.getvalue(), err.getvalue())
        finally:
            HERE.reset(token)
        try:
            answers.append(await act(asked))
        except OverlayError as error:
            answers.append(error)

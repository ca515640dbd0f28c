"""The socket of a host's container engine: the engine starts at the first connection, so an idle host has none.

Owns the socket until then, and gives it to the engine, so no client is refused. Runs in the runner, which sees the
host's disk. An engine that has containers from before a power cut starts at once. Knows nothing of how one starts.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from lab.errors import LabError

__all__ = ["EngineSocket"]

_BACKLOG = 128


class EngineSocket:
    """The engine's socket on one host. `start` starts the engine, with the socket at which clients wait, if any."""

    def __init__(self, path: Path, state: Path, start: Callable[[socket.socket | None], Awaitable[None]]) -> None:
        self._path = path
        self._state = state
        self._start = start
        self._listener: socket.socket | None = None
        self._starting: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Whether an engine would start at the next connection."""
        return self._listener is not None

    async def open(self) -> None:
        """Let the engine start when it is needed: now if it has containers. Raises `LabError`."""
        containers = self._state / "containers"
        if containers.is_dir() and any(containers.iterdir()):
            await self._start(None)
        else:
            self._listen()

    async def settled(self) -> None:
        """Wait for an engine that is starting now."""
        if self._starting is not None:
            await asyncio.wait({self._starting})

    def close(self) -> None:
        """From now on connections are refused, unless an engine runs."""
        self._leave()
        if self._starting is not None:
            self._starting.cancel()
            self._starting = None

    def _listen(self) -> None:
        self._path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._listener.bind(str(self._path))
        self._listener.listen(_BACKLOG)
        asyncio.get_running_loop().add_reader(self._listener.fileno(), self._wanted)

    def _leave(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None

    def _wanted(self) -> None:
        assert self._listener is not None
        asyncio.get_running_loop().remove_reader(self._listener.fileno())
        listener, self._listener = self._listener, None
        self._starting = asyncio.create_task(self._hand_over(listener))

    async def _hand_over(self, listener: socket.socket) -> None:
        with listener:
            try:
                await self._start(listener)
            except LabError:
                # The engine's log says why. Clients are refused now, and a later one tries again.
                with contextlib.suppress(OSError):
                    self._listen()

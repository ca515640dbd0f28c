"""The lab's side of its relay: starts it, sends orders, and reports at once when it ends.

Owns the pipe and the unanswered orders. When the process ends, for any reason, frames steered to it are dropped: its
directions carry nothing, and `died` reports it.
"""

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from itertools import count
from typing import Any

import msgspec

from lab.errors import LabError
from lab.fabric.relay.orders import RelayOrder, RelayReply

__all__ = ["LINE", "Relay", "RelayLauncher"]

RelayLauncher = Callable[[str], AbstractAsyncContextManager[tuple[asyncio.StreamReader, Callable[[bytes], object]]]]
"""Starts `lab.fabric.relay.worker` on a device; yields its output, and a function that writes to its input. It ends
with the context."""
LINE = 1 << 25
"""Maximum bytes of an answer."""


class Relay:
    """A running relay. Created by `Relay.start`."""

    def __init__(self, names: Callable[[], str]) -> None:
        """`names` returns the links that it carries, for an error message."""
        self._names = names
        self._ids = count(1)
        self._waiting: dict[int, asyncio.Future[RelayReply]] = {}
        self._stack = AsyncExitStack()
        self._write: Callable[[bytes], object] = lambda data: None
        self._reading: asyncio.Task[None] | None = None
        self.died: asyncio.Future[LabError] = asyncio.get_running_loop().create_future()
        """The error message, once it has ended by itself."""

    @classmethod
    async def start(cls, launcher: RelayLauncher, device: str, names: Callable[[], str]) -> "Relay":
        """Start a relay that reads this device."""
        relay = cls(names)
        reader, relay._write = await relay._stack.enter_async_context(launcher(device))
        relay._reading = asyncio.create_task(relay._read(reader))
        try:
            await relay.order()
        except BaseException:
            await relay.close()
            raise
        return relay

    async def order(self, **order: Any) -> RelayReply:
        """Send an order; returns once it is executed. Raises `LabError`."""
        if self.died.done():
            raise self.died.result()
        number = next(self._ids)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        self._write(msgspec.json.encode(RelayOrder(id=number, **order)) + b"\n")
        reply = await self._waiting[number]
        if reply.error:
            raise LabError(f"the lab's relay cannot do what it is told: {reply.error}")
        return reply

    async def close(self) -> None:
        """End the relay."""
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
        await self._stack.aclose()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                reply = msgspec.json.decode(line, type=RelayReply)
                if (waiting := self._waiting.pop(reply.id, None)) is not None and not waiting.done():
                    waiting.set_result(reply)
        error = LabError(
            f"the lab's relay has ended by itself or was killed: {self._names()}, which it carried, "
            "carry nothing any more, and a lab whose links are not what was asked for ends"
        )
        self.died.set_result(error)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(error)

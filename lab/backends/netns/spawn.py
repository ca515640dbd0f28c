"""The runner's side of the zygote: start a process in a host, await its end, collect its output.

Owns the futures and the pipes. Knows the zygote's protocol (`zygote.ForkRequest`) and nothing of scenarios.

The zygote blocks while it sends an answer, so this side must not block: it waits for buffer space in its event loop,
where it keeps reading answers, and has at most `_UNDER_WAY` unanswered requests.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

import msgspec

from lab.backends.netns.init import HostPlan
from lab.backends.netns.zygote import MESSAGE, ForkRequest
from lab.contracts.lab import CommandResult, overdue
from lab.errors import Exhausted, LabError, no_room

_CHUNK = 1 << 16
_UNDER_WAY = 32
"""Maximum number of unanswered requests. Each carries up to four descriptors, and the kernel limits a user's
descriptors in flight (unix(7), ETOOMANYREFS)."""
_DEAD = "the lab's zygote has died"


@dataclass
class Process:
    """A process in a host. `pid` is in the lab's pid namespace."""

    pid: int
    ended: asyncio.Future[int] = field(repr=False)
    """Its exit code; negative: the signal that ended it."""

    def kill(self, number: int = signal.SIGKILL, *, group: bool = False) -> None:
        """Send a signal to it, or to its process group; does nothing when it has ended."""
        if not self.ended.done():
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(self.pid, number)


class Spawner:
    """Requests processes from the zygote. One per runner; must be created inside the event loop."""

    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self._loop = asyncio.get_running_loop()
        self._ids = count(1)
        self._started: dict[int, asyncio.Future[Process]] = {}
        self._ended: dict[int, asyncio.Future[int]] = {}
        self._under_way = asyncio.Semaphore(_UNDER_WAY)
        self._sending = asyncio.Lock()
        self._loop.add_reader(orders.fileno(), self._read)

    async def spawn(
        self,
        *,
        host: int = 0,
        init: HostPlan | None = None,
        container: int = 0,
        call: str = "",
        argv: Sequence[str] = (),
        env: Mapping[str, str] = {},
        fds: Sequence[int],
    ) -> Process:
        """Fork a process; `fds` are its standard input, output, error (and an init's channel), which stay open here."""
        number = next(self._ids)
        order = ForkRequest(
            id=number, init=init, host=host, container=container, call=call, argv=tuple(argv), env=dict(env)
        )
        message = msgspec.json.encode(order)
        if len(message) > MESSAGE:
            raise LabError(f"command of {len(message)} bytes for a host: at most {MESSAGE} bytes fit")
        async with self._under_way:
            started: asyncio.Future[Process] = self._loop.create_future()
            self._started[number] = started
            self._ended[number] = self._loop.create_future()
            try:
                await self._send(message, fds)
            except BaseException:
                del self._started[number], self._ended[number]
                raise
            return await started

    async def warm_up(self) -> None:
        """Let the zygote import now what it would import for its first process."""
        await self._send(msgspec.json.encode(ForkRequest(id=0, load=True)), ())

    async def _send(self, message: bytes, fds: Sequence[int]) -> None:
        """Send one whole request, as soon as the socket has space."""
        rights = (
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))] if fds else []
        )  # `socket.send_fds` drops its flags
        async with self._sending:
            while True:
                try:
                    self._orders.sendmsg([message], rights, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    await self._room()
                except ConnectionError:
                    raise LabError(_DEAD) from None
                else:
                    return

    async def _room(self) -> None:
        """Wait until the zygote has read from the socket."""
        free = asyncio.Event()
        self._loop.add_writer(self._orders.fileno(), free.set)
        try:
            await free.wait()
        finally:
            self._loop.remove_writer(self._orders.fileno())

    async def collect(
        self,
        *,
        host: int,
        container: int = 0,
        call: str = "",
        argv: Sequence[str],
        env: Mapping[str, str],
        timeout: float,
        stdin: int = -1,
    ) -> CommandResult:
        """Run a command to its end and return its output. After `timeout` seconds its process group is killed.

        Does not wait for output of daemons that the command leaves running. `stdin`: a descriptor that it gets a copy
        of as its standard input.
        """
        out, err = _OutputPipe(self._loop), _OutputPipe(self._loop)
        null = os.open(os.devnull, os.O_RDONLY) if stdin < 0 else os.dup(stdin)
        try:
            process = await self.spawn(
                host=host, container=container, call=call, argv=argv, env=env, fds=(null, out.writer, err.writer)
            )
        except BaseException:
            out.finish()
            err.finish()
            raise
        finally:
            for fd in (null, out.writer, err.writer):
                os.close(fd)
        try:
            code = await asyncio.wait_for(asyncio.shield(process.ended), timeout)
        except TimeoutError:
            process.kill(group=True)
            await process.ended
            return overdue(timeout, out.finish(), err.finish())
        except asyncio.CancelledError:
            process.kill(group=True)
            out.finish()
            err.finish()
            raise
        return CommandResult(code if code >= 0 else 128 - code, out.finish(), err.finish())

    def close(self) -> None:
        """Close the socket to the zygote."""
        self._loop.remove_reader(self._orders.fileno())

    def _read(self) -> None:
        while True:
            try:
                data = self._orders.recv(MESSAGE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            if not data:
                self._lost()
                return
            answer = json.loads(data)
            number = answer["id"]
            if "pid" in answer:
                future = self._started.pop(number)
                process = Process(answer["pid"], self._ended[number])
                if future.cancelled():
                    process.kill(group=True)
                else:
                    future.set_result(process)
            elif "error" in answer:
                self._ended.pop(number)
                future = self._started.pop(number)
                if not future.cancelled():
                    lacking = no_room(answer["errno"] or 0)
                    text = f"cannot start a process in the host: {lacking or answer['error']}"
                    future.set_exception(Exhausted(text) if lacking else LabError(text))
            elif not (ended := self._ended.pop(number)).done():
                ended.set_result(answer["code"])

    def _lost(self) -> None:
        """The zygote died; the supervisor is about to end the lab."""
        self.close()
        error = LabError(_DEAD)
        for started in self._started.values():
            if not started.done():
                started.set_exception(error)
        for ended in self._ended.values():
            if not ended.done():
                ended.set_exception(error)


def preloaded(argv: Sequence[str]) -> tuple[str, list[str]]:
    """(`module:function`, its arguments) of a command that a zygote has loaded; ("", argv) of any other."""
    words = list(argv)
    if words[:2] == ["sudo", "weave"]:
        del words[0]
    return ("overlay.cli.main:main", words[1:]) if words[0] == "weave" else ("", list(argv))


class _OutputPipe:
    """A pipe whose reading end is drained continuously."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reader, self.writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._reader, False)
        self._data = bytearray()
        self._open = True
        loop.add_reader(self._reader, self._drain)

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._reader, _CHUNK):
                self._data += data
            self._close()

    def _close(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._reader)
            os.close(self._reader)

    def finish(self) -> str:
        """The output so far."""
        if self._open:
            self._drain()
        self._close()
        return self._data.decode(errors="replace")

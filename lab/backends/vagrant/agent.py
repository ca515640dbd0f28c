"""The lab's agent inside a machine: `python3 -m lab.backends.vagrant.agent`, reached through ssh.

Owns one unix socket on which each connection is one request, and a zygote, so that a `weave` command costs a fork
instead of an interpreter (which takes seconds on an emulated CPU). Lives as long as the machine is on. Knows nothing of
scenarios.

A request is one JSON line. `exec` is answered by one line, an `AgentReply`; `clock` by one line with the machine's
monotonic clock, and one more for each line that follows; `probe` by `{}`, and from then on the connection is a probe
agent's input and output.
"""

import asyncio
import contextlib
import ctypes
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from lab.backends.netns import zygote
from lab.backends.netns.spawn import Spawner
from lab.errors import LabError
from lab.probes import agent as probes

FOLDER = Path("/run/overlay-lab")
ORDERS = str(FOLDER / "agent.sock")
LOG = "/var/log/overlay-lab.log"
_NICE = 5
_PRELOAD = ("overlay.cli.main", "overlay.daemon.daemon", "lab.probes.agent", "asyncio")


class AgentRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request."""

    do: Literal["exec", "clock", "skew", "probe"]
    call: str = ""
    argv: tuple[str, ...] = ()
    env: dict[str, str] = {}
    timeout: float = 0.0
    offset: int | None = None
    """skew: nanoseconds by which the wall clock shall be ahead of the right time; None: unchanged."""
    drift: int = 0
    """skew: parts per billion by which the clock runs too fast from now on."""


class AgentReply(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Result of a command."""

    code: int = 0
    out: str = ""
    err: str = ""
    error: str = ""
    """Why it could not be run."""


def main() -> None:
    """Fork the zygote, then serve until killed."""
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    Path(ORDERS).unlink(missing_ok=True)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()
        zygote.serve(theirs, _PRELOAD)
        os._exit(0)
    theirs.close()
    asyncio.run(_serve(ours))


async def _serve(orders: socket.socket) -> None:
    spawner = Spawner(orders)
    await spawner.warm_up()
    hand = _Hand(spawner)
    loop = asyncio.get_running_loop()
    tasks = set[asyncio.Task[None]]()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(ORDERS)
        listener.listen(64)
        listener.setblocking(False)
        while True:
            connection, _ = await loop.sock_accept(listener)
            task = asyncio.create_task(hand.serve(connection))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


def probe(argv: Sequence[str]) -> int:
    """A probe agent with low CPU priority, because an emulated CPU is too slow for it and the measured processes.

    So it skips some tries, and reports that; before, engines timed out while containers waited to start.
    """
    os.nice(_NICE)
    return probes.main(argv)


class _Hand:
    """Executes requests."""

    def __init__(self, spawner: Spawner) -> None:
        self._spawner = spawner
        self._loop = asyncio.get_running_loop()

    async def serve(self, connection: socket.socket) -> None:
        """One connection from its request to its end."""
        with connection, contextlib.suppress(ConnectionError):
            connection.setblocking(False)
            if not (line := await self._line(connection)):
                return
            order = msgspec.json.decode(line, type=AgentRequest)
            if order.do == "clock":
                await self._loop.sock_sendall(connection, b"%d\n" % time.monotonic_ns())
                while await self._line(connection):
                    await self._loop.sock_sendall(connection, b"%d\n" % time.monotonic_ns())
                return
            if order.do == "probe":
                await self._probe(order, connection)
                return
            if order.do == "skew":
                done = _skew(order.offset, order.drift)
            else:
                done = await self._exec(order, connection)
            await self._loop.sock_sendall(connection, msgspec.json.encode(done) + b"\n")

    async def _exec(self, order: AgentRequest, connection: socket.socket) -> AgentReply:
        """Run a command to its end, or until the client disconnects."""
        work = asyncio.ensure_future(
            self._spawner.collect(host=0, call=order.call, argv=order.argv, env=order.env, timeout=order.timeout)
        )
        left = asyncio.ensure_future(self._loop.sock_recv(connection, 1))
        try:
            await asyncio.wait((work, left), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise ConnectionAbortedError
            result = work.result()
        except LabError as error:
            return AgentReply(error=str(error))
        finally:
            for task in (work, left):
                task.cancel()
            await asyncio.gather(work, left, return_exceptions=True)
        return AgentReply(code=result.code, out=result.out, err=result.err)

    async def _probe(self, order: AgentRequest, connection: socket.socket) -> None:
        await self._loop.sock_sendall(connection, b"{}\n")
        log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            # It ends by itself when its input ends, because the client has left.
            fds = (connection.fileno(), connection.fileno(), log)
            await self._spawner.spawn(call=f"{__spec__.name}:probe", env=order.env, fds=fds)
        finally:
            os.close(log)

    async def _line(self, connection: socket.socket) -> bytes:
        """The next line; the client sends nothing more before its answer. Empty at the end."""
        data = bytearray()
        while not data.endswith(b"\n"):
            if not (more := await self._loop.sock_recv(connection, 1 << 16)):
                return b""
            data += more
        return bytes(data)


# The kernel's clock

_ADJ_FREQUENCY, _ADJ_TICK = 0x0002, 0x4000
_TICK = 10_000
"""Microseconds of a nominal tick; a difference of one is 100 ppm."""


class _Timex(ctypes.Structure):
    """The used part of `struct timex`; the rest is zero."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", ctypes.c_long * 2),
        ("tick", ctypes.c_long),
        ("rest", ctypes.c_char * 128),
    )


_RIGHT = time.time_ns() - time.monotonic_ns()
"""How far the wall clock was ahead of the monotonic clock before the first skew."""


def _skew(offset: int | None, drift: int) -> AgentReply:
    """Move the wall clock ahead, and change the clock's rate."""
    ticks, rest = divmod(drift + 50_000, 100_000)
    timex = _Timex(modes=_ADJ_FREQUENCY | _ADJ_TICK, tick=_TICK + ticks, freq=(rest - 50_000) * 65_536 // 1000)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.adjtimex(ctypes.byref(timex)) < 0:
        return AgentReply(error=f"the clock cannot drift by {drift} ppb: {os.strerror(ctypes.get_errno())}")
    if offset is not None:
        time.clock_settime_ns(time.CLOCK_REALTIME, time.monotonic_ns() + _RIGHT + offset)
    return AgentReply()


if __name__ == "__main__":
    main()

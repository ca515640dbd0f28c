"""The control socket of a running lab: an abstract unix socket, so that the kernel itself is the registry of labs.

Owns the names (`\\0overlay-lab/<uid>/<name>`, gone the moment the lab is), who may connect (the same user, or root as
that user) and the wire: one JSON object per line each way, `{"do": …}` answered by `{"ok": true, …}` or
`{"ok": false, "error": …}`; pidfds come along as SCM_RIGHTS. The client is synchronous and for commands outside
of the lab; the server runs in the runner.
"""

import asyncio
import contextlib
import json
import os
import select
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from types import TracebackType
from typing import Any, NamedTuple

from lab.errors import LabError

_PREFIX = "overlay-lab"
_CREDENTIALS = struct.Struct("3i")
_LINE = 1 << 20
_MAX_NUMBER = 1000

Operation = Callable[..., Awaitable[dict[str, Any] | tuple[dict[str, Any], int]]]


class LabName(NamedTuple):
    """A running lab: its user and its name."""

    uid: int
    name: str


def listen(name: str, *, exclusive: bool) -> tuple[socket.socket, str]:
    """Claim a lab's name; (listening socket, the name got). Without `exclusive` a taken name gets a number appended."""
    if not name or "/" in name or "\n" in name or len(name) > 64:
        raise LabError(f"{name!r} cannot be the name of a lab: expected 1 to 64 characters without a slash")
    uid = os.geteuid()
    for number in range(1, _MAX_NUMBER):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        candidate = name if number == 1 else f"{name}-{number}"
        try:
            listener.bind(_address(uid, candidate))
            listener.listen(16)
        except OSError:
            listener.close()
            if exclusive:
                raise LabError(
                    f"a lab named {name} runs already: `lab down --name {name}`, or give another --name"
                ) from None
            continue
        return listener, candidate
    raise LabError(f"{_MAX_NUMBER} labs named {name} run already")


def labs() -> list[LabName]:
    """The labs that run now: the caller's own, or everybody's for root. Sorted."""
    prefix = f"@{_PREFIX}/"
    found = set()
    with open("/proc/net/unix", errors="replace") as table:
        for line in table:
            path = line.split(maxsplit=7)[-1].rstrip("\n")
            if path.startswith(prefix):
                uid, _, name = path[len(prefix) :].partition("/")
                found.add(LabName(int(uid), name))
    own = os.geteuid()
    return sorted(lab for lab in found if own in (0, lab.uid))


def find(name: str = "") -> LabName:
    """The lab of this name, or the only one that runs; raises `LabError` that lists the choices."""
    running = labs()
    matching = [lab for lab in running if lab.name == name] if name else running
    if len(matching) == 1:
        return matching[0]
    mine = [lab for lab in matching if lab.uid == os.geteuid()]
    if len(mine) == 1:
        return mine[0]
    names = ", ".join(lab.name for lab in running) or "none"
    if name and not matching:
        raise LabError(f"no lab named {name} runs; running: {names}")
    if not running:
        raise LabError("no lab runs; `lab up SCENARIO` starts one")
    raise LabError(f"several labs run ({names}); choose one with --name")


class Client:
    """A connection to a running lab."""

    def __init__(self, lab: LabName) -> None:
        self.lab = lab
        self._socket = _connect(lab)
        self._rest = b""

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    def call(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Ask and await the answer; raises `LabError` with the lab's words when it refuses."""
        answer, fds = self._call(do, arguments)
        for fd in fds:
            os.close(fd)
        return answer

    def call_pidfd(self, do: str, **arguments: Any) -> tuple[dict[str, Any], int]:
        """The same for requests whose answer comes with a pidfd, which the caller closes."""
        answer, fds = self._call(do, arguments)
        if len(fds) != 1:
            raise LabError(f"the lab sent {len(fds)} descriptors with its answer to {do}, expected 1")
        return answer, fds[0]

    def down(self) -> None:
        """End the lab; returns once its last process is gone."""
        _, supervisor = self.call_pidfd("supervisor")
        try:
            with contextlib.suppress(LabError):  # the answer may be lost when the end is quick
                self.call("down")
            select.select([supervisor], [], [])
        finally:
            os.close(supervisor)

    def _call(self, do: str, arguments: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        self._socket.sendall(json.dumps({"do": do, **arguments}).encode() + b"\n")
        data, fds = self._rest, []
        while b"\n" not in data:
            part, more, _, _ = socket.recv_fds(self._socket, 65536, 4)
            fds += more
            if not part:
                raise LabError(f"the lab {self.lab.name} ended before it answered")
            data += part
        line, _, self._rest = data.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if not answer.pop("ok"):
            raise LabError(answer["error"])
        return answer, fds


class Server:
    """Answers requests in the runner. `operations` maps what may be asked to coroutine functions of keyword arguments.

    An operation returns a dict, or (dict, pidfd); the descriptor is closed once sent. An exception becomes the answer.
    """

    def __init__(self, listener: socket.socket, operations: dict[str, Operation]) -> None:
        self._listener = listener
        self._operations = operations
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Accept until cancelled."""
        loop = asyncio.get_running_loop()
        self._listener.setblocking(False)
        while True:
            connection, _ = await loop.sock_accept(self._listener)
            if _peer_uid(connection) != os.geteuid():  # in a user namespace: anybody but the lab's user is unmapped
                connection.close()
                continue
            task = asyncio.create_task(self._talk(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _talk(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        connection.setblocking(False)
        data = b""
        with connection, contextlib.suppress(ConnectionError):
            while part := await loop.sock_recv(connection, 65536):
                data += part
                while b"\n" in data:
                    line, _, data = data.partition(b"\n")
                    answer, fd = await self._answer(line)
                    await _send(connection, json.dumps(answer).encode() + b"\n", fd)
                if len(data) > _LINE:
                    return

    async def _answer(self, line: bytes) -> tuple[dict[str, Any], int]:
        fd = -1
        try:
            request = json.loads(line)
            operation = self._operations.get(request.pop("do", ""))
            if operation is None:
                raise LabError(f"unknown request, expected one of {', '.join(sorted(self._operations))}")
            result = await operation(**request)
        except Exception as error:
            text = str(error) if isinstance(error, LabError) else f"{type(error).__name__}: {error}"
            return {"ok": False, "error": text}, fd
        if isinstance(result, tuple):
            result, fd = result
        return {"ok": True, **result}, fd


async def _send(connection: socket.socket, data: bytes, fd: int) -> None:
    """Send all, with a descriptor beside the first byte."""
    if fd >= 0:
        try:
            socket.send_fds(connection, [data[:1]], [fd])
        finally:
            os.close(fd)
        data = data[1:]
    await asyncio.get_running_loop().sock_sendall(connection, data)


def _connect(lab: LabName) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _acting_as(lab.uid):
            connection.connect(_address(*lab))
        if (owner := _peer_uid(connection)) != lab.uid:
            raise LabError(f"user {owner} holds the name of the lab {lab.name} of user {lab.uid}; not talking to it")
    except OSError as error:
        connection.close()
        raise LabError(f"no lab named {lab.name} answers ({error.strerror})") from None
    except LabError:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def _acting_as(uid: int) -> Iterator[None]:
    """Root connects as the lab's user: inside of a user namespace nobody else can be told apart."""
    if os.geteuid() != 0 or uid == 0:
        yield
        return
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


def _peer_uid(connection: socket.socket) -> int:
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(raw)[1])


def peer_pid(connection: socket.socket) -> int:
    """The pid of the process that listens at the other end, as seen from here; 0 when it is not visible."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(raw)[0])


def _address(uid: int, name: str) -> str:
    return f"\0{_PREFIX}/{uid}/{name}"

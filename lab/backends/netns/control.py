"""The control socket of a running lab: an abstract unix socket, so that the kernel itself is the registry of labs.

Owns the names (`\\0overlay-lab/<uid>/<name>`, which disappear with the lab), who may connect (the same user, or root as
that user) and the protocol: one JSON object per line each way, `{"do": …}` answered by `{"ok": true, …}` or
`{"ok": false, "error": …}`; pidfds are passed as SCM_RIGHTS. The client is synchronous and for commands outside the
lab; the server runs in the runner.

Any user may bind any abstract name, and so write any text into /proc/net/unix. So a name counts only if it is well
formed and the kernel confirms that the user in the name listens there; and every wait for an answer has a timeout.
"""

import asyncio
import contextlib
import json
import os
import re
import select
import signal
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from types import TracebackType
from typing import Any, NamedTuple

from lab.errors import LabError

_PREFIX = "overlay-lab"
_CREDENTIALS = struct.Struct("iII")
_TIMEVAL = struct.Struct("@ll")
_LINE = 1 << 20
_ANSWER = 1 << 24
"""Maximum bytes of an answer."""
_MAX_NUMBER = 1000
_ENTRY = re.compile(rf"@{_PREFIX}/(0|[1-9][0-9]{{0,9}})/([^/\n]{{1,64}})")
"""A lab's name as /proc/net/unix shows it."""
_NOBODY = (1 << 32) - 1
"""The uid that means "no user"; the largest valid uid is one less."""
_PATIENCE = {"inspect": 20.0, "status": 20.0, "state": 20.0, "supervisor": 20.0, "down": 10.0}
"""Timeout for an answer of a healthy lab on a busy machine, in seconds."""
_LONG = 120.0
"""Timeout for operations that take the lab's own time (power on, a cut); a command's own timeout is added."""
_GOING_DOWN = 90.0
"""Seconds that a lab may take to go down after it accepted the request: VMs are shut down first."""

Operation = Callable[..., Awaitable[dict[str, Any] | tuple[dict[str, Any], int]]]


class LabName(NamedTuple):
    """A running lab: its user and its name."""

    uid: int
    name: str


def listen(name: str, *, exclusive: bool) -> tuple[socket.socket, str]:
    """Claim a lab's name; returns (socket, name). Without `exclusive`, a name in use gets a number appended."""
    if not _proper(name):
        raise LabError(f"{name!r} cannot be the name of a lab: expected 1 to 64 printable characters without a slash")
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
                owner = _owner(LabName(uid, name))
                if owner in (uid, None):
                    raise LabError(
                        f"a lab named {name} runs already: `lab down --name {name}`, or give another --name"
                    ) from None
                raise LabError(f"user {owner} holds the name {name}, which is yours: give another --name") from None
            continue
        return listener, candidate
    raise LabError(f"{_MAX_NUMBER} labs named {name} run already")


def _proper(name: str) -> bool:
    return 1 <= len(name) <= 64 and "/" not in name and name.isprintable()


def labs() -> list[LabName]:
    """The running labs: the caller's own, or all users' for root. Sorted."""
    own = os.geteuid()
    return sorted(lab for lab in _claimed() if own in (0, lab.uid) and _owner(lab) == lab.uid)


def _claimed() -> set[LabName]:
    """Names in the form of a lab's name, of any user."""
    found = set()
    with open("/proc/net/unix", encoding="utf-8", errors="replace", newline="\n") as table:
        for line in table:
            entry = _ENTRY.fullmatch("".join(line.split(maxsplit=7)[7:]).rstrip("\n"))
            if entry is not None and int(entry[1]) < _NOBODY and _proper(entry[2]):
                found.add(LabName(int(entry[1]), entry[2]))
    return found


def _owner(lab: LabName) -> int | None:
    """The user who listens at a lab's name; None when nobody does, or the listener accepts no connections."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as connection:
        try:
            connection.connect(_address(*lab))
        except OSError:
            return None
        return _peer(connection)[1]


def find(name: str = "") -> LabName:
    """The lab of this name, or the only running one; raises `LabError` that lists the choices."""
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


class LabClient:
    """A connection to a running lab."""

    def __init__(self, lab: LabName) -> None:
        self.lab = lab
        self._socket = _connect(lab)
        self._rest = b""

    def __enter__(self) -> "LabClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    def call(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a request and wait for the answer; raises `LabError` with the lab's message when it refuses."""
        answer, fds = self._call(do, arguments)
        for fd in fds:
            os.close(fd)
        return answer

    def call_pidfd(self, do: str, **arguments: Any) -> tuple[dict[str, Any], int]:
        """Like `call`, for requests whose answer includes a pidfd, which the caller closes."""
        answer, fds = self._call(do, arguments)
        if len(fds) != 1:
            raise LabError(f"the lab sent {len(fds)} descriptors with its answer to {do}, expected 1")
        return answer, fds[0]

    def down(self, meanwhile: Callable[[], None] = lambda: None) -> bool:
        """End the lab; returns once its last process is gone. False: it did not end when asked, and was killed.

        `meanwhile` is called while the lab goes down.
        """
        supervisor = self.supervisor()
        try:
            patience = _GOING_DOWN
            try:
                self.call("down")
                meanwhile()
            except LabError:  # it does not answer, or it ended too quickly to answer
                patience = _PATIENCE["down"]
                _signal(supervisor, signal.SIGTERM)
            if _ends(supervisor, patience):
                return True
            _signal(supervisor, signal.SIGKILL)
            if not _ends(supervisor, _LONG):
                raise LabError(f"the lab {self.lab.name} was killed and is not gone yet: look for its processes")
            return False
        finally:
            os.close(supervisor)

    def give_up(self) -> None:
        """End a call that waits in another thread; no call may follow."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def supervisor(self) -> int:
        """A pidfd of the process that listens, as the kernel reports it: the lab's PID 1 (or the command, until there
        is one). With it a lab that does not answer can be killed.

        If the pid belongs to another user's process, it has been reused.
        """
        pid = _peer(self._socket)[0]
        if pid <= 0:  # another pid namespace's
            return self.call_pidfd("supervisor")[1]
        try:
            pidfd = os.pidfd_open(pid)
            with open(f"/proc/{pid}/status", encoding="utf-8") as status:
                users = next(line.split()[1:] for line in status if line.startswith("Uid:"))
        except OSError as error:
            raise LabError(f"the lab {self.lab.name} is gone ({error.strerror})") from None
        if users != [str(self.lab.uid)] * len(users) or _ends(pidfd, 0):
            os.close(pidfd)
            raise LabError(f"the lab {self.lab.name} has no process of user {self.lab.uid}; nothing was ended")
        return pidfd

    def _call(self, do: str, arguments: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        deadline = time.monotonic() + _PATIENCE.get(do, _LONG + float(arguments.get("timeout", 0)))
        fds: list[int] = []
        try:
            self._socket.settimeout(_PATIENCE["down"])
            self._socket.sendall(json.dumps({"do": do, **arguments}).encode() + b"\n")
            while b"\n" not in self._rest:
                self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
                part, more, _, _ = socket.recv_fds(self._socket, 65536, 4)
                fds += more
                if not part:
                    raise LabError(f"the lab {self.lab.name} ended before it answered")
                self._rest += part
                if len(self._rest) > _ANSWER or len(fds) > 1:
                    raise LabError(f"the lab {self.lab.name} answers {do} with more than there can be")
            line, _, self._rest = self._rest.partition(b"\n")
            answer = _decoded(line)
            if answer is None:
                raise LabError(f"the lab {self.lab.name} answers {do} with something else than an answer")
            if not answer.pop("ok"):
                raise LabError(str(answer.get("error", "refused")))
        except BaseException as error:
            for fd in fds:
                os.close(fd)
            if isinstance(error, TimeoutError):
                name = self.lab.name
                raise LabError(f"the lab {name} does not answer; `lab down --name {name}` ends it") from None
            if isinstance(error, ConnectionError):
                raise LabError(f"the lab {self.lab.name} ended before it answered") from None
            raise
        return answer, fds


def _decoded(line: bytes) -> dict[str, Any] | None:
    """The answer in this line; None if it is not one."""
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) and isinstance(answer.get("ok"), bool) else None


def _signal(pidfd: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)


def _ends(pidfd: int, patience: float) -> bool:
    """Whether this process is gone, or ends within this many seconds."""
    return bool(select.select([pidfd], [], [], patience)[0])


class LabServer:
    """Answers requests in the runner. `operations` maps request names to coroutine functions of keyword arguments.

    An operation returns a dict, or (dict, pidfd); the descriptor is closed once sent. An exception becomes an error
    answer.
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
            if _peer(connection)[1] != os.geteuid():  # in a user namespace every user except the lab's is unmapped
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
    """Send all bytes, with a descriptor attached to the first one."""
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
        # A hung lab accepts no connections. Use the kernel's timeout, because Python's does not cover a full backlog.
        connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEVAL.pack(*divmod(int(_PATIENCE["down"] * 1e6), 10**6))
        )
        with _acting_as(lab.uid):
            connection.connect(_address(*lab))
        if (owner := _peer(connection)[1]) != lab.uid:
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
    """Root connects as the lab's user, because inside a user namespace other users cannot be distinguished."""
    if os.geteuid() != 0 or uid == 0:
        yield
        return
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


def _peer(connection: socket.socket) -> tuple[int, int]:
    """(pid, uid) of the process that listens (or, for a listener, connected) at the other end; pid 0: not visible."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return int(pid), int(uid)


def peer_pid(connection: socket.socket) -> int:
    """The pid of the process that listens at the other end, in this pid namespace; 0 when it is not visible."""
    return _peer(connection)[0]


def _address(uid: int, name: str) -> str:
    return f"\0{_PREFIX}/{uid}/{name}"

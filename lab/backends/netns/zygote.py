"""The zygote: one preloaded, single-threaded process that forks every Python process into the hosts' namespaces.

A fresh interpreter with the overlay imported costs a third of a second and 40 MB; a fork of this one costs milliseconds
and shares its pages. Owns the protocol between runner and zygote (one JSON request with descriptors per message of a
seqpacket socket) and the steps between fork and the requested function. Knows no scenario.

A `ForkRequest` comes with descriptors: standard input, output and error, then (for a host's init) its channel. Answers:
{"id", "pid"} when forked, or {"id", "error", "errno"}; {"id", "code"} when that process has ended (negative: a signal).
Pids are those of the lab's pid namespace.
"""

import contextlib
import gc
import importlib
import io
import json
import os
import random
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec
from msgspec import Struct

from lab.backends.netns.init import HostPlan, run_host
from lab.fabric.syscalls import Clone, pidfd_open, set_process_name, setns, unshare

PRELOAD = (
    "overlay.cli.main",
    "overlay.cli.launch",
    "overlay.cli.container",
    "overlay.cli.proxy_flags",
    "overlay.kernel.routes",
    "overlay.daemon.daemon",
    "uvloop",
    "encodings.idna",
    "lab.backends.netns.engine_start",
    "lab.engine",
    "lab.probes.agent",
    "asyncio",
)
"""Everything that a start imports: a module that is missing here is imported again in each of a lab's processes."""
MESSAGE = 200_000
"""Maximum size of a message; below the default send buffer."""
_DESCRIPTORS = 4
_OF_HOST = Clone.NEWNS | Clone.NEWNET | Clone.NEWIPC | Clone.NEWUTS
_NOT_FOUND = 127


class ForkRequest(Struct, frozen=True, kw_only=True):
    """Fork a process. Without `host`, it becomes PID 1 of a new host set up according to `init`."""

    id: int
    load: bool = False
    """Only import what later processes need, before they are asked for. There is no answer."""
    init: HostPlan | None = None
    host: int = 0
    """Pid of the init of the host to enter."""
    container: int = 0
    """Pid (in the host) of a process of the container to enter after the host."""
    call: str = ""
    """`module:function`, called with `argv` as its argument instead of executing `argv`."""
    argv: tuple[str, ...] = ()
    env: dict[str, str] = {}
    directory: str = "/"


_decoder = msgspec.json.Decoder(ForkRequest)


def serve(orders: socket.socket, preload: Sequence[str] = PRELOAD, *, name: str = "lab-zygote") -> None:
    """Fork on request until the other side closes; `preload` is imported when that is first worth it."""
    set_process_name(name)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    Zygote(orders, preload).run()


class Zygote:
    """The loop: requests in, forks, exit statuses out."""

    def __init__(self, orders: socket.socket, preload: Sequence[str] = ()) -> None:
        self._orders = orders
        self._preload: Sequence[str] | None = preload
        self._own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._ids: dict[int, int] = {}
        self._wake, self._wake_writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def run(self) -> None:
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            readable = select.select([self._orders.fileno(), self._wake], [], [])[0]
            if self._wake in readable:
                os.read(self._wake, 4096)
                self._reap()
            if self._orders.fileno() in readable:
                data, fds, _, _ = socket.recv_fds(self._orders, MESSAGE, _DESCRIPTORS)
                if not data:
                    return
                try:
                    self._obey(_decoder.decode(data), fds)
                finally:
                    for fd in fds:
                        os.close(fd)

    def _load(self) -> None:
        """Import what children will need, and prepare the memory that they share."""
        for module in self._preload or ():
            # Preloading only saves time and memory: a module that cannot be imported fails later, where it is used.
            with contextlib.suppress(ImportError):
                importlib.import_module(module)
        self._preload = None
        if threading.active_count() != 1:
            raise RuntimeError(f"the zygote must have one thread, imports made {threading.enumerate()}")
        gc.collect()
        gc.freeze()  # children copy only pages that are written, and the collector would write to all
        gc.disable()

    def _obey(self, order: ForkRequest, fds: list[int]) -> None:
        if self._preload is not None:
            self._load()
        if order.load:
            return
        try:
            pid = self._fork(order, fds)
        except OSError as error:
            self._answer(id=order.id, error=str(error), errno=error.errno)
            return
        self._ids[pid] = order.id
        self._answer(id=order.id, pid=pid)

    def _fork(self, order: ForkRequest, fds: list[int]) -> int:
        """Fork into the request's pid namespace, then restore the zygote's own namespace for children."""
        target = pidfd_open(order.host) if order.host else -1
        try:
            if order.init is not None:
                unshare(Clone.NEWPID)
            elif order.host:
                setns(target, Clone.NEWPID)
            pid = -1
            try:
                pid = os.fork()
            finally:
                # Not told by getpid(): in its namespace a child may have the same number as this process in its own.
                if pid != 0 and (order.init is not None or order.host):
                    setns(self._own_pids, Clone.NEWPID)
        except OSError:
            if target >= 0:
                os.close(target)
            raise
        if pid == 0:
            self._become(order, fds, target)
        if target >= 0:
            os.close(target)
        return pid

    def _become(self, order: ForkRequest, fds: list[int], target: int) -> NoReturn:
        """In the child: drop the zygote's state, enter the namespaces, become the requested process."""
        code = _NOT_FOUND
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._orders.close()
            for fd in (self._wake, self._wake_writer, self._own_pids):
                os.close(fd)
            os.setsid()
            for number, fd in enumerate(fds[:3]):
                os.dup2(fd, number)
            _fresh_streams()
            random.seed()
            if order.call:
                module = order.call.partition(":")[0]
                set_process_name("weave" if module == "overlay.cli.main" else module.rpartition(".")[2])
            channel = os.dup(fds[3]) if order.init is not None else -1
            for fd in fds:
                os.close(fd)
            if order.init is not None:
                unshare(_OF_HOST)
                run_host(order.init, socket.socket(fileno=channel))
            elif target >= 0:
                setns(target, _OF_HOST)
                os.close(target)
            if order.container:
                enter_container(order.container)
            os.environ.clear()
            os.environ.update(order.env)
            os.chdir(order.directory)
            code = _call(order.call, order.argv) if order.call else _execute(order.argv)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
        except BaseException:
            traceback.print_exc()
            code = 1
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                if (number := self._ids.pop(pid, None)) is not None:
                    self._answer(id=number, code=os.waitstatus_to_exitcode(status))

    def _answer(self, **message: Any) -> None:
        self._orders.send(json.dumps(message).encode())


def enter_container(pid: int) -> None:
    """From inside a host: enter the namespaces and the root directory of one of its containers.

    The pid namespace takes effect for children, so this forks; the caller waits for its child and exits with its
    status.
    """
    target = pidfd_open(pid)
    root = os.open(f"/proc/{pid}/root", os.O_RDONLY | os.O_DIRECTORY)
    setns(target, _OF_HOST | Clone.NEWPID)
    os.fchdir(root)
    os.chroot(".")
    os.close(target)
    os.close(root)
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os._exit(code if code >= 0 else 128 - code)


def _execute(argv: Sequence[str]) -> int:
    """Execute another program; returns only when that fails, with a shell's exit code."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores these signals, but programs expect the default
    try:
        os.execvp(argv[0], list(argv))
    except FileNotFoundError:
        os.write(2, f"{argv[0]}: command not found\n".encode())
        return _NOT_FOUND
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
        return _NOT_FOUND - 1


def _call(name: str, argv: Sequence[str]) -> int:
    module, _, function = name.partition(":")
    gc.enable()
    return int(getattr(importlib.import_module(module), function)(list(argv)) or 0)


def _fresh_streams() -> None:
    """Standard streams over the new descriptors, because the old ones may have cached a terminal or buffered text."""
    sys.stdin = io.TextIOWrapper(io.FileIO(0, "r", closefd=False), encoding="utf-8", errors="surrogateescape")
    for number, name, errors in ((1, "stdout", "surrogateescape"), (2, "stderr", "backslashreplace")):
        raw = io.BufferedWriter(io.FileIO(number, "w", closefd=False))
        stream = io.TextIOWrapper(raw, encoding="utf-8", errors=errors, line_buffering=True)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)

"""Runs a function inside a fresh lab: `launch` starts keeper, supervisor, zygote and runner, and waits.

    command (outside)             started by the user; forwards signals, gets the exit code
    └ keeper (outside's pids)     enters the user namespace, creates the others; dies with the command
      └ supervisor (PID 1)        reaps; when it dies the kernel ends every process of the lab
        ├ zygote                  preloaded; forks everything Python into the hosts (`zygote.py`)
        ├ nursery                 small; forks the first process of each host (`nursery.py`)
        └ runner                  the function given to `launch`

Owns the order of forks and namespaces, and which process dies with which. Each of them may be killed by SIGKILL at
any time: the supervisor has the keeper's death signal and the keeper the command's, and all namespaces are anonymous,
so nothing is left. A detached lab has no death signals: it ends when its runner does, or when the command ends before
the lab was ready. Knows nothing of hosts.
"""

import contextlib
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn

from lab.backends.netns import control, mounts, nursery, runtime, zygote
from lab.backends.netns.paths import RUNNER_LOG
from lab.errors import LabError, no_room
from lab.fabric import features, namespaces
from lab.fabric.syscalls import set_parent_death_signal, set_process_name

INTERRUPTED = 3
"""Exit code of a run that ended without a verdict."""

_READY, _EXIT, _FAILED = b"r", b"x", b"f"
_STOP, _KILL = b"i", b"k"
_UP = signal.SIGUSR1
"""Sent by the runner of a detached lab to the supervisor: from now on the lab outlives the command."""
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE = 60.0
"""Seconds that a runner has to stop after a request; more than the runner gives its lab to go down."""
_BACKLOG = 4096
"""Backlog of the control socket while the runner is busy or hangs; connections closed meanwhile still count."""


def launch(
    main: Callable[[], int], *, detach: bool = False, name: str = "lab", after: Callable[[], None] | None = None
) -> int:
    """Run `main` inside a fresh lab and return its exit code; in there `NetnsBackend().up(...)` works.

    The first SIGINT, SIGTERM or SIGHUP reaches `main` as KeyboardInterrupt, so that it can stop cleanly; the second
    ends the lab at once, and so does the supervisor when `main` has not ended `_PATIENCE` seconds after the first. A
    SIGHUP that the caller ignores (`nohup`) stays ignored. With `detach` this returns 0 as soon as `main` calls
    `runtime.ready()` (or its exit code when it ends earlier), and the lab continues without the caller until `main`
    returns; if the caller dies earlier, the lab ends too.

    `after` runs outside once the last process of the lab is gone, however it ended: for clean-up that the kernel does
    not do.

    The lab answers `control.LabClient(name)`. If another lab has this name, a detached one is refused, and any other
    gets a number appended. Raises `LabError` with a remedy when the kernel refuses what a lab needs.
    """
    listener, name = control.listen(name, exclusive=detach)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    parent = os.getpid()
    # From the fork on, an interrupt is meant for the lab: block signals until `_wait` can forward them.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    try:
        held, janitor = _janitor(after) if after is not None else (-1, 0)
        keeper = os.fork()
        if keeper == 0:
            with _child(theirs):
                ours.close()
                _keep(main, theirs, listener, name, parent, detach, before)
        theirs.close()
        listener.close()
        if held >= 0:
            os.close(held)
        with ours:
            try:
                return _wait(ours, keeper, before)
            finally:
                if janitor and not detach:
                    os.waitpid(janitor, 0)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _janitor(after: Callable[[], None]) -> tuple[int, int]:
    """A process that waits until no process of the lab holds the other end of a pipe, then runs `after`.

    Returns (the end to hold, its pid). It is not a child of the lab, so killing the lab does not kill it.
    """
    gone, held = os.pipe()
    pid = os.fork()
    if pid == 0:
        with _child(None):
            os.close(held)
            os.setsid()
            set_process_name("lab-janitor")
            for number in _FORWARDED:
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(null, stream)
            os.closerange(3, gone)
            os.closerange(gone + 1, 1024)
            os.read(gone, 1)
            after()
            os._exit(0)
    os.close(gone)
    return held, pid


def _wait(status: socket.socket, keeper: int, mask: Iterable[int]) -> int:
    """The command's side: forward signals until the lab is ready (detached) or has ended."""
    sent = 0

    def forward(number: int, _frame: object) -> None:
        nonlocal sent
        sent += 1
        with contextlib.suppress(OSError):
            status.send(_STOP if sent == 1 else _KILL, socket.MSG_DONTWAIT)
        if sent > 1:
            with contextlib.suppress(OSError):  # the supervisor may not exist yet
                os.kill(keeper, signal.SIGKILL)

    main_thread = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, forward) for number in _heeded()} if main_thread else {}
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        message = b""
        with contextlib.suppress(ConnectionError):
            message = status.recv(65536)
        if message[:1] != _READY:
            os.waitpid(keeper, 0)  # returns once the last process of the lab is gone
        else:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(keeper, 0)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if message[:1] == _FAILED:
        raise LabError(message[1:].decode())
    if message[:1] in (_EXIT, _READY):
        return int(message[1:] or b"0")
    return INTERRUPTED


def _heeded() -> list[signal.Signals]:
    """The signals that end a lab's command: without SIGHUP if it was started by `nohup`."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in _FORWARDED if number is not signal.SIGHUP or not ignored]


def _keep(
    main: Callable[[], int],
    status: socket.socket,
    listener: socket.socket,
    name: str,
    parent: int,
    detach: bool,
    mask: Iterable[int],
) -> NoReturn:
    """The keeper: creates namespaces, then the supervisor; its exit is the lab's end (unless detached)."""
    os.setsid()  # so that a terminal's Ctrl-C reaches the command only, which forwards it
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a signal that came before is forwarded too
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    set_process_name("lab-keeper")
    namespaces.enter_fresh()
    if not detach:
        set_parent_death_signal(signal.SIGKILL)  # after the user namespace: a change of credentials clears it
        if os.getppid() != parent:
            os._exit(INTERRUPTED)
    alive, held = os.pipe()
    if os.fork() == 0:
        with _child(status):
            os.close(held)
            if not detach:
                set_parent_death_signal(signal.SIGKILL)
                if select.select([alive], [], [], 0)[0]:  # the parent's pid is not visible in here
                    os._exit(INTERRUPTED)
            os.close(alive)
            _supervise(main, status, listener, name, detach)
    status.close()
    listener.close()
    if detach:
        os._exit(0)
    os.close(alive)
    os.wait()
    os._exit(0)


def _supervise(
    main: Callable[[], int], status: socket.socket, listener: socket.socket, name: str, detach: bool
) -> NoReturn:
    """PID 1 of the lab: mounts, zygote, runner; then reaps until the runner ends or exceeds its time to stop."""
    set_process_name("lab-super")
    up = False

    def runs(*_: object) -> None:
        nonlocal up
        up = True

    signal.signal(_UP, runs)
    # Listen again: a client that connects sees this process's pid, and can kill a lab that hangs.
    listener.listen(_BACKLOG)
    for number in _FORWARDED:
        signal.signal(number, signal.SIG_IGN)
    keep = mounts.interpreter_paths()
    os.environ["PATH"] = features.tool_path()  # the PATH of an ordinary user lacks nft and tc on many machines
    mounts.prepare_lab()
    wake, wake_writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def forker(work: Callable[[socket.socket], None]) -> tuple[int, socket.socket]:
        """A process that forks on request: (pid, the runner's end of its socket)."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            with _child(None):
                for other in (status, listener, ours, *ends):
                    other.close()
                os.close(wake)
                os.close(wake_writer)
                signal.signal(_UP, signal.SIG_DFL)
                if detach:
                    _let_go()
                work(theirs)
                os._exit(0)
        theirs.close()
        ends.append(ours)
        return pid, ours

    ends: list[socket.socket] = []
    nursery_pid, nursery_end = forker(nursery.become)
    zygote_pid, zygote_end = forker(zygote.serve)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the runner handles it
    runner_pid = os.fork()
    if runner_pid == 0:
        with _child(None):
            os.close(wake)
            os.close(wake_writer)
            set_process_name("lab-runner")
            for number in (signal.SIGTERM, signal.SIGHUP, _UP):
                signal.signal(number, signal.SIG_DFL)
            _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # about ten for each host are open in here
            ready = _ready(status) if detach else status.close
            runtime.enter(runtime.Runtime(name, zygote_end, nursery_end, listener, tuple(keep), ready))
            code = _run(main, mask)
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for end in (*ends, listener):
        end.close()
    if detach:
        _let_go()
    signal.set_wakeup_fd(wake_writer)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    deadline: float | None = None

    def stop(*_: object) -> None:
        nonlocal deadline
        if deadline is None:
            deadline = time.monotonic() + _PATIENCE
            os.kill(runner_pid, signal.SIGINT)

    signal.signal(signal.SIGTERM, stop)
    watched = [wake, status.fileno()]
    while True:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                code = os.waitstatus_to_exitcode(ended[1])
                if ended[0] == runner_pid:
                    _end(status, code if code >= 0 else INTERRUPTED)
                if ended[0] in (zygote_pid, nursery_pid):
                    os.kill(runner_pid, signal.SIGKILL)  # without them no host can be accessed
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            _end(status, INTERRUPTED)
        readable = select.select(watched, [], [], left)[0]
        if wake in readable:
            os.read(wake, 4096)
        if status.fileno() in readable:
            if word := _word(status):
                if word == _KILL:
                    _end(status, INTERRUPTED)
                stop()
            elif up:
                watched.remove(status.fileno())
            else:
                os._exit(INTERRUPTED)  # the command is gone


def _word(status: socket.socket) -> bytes:
    """The command's message; empty when it is gone."""
    try:
        return status.recv(16)
    except ConnectionError:
        return b""


def _end(status: socket.socket, code: int) -> NoReturn:
    """Report the runner's exit code to the command; the kernel then ends all remaining processes."""
    with contextlib.suppress(OSError):
        status.send(_EXIT + str(code).encode(), socket.MSG_DONTWAIT)
    os._exit(code)


def _ready(status: socket.socket) -> Callable[[], None]:
    """A detached runner's action when it is up: let the command return, and write to the lab's own log."""

    def ready() -> None:
        _let_go()
        os.kill(os.getppid(), _UP)
        with contextlib.suppress(OSError):
            status.send(_READY)
        status.close()

    return ready


def _let_go() -> None:
    """Write to the lab's own log from now on, because a process that reads the command's output through a pipe waits
    for EOF."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    log = os.open(RUNNER_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(log)
    os.close(null)


def _run(main: Callable[[], int], mask: Iterable[int]) -> int:
    """The exit code of `main`, whichever way it ends."""
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return main()
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return INTERRUPTED
    except BaseException:
        traceback.print_exc()
        return INTERRUPTED


@contextlib.contextmanager
def _child(status: socket.socket | None) -> Iterator[None]:
    """A forked child never returns into its parent's code; a fatal error is reported to the command."""
    try:
        yield
    except LabError as error:
        if status is not None:
            status.send(_FAILED + str(error).encode())
    except BaseException as error:
        text = no_room(error) or traceback.format_exc()
        if status is None:
            print(text, file=sys.stderr)
        else:
            status.send(_FAILED + text.encode()[-60_000:])
    finally:
        os._exit(1)

"""Code that runs inside a container: the steps between the fork and the command, and its first process.

Owns the order: namespaces, network, mounts, host name, then the command, then reaping for it. A `ContainerPlan`
describes all steps. This code must not use the engine, because it runs in a forked copy of it. Failures are sent as one
line on the status pipe; EOF without a line means that the command has been started.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import termios
from pathlib import Path

from msgspec import Struct

from lab.engine import network
from lab.engine.namespaces import CONTAINER, join
from lab.fabric.syscalls import (
    Clone,
    Mount,
    mount,
    set_parent_death_signal,
    set_process_name,
    setdomainname,
    sethostname,
    setns,
    unshare,
)
from lab.images import Call
from overlay.kernel.netlink import Netlink

__all__ = ["ContainerPlan", "ContainerProgram", "enter_and_run", "first_process", "read_failure"]

_NOT_FOUND, _NOT_EXECUTABLE, _SETUP_FAILED = 127, 126, 128


class ContainerProgram(Struct, frozen=True):
    """A command to run."""

    argv: tuple[str, ...]
    env: dict[str, str]
    directory: str
    tty: bool
    call: Call | None = None
    """Call this in the fork with the arguments `argv[1:]` instead of executing `argv[0]`."""


class ContainerPlan(Struct, frozen=True, kw_only=True):
    """Everything about one start of a container."""

    program: ContainerProgram
    hostname: str
    domainname: str
    lease: network.Lease | None
    """None: without eth0."""
    network_of: int | None
    """pidfd of the process whose network namespace to share; -1: the host's; None: a new one."""
    files: tuple[tuple[str, str], ...]
    """(this container's file, its mount point)"""
    binds: tuple[tuple[str, str, bool], ...]
    """(path on the host, path in the container, read-only)"""
    tmpfs: tuple[tuple[str, str], ...]
    """(path, mount options)"""


def first_process(plan: ContainerPlan, stdio: tuple[int, int, int], status: int) -> int:
    """The container's process 1: set up, start the command, reap, exit with the command's exit code."""
    try:
        set_parent_death_signal(signal.SIGKILL)
        _namespaces(plan)
        _mounts(plan)
        if plan.network_of is None and plan.lease is not None:
            with Netlink() as netlink:
                network.configure_eth0(netlink, plan.lease)
        sethostname(plan.hostname)
        setdomainname(plan.domainname)
    except Exception as error:
        _report(status, 500, _SETUP_FAILED, f"failed to create task for container: {error}")
        return _SETUP_FAILED
    signals = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    main = os.fork()
    if main == 0:
        _become(plan.program, stdio, status)
    os.close(status)
    set_process_name("container-init")
    _leave_stdio(stdio)
    return _reap(main, signals)


def enter_and_run(program: ContainerProgram, pidfd: int, stdio: tuple[int, int, int], status: int) -> int:
    """Run an additional process in a running container (`docker exec`)."""
    try:
        join(pidfd)
    except OSError as error:
        _report(status, 500, _SETUP_FAILED, f"OCI runtime exec failed: {error}")
        return _SETUP_FAILED
    _become(program, stdio, status)
    return 0


def read_failure(line: bytes) -> tuple[int, int, str] | None:
    """(HTTP status, exit code, message) of a line from the status pipe; None: no failure."""
    if not line:
        return None
    status, code, message = line.decode(errors="replace").split(" ", 2)
    return int(status), int(code), message


def _report(status: int, http: int, code: int, message: str) -> None:
    os.write(status, f"{http} {code} {message}"[:4000].encode())


def _namespaces(plan: ContainerPlan) -> None:
    with Netlink() as outside:
        own_network = plan.network_of is None
        unshare(CONTAINER | Clone.NEWNET if own_network else CONTAINER)
        if plan.network_of is not None:
            if plan.network_of >= 0:
                setns(plan.network_of, Clone.NEWNET)
            return
        with Netlink() as inside:
            network.configure_lo(inside)
        if plan.lease is not None:
            network.make_veth(outside, plan.lease, os.getpid())


def _mounts(plan: ContainerPlan) -> None:
    """A private view of the machine's file system. Sources are opened before another mount can hide them."""
    mount("", "/", flags=Mount.REC | Mount.PRIVATE)
    files = [(os.open(source, os.O_PATH), target) for source, target in plan.files]
    binds = [(os.open(source, os.O_PATH), target, read_only) for source, target, read_only in plan.binds]
    mount("tmpfs", "/run", "tmpfs", Mount.NOSUID | Mount.NODEV, "mode=755")
    if Path("/dev/shm").is_dir():
        mount("shm", "/dev/shm", "tmpfs", Mount.NOSUID | Mount.NODEV | Mount.NOEXEC, "mode=1777")
    for path, options in plan.tmpfs:
        _mount_point(path, directory=True)
        mount("tmpfs", path, "tmpfs", Mount.NOSUID | Mount.NODEV, options)
    for handle, target in files:
        # /etc/resolv.conf is often a link into /run, which is empty now.
        _mount_point(os.path.realpath(target), directory=False)
        mount(f"/proc/self/fd/{handle}", target, flags=Mount.BIND)
    for handle, target, read_only in binds:
        source = f"/proc/self/fd/{handle}"
        _mount_point(target, directory=Path(source).is_dir())
        mount(source, target, flags=Mount.BIND | Mount.REC)
        if read_only:
            mount("", target, flags=Mount.BIND | Mount.REMOUNT | Mount.RDONLY | _locked_flags(target))
    for handle in [handle for handle, *_ in files] + [handle for handle, *_ in binds]:
        os.close(handle)
    # The kernel refuses if the machine's own mounts are masked (inside some containers): then the old ones stay.
    with contextlib.suppress(PermissionError):
        mount("sysfs", "/sys", "sysfs", Mount.NOSUID | Mount.NODEV | Mount.NOEXEC | Mount.RDONLY)
    with contextlib.suppress(PermissionError):
        mount("proc", "/proc", "proc", Mount.NOSUID | Mount.NODEV | Mount.NOEXEC)


def _mount_point(path: str, *, directory: bool) -> None:
    """Make sure that this path can be mounted on. On the machine's own file system this mostly fails."""
    target = Path(path)
    if target.exists():
        return
    try:
        (target if directory else target.parent).mkdir(parents=True, exist_ok=True)
        if not directory:
            target.touch()
    except OSError as error:
        raise OSError(error.errno, f"cannot make the mount point {path}: {error.strerror}") from error


def _locked_flags(path: str) -> int:
    """Mount flags that a user namespace may not drop when it remounts."""
    flags = os.statvfs(path).f_flag
    pairs = ((os.ST_NOSUID, Mount.NOSUID), (os.ST_NODEV, Mount.NODEV), (os.ST_NOEXEC, Mount.NOEXEC))
    return sum(int(flag) for bit, flag in pairs if flags & bit)


def _become(program: ContainerProgram, stdio: tuple[int, int, int], status: int) -> None:
    """Replace this process by the command. Does not return."""
    code = _SETUP_FAILED
    try:
        os.setsid()
        if program.tty:
            fcntl.ioctl(stdio[0], termios.TIOCSCTTY, 0)
        # The pipes' descriptors may be 0, 1 or 2 themselves: copy them first.
        for target, source in enumerate([fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in stdio]):
            os.dup2(source, target)
            os.close(source)
        _leave_stdio(stdio)
        os.umask(0o022)
        try:
            os.chdir(program.directory)
        except OSError as error:
            message = f"chdir to cwd ({program.directory!r}) set in config.json failed: {error.strerror}"
            _report(status, 400, _NOT_FOUND, f"OCI runtime create failed: {message}: unknown")
            os._exit(_NOT_FOUND)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        code = _execute(program, status) if program.call is None else _call(program.call, program, status)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(2, f"{program.argv[0]}: {error!r}\n".encode())
    finally:
        os._exit(code & 0xFF)


def _call(call: Call, program: ContainerProgram, status: int) -> int:
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    set_process_name(program.argv[0])
    os.environ.clear()
    os.environ.update(program.env)
    return call(program.argv[1:], lambda: os.close(status))


def _execute(program: ContainerProgram, status: int) -> int:
    """Replace this process by the command; returns the exit code only on failure."""
    name = program.argv[0]
    # execvp would report an inaccessible directory in PATH as "permission denied".
    path = name if "/" in name else shutil.which(name, path=program.env.get("PATH", ""))
    try:
        if path is None:
            raise FileNotFoundError
        os.execve(path, program.argv, program.env)
    except FileNotFoundError:
        where = f"stat {name}: no such file or directory" if path else "executable file not found in $PATH"
        code = _NOT_FOUND
    except OSError as error:
        where, code = (error.strerror or "").lower(), _NOT_EXECUTABLE
    _report(status, 400, code, f'OCI runtime create failed: exec: "{name}": {where}: unknown')
    return code


def _leave_stdio(stdio: tuple[int, int, int]) -> None:
    for fd in sorted(set(stdio)):
        if fd > 2:
            os.close(fd)


def _reap(main: int, signals: set[signal.Signals]) -> int:
    """Forward signals to the command, reap orphans, and return the command's exit code, which ends all others."""
    while True:
        info = signal.sigwaitinfo(signals)
        if info.si_signo != signal.SIGCHLD:
            with contextlib.suppress(ProcessLookupError):
                os.kill(main, info.si_signo)
            continue
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == main:
                code = os.waitstatus_to_exitcode(status)
                return 128 - code if code < 0 else code

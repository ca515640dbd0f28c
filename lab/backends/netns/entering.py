"""Entering a host of a running lab from another terminal: `lab shell HOST`, `lab exec HOST -- CMD`.

Owns the walk into the namespaces; the command gets the caller's own terminal and process group, so that job control
works.
"""

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence

from lab.backends.netns import control
from lab.backends.netns.zygote import enter_container
from lab.errors import LabError
from lab.fabric.features import tool_path
from lab.fabric.syscalls import Clone, setns

_HOST = Clone.NEWNS | Clone.NEWNET | Clone.NEWIPC | Clone.NEWUTS | Clone.NEWPID
_PASSED_ON = ("TERM", "COLORTERM", "LANG", "LC_ALL", "COLUMNS", "LINES")


def enter_host(argv: Sequence[str], *, host: str, lab: str = "", container: str = "") -> int:
    """Run a command in a host (or a container of it) of a running lab and return its exit code.

    Raises `LabError` when there is no such lab, host or container.
    """
    name = control.find(lab)
    with control.LabClient(name) as client:
        answer, pidfd = client.call_pidfd("host", host=host, container=container)
    if answer.get("inside"):
        try:
            environment = {"PATH": tool_path(), **_passed_on()}
            line = _over_ssh(answer["doorway"], argv, container)
            return enter(pidfd, line, environment=environment, uid=name.uid)
        finally:
            os.close(pidfd)
    if "doorway" in answer:
        os.close(pidfd)
        return _by_engine(answer["doorway"], argv, container)
    environment = {**answer["environment"], **_passed_on()}
    try:
        return enter(pidfd, argv, container=answer["container"], environment=environment, uid=name.uid)
    finally:
        os.close(pidfd)


def _passed_on() -> dict[str, str]:
    return {key: os.environ[key] for key in _PASSED_ON if key in os.environ}


def _over_ssh(doorway: Sequence[str], argv: Sequence[str], container: str) -> list[str]:
    """The ssh command line that runs a command on a machine; with a terminal if the caller has one."""
    terminal = os.isatty(0) and os.isatty(1)
    words = list(argv)
    if container:
        words = ["docker", "exec", "--interactive", *(["--tty"] if terminal else []), container, *words]
    return [doorway[0], *(["-t"] if terminal else []), *doorway[1:], shlex.join(words)]


def _by_engine(doorway: Sequence[str], argv: Sequence[str], container: str) -> int:
    """Enter by `docker exec`, for a host in a user's engine; `doorway` ends with the host's container."""
    terminal = ["--tty"] if os.isatty(0) and os.isatty(1) else []
    command = [*doorway[:-1], "--interactive", *terminal, doorway[-1]]
    if container:
        command += ["docker", "exec", "--interactive", *terminal, container]
    try:
        return subprocess.run([*command, *argv], check=False).returncode
    except FileNotFoundError:
        raise LabError("entering a host of your own engine takes the `docker` command, and there is none") from None


def enter(pidfd: int, argv: Sequence[str], *, environment: Mapping[str, str], container: int = 0, uid: int = -1) -> int:
    """Run a command in the namespaces of a host's init, given as a pidfd, and return its exit code as a shell would.

    `container`: pid, as the host sees it, of a process in the container to enter next. `uid`: the user who owns the
    lab.
    """
    walker = os.fork()
    if walker == 0:
        code = 126
        try:
            code = _walk(pidfd, argv, environment, container, uid)
        except OSError as error:
            os.write(2, f"cannot enter the host: {error}\n".encode())
        finally:
            os._exit(code)
    # The terminal's signals are for the command, which is in our process group.
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGQUIT)}
    try:
        return _code(walker)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _walk(pidfd: int, argv: Sequence[str], environment: Mapping[str, str], container: int, uid: int) -> int:
    """In a forked child: enter the namespaces, fork again so that the pid namespace takes effect, execute."""
    if os.geteuid() == 0 and uid > 0:
        # Root must become the lab's user first, because its user namespace maps no other user.
        os.setgroups([])
        os.setuid(uid)
    with contextlib.suppress(OSError):  # a lab of root is in our own user namespace; if not, the next step reports why
        setns(pidfd, Clone.NEWUSER)
    setns(pidfd, _HOST)
    os.setgid(0)  # drop the outer identity: unmapped ids cannot create files inside
    os.setuid(0)
    child = os.fork()
    if child:
        for number in (signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        return _code(child)
    if container:
        enter_container(container)
    os.chdir("/")
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(environment)  # execvpe would look the command up in the caller's PATH
    try:
        os.execvp(argv[0], list(argv))
    except FileNotFoundError:
        os.write(2, f"{argv[0]}: command not found\n".encode())
        return 127


def _code(pid: int) -> int:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else 128 - code

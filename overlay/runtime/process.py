"""A process that outlives the command that started it: fork, session, log, pid file, and the report of readiness or
failure to the parent. Forks without exec, so imported modules are shared.

Does not know what such a process does.
"""

import contextlib
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from overlay.clean import clean
from overlay.errors import EnvironmentProblem, OverlayError

__all__ = ["LineFormatter", "hide", "hold", "spawn"]

log = logging.getLogger(__name__)

_READY = b"ready"


def hide(word: str) -> None:
    """Overwrite a word of this process's command line, which every user of the host may read (proc(5), cmdline)."""
    secret = word.encode()
    if not secret:
        return
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # arg_start, arg_end: fields 48 and 49 of proc(5)
    line = Path("/proc/self/cmdline").read_bytes()
    at = line.find(secret)
    while at > 0 and at + len(secret) <= end - start:
        ctypes.memset(start + at, ord("x"), len(secret))
        at = line.find(secret, at + len(secret))


def spawn(work: Callable[[Callable[[], None]], None], what: str, log_file: Path, pid_file: Path, level: str) -> None:
    """Run `work(ready)` in a new process; returns once it has called `ready()`.

    `what`: its name in messages, such as "the router". Raises `EnvironmentProblem` with its message if it ends before
    that.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _become(work, what, log_file, pid_file, level, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    if said != _READY:
        unsaid = (
            f"{what} died while starting, without a word: is there room for more processes (ulimit -u) and memory? "
            f"See {log_file}"
        )
        raise EnvironmentProblem(said.decode(errors="replace") or unsaid)


def hold(work: Callable[[Callable[[], None]], None], pid_file: Path, level: str) -> None:
    """Run `work(ready)` in this process, as `spawn` does in a new one; logs to stderr. Raises what `work` raises."""
    os.umask(0o022)
    _log_to(level)
    for number in (signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    _write_pid(pid_file)
    work(lambda: None)
    pid_file.unlink(missing_ok=True)


def _become(
    work: Callable[[Callable[[], None]], None], what: str, log_file: Path, pid_file: Path, level: str, pipe: int
) -> NoReturn:
    """Second fork, new session, own log; never returns."""
    code = 1
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.chdir("/")
        os.umask(0o022)
        _redirect(log_file)
        _close_inherited(keep=pipe)
        _log_to(level)
        for number in (signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        _write_pid(pid_file)

        def ready() -> None:
            os.write(pipe, _READY)
            os.close(pipe)

        work(ready)
        pid_file.unlink(missing_ok=True)
        code = 0
    except (OverlayError, OSError) as error:
        log.error("%s", error)
        with contextlib.suppress(OSError):
            os.write(pipe, str(error).encode())
    except BaseException as error:
        log.critical("%s died", what, exc_info=True)
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        with contextlib.suppress(OSError):
            os.write(pipe, f"{what} died while starting ({reason}): see {log_file}".encode())
    finally:
        logging.shutdown()
        os._exit(code)


def _redirect(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise EnvironmentProblem(f"cannot write the log {path}: {error.strerror}; WEAVE_LOG names another") from None
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(null)
    os.close(out)


def _close_inherited(keep: int) -> None:
    """Close inherited descriptors, because they would keep pipes and sockets of the launching process open."""
    for descriptor in sorted(int(entry.name) for entry in Path("/proc/self/fd").iterdir()):
        if descriptor > 2 and descriptor != keep:
            with contextlib.suppress(OSError):
                os.close(descriptor)


class LineFormatter(logging.Formatter):
    """One line for each message, even if it quotes foreign text; the lines of a traceback are indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # name defined by logging
        record.message = clean(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        return "\n".join("    " + clean(line) for line in super().formatException(ei).splitlines())


def _log_to(level: str) -> None:
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter("%(asctime)s.%(msecs)03d %(levelname)-7s %(message)s", "%Y-%m-%d %H:%M:%S"))
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def _write_pid(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    path.write_text(f"{os.getpid()}\n", encoding="utf-8")

"""The processes of a container, as `docker top` shows them: everything in its pid namespace, from the host's /proc."""

import contextlib
import os
import time
from pathlib import Path

__all__ = ["processes_of"]

_TITLES = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]


def processes_of(pid: int) -> tuple[list[str], list[list[str]]]:
    """Titles and rows; `pid` is the container's first process, in the pid namespace that /proc shows."""
    wanted = Path(f"/proc/{pid}/ns/pid").readlink()
    ticks = os.sysconf("SC_CLK_TCK")
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    own = _arguments(Path("/proc/self"))
    rows = []
    for number in sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        # A process may end while it is read; then it is not shown.
        with contextlib.suppress(OSError):
            if Path(f"/proc/{number}/ns/pid").readlink() != wanted:
                continue
            folder = Path("/proc", str(number))
            name, fields = _stat((folder / "stat").read_text(encoding="utf-8"))
            arguments = _arguments(folder)
            # A process that runs by fork still has the engine's arguments, so show its name.
            forked = arguments in (own, [b""])
            spent = (int(fields[11]) + int(fields[12])) // ticks
            started = time.localtime(booted + int(fields[19]) / ticks)
            rows.append(
                [
                    str(folder.stat().st_uid),
                    str(number),
                    fields[1],
                    "0",
                    time.strftime("%H:%M", started),
                    "?" if fields[4] == "0" else f"pts/{int(fields[4]) & 0xFF}",
                    time.strftime("%H:%M:%S", time.gmtime(spent)),
                    name if forked else b" ".join(arguments).decode(errors="replace"),
                ]
            )
    return _TITLES, rows


def _arguments(folder: Path) -> list[bytes]:
    return (folder / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")


def _stat(text: str) -> tuple[str, list[str]]:
    """(name, the fields after it: state, ppid, …) of proc(5)'s stat; the name may hold blanks and brackets."""
    head, _, rest = text.rpartition(")")
    return head.partition("(")[2], rest.split()

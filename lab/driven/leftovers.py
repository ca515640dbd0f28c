"""Processes that an overlay has started on a host: none of them may run after `stop` or `kill`.

Owns the program that lists a host's processes, and which of them are not the overlay's. Everything on a host may be
hostile, so nothing is decided by a name that a process can choose: processes of the lab, and the driver, have no parent
on the host; containers descend from an engine, and an engine is told by its file, that of the lab by its name too.
"""

import sys
from pathlib import Path

from lab.contracts.lab import Conversing, Host
from lab.errors import LabError
from overlay.clean import clean

__all__ = ["launch_mark", "started_since"]

_LIST = """\
import os
rows = {}
for name in os.listdir("/proc"):
    if not name.isdigit():
        continue
    pid = int(name)
    try:
        with open("/proc/%d/stat" % pid, errors="replace") as stat:
            text = stat.read()
        with open("/proc/%d/environ" % pid, "rb") as environ:
            driver = b"\\0LAB_DIRECTORY=" in b"\\0" + environ.read(1 << 20)
    except OSError:
        continue
    try:
        file = os.readlink("/proc/%d/exe" % pid)
    except OSError:
        file = "-"
    fields = text.rpartition(")")[2].split()
    if fields[0] not in "ZX":
        name = text.partition("(")[2].rpartition(")")[0]
        rows[pid] = (int(fields[1]), int(fields[19]), int(driver), ascii(file).replace(" ", "?"), ascii(name))
own = os.getpid()
while own in rows and own != 1:
    own = rows.pop(own)[0]
print(os.sysconf("SC_CLK_TCK"))
for pid, row in rows.items():
    print(pid, *row)
"""
_ENGINES = tuple(
    f"{folder}/{name}"
    for folder in ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/libexec/docker")
    for name in ("containerd", "docker")
)
"""Beginnings of the files of a real engine's processes, some of which leave the engine's tree."""


class _Process:
    """One line of the program."""

    def __init__(self, line: str, ticks: int) -> None:
        pid, parent, start, driver, file, name = line.split(" ", 5)
        self.pid, self.parent, self.start = int(pid), int(parent), int(start) / ticks
        self.driver = driver == "1"
        self.file, self.name = file[1:-1], name[1:-1]

    @property
    def engine(self) -> bool:
        """Whether it is a container engine's: netns hosts have the machine's files, so also the lab's Python."""
        ours = self.name == "lab-engine" and self.parent == 1 and self.file == str(Path(sys.executable).resolve())
        return ours or self.file.startswith(_ENGINES)


async def launch_mark(host: Host) -> float | None:
    """The host's uptime in seconds; None where the overlay's processes cannot be told from others.

    Hosts that converse have no services of their own that start processes.
    """
    if not isinstance(host, Conversing):
        return None
    result = await host.exec(["cat", "/proc/uptime"])
    return float(result.out.split()[0]) if result.code == 0 else None


async def started_since(host: Host, mark: float) -> tuple[str, ...]:
    """The overlay's running processes that were started after the mark, in words. The driver is not one of them."""
    result = await host.exec(["python3", "-ISc", _LIST])
    if result.code:
        raise LabError(f"{host.name}: its processes cannot be listed: {clean(result.err, most=200)}")
    first, *lines = result.out.splitlines()
    found = {one.pid: one for one in (_Process(line, int(first)) for line in lines)}
    others = {
        one.pid
        for one in found.values()
        if one.pid != 1 and (one.start <= mark or (not one.parent and not one.driver) or one.engine)
    }
    while more := {one.pid for one in found.values() if one.parent in others} - others:
        others |= more
    return tuple(
        f"{clean(one.name, most=40)} (pid {one.pid})"
        for one in found.values()
        if one.pid not in others and one.pid != 1 and one.parent
    )

"""Processes of labs as tests see them: families, the namespaces they are in, and their end."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from waiting import eventually


def family(pid: int) -> dict[int, str]:
    """Pid -> name of a process and all its descendants."""
    parents: dict[int, list[int]] = {}
    names = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                head, _, tail = (entry / "stat").read_text().rpartition(")")
            except OSError:
                continue
            names[int(entry.name)] = head.partition("(")[2]
            parents.setdefault(int(tail.split()[1]), []).append(int(entry.name))
    found = {}
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        found[one] = names.get(one, "")
        waiting += parents.get(one, [])
    return found


def namespaces(pids: Iterator[int]) -> set[str]:
    """The namespaces that these processes are in, as `net:[4026531840]`."""
    found = set()
    for pid in pids:
        try:
            found |= {str(link.readlink()) for link in Path(f"/proc/{pid}/ns").iterdir()}
        except OSError:
            continue
    return found


def everyone() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def of_a_lab(pids: Iterable[int]) -> dict[str, int]:
    """The namespaces that these processes have and we have not, each with a descriptor that holds it.

    Without that the kernel would give its number to the next one, perhaps of another lab, while `gone` looks for it.
    """
    ours, found = namespaces(iter([os.getpid()])), dict[str, int]()
    for pid in pids:
        with contextlib.suppress(OSError):
            for link in Path(f"/proc/{pid}/ns").iterdir():
                fd = os.open(link, os.O_RDONLY)
                name = str(Path(f"/proc/self/fd/{fd}").readlink())
                if name in ours or name in found:
                    os.close(fd)
                else:
                    found[name] = fd
    return found


def gone(own: Mapping[str, int]) -> None:
    """Wait until nobody is in these namespaces any more: what was being forked just now dies with the rest."""
    try:
        eventually(lambda: not own.keys() & namespaces(everyone()), what="the end of the lab's namespaces")
    finally:
        for fd in own.values():
            os.close(fd)

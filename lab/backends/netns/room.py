"""Whether this machine has room for a lab of namespaces, estimated before anything starts.

Owns the measured costs of a host and where the machine's limits are. `lab doctor` asks the same. A lab that ran out in
the middle of its start would take the machine's other programs with it.
"""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from lab.kinds.overlays import OVERLAYS
from lab.scenario.resolve import Resolved
from lab.this_machine import free_memory

__all__ = ["MachineRoom", "capacity", "machine_room", "shortages"]

_MB = 1_000_000
_HOST = 4 * _MB
"""Memory of a host that does nothing: its first process, its namespaces, its cable. `python -m benchmarks room`: 3.5 MB
(PSS) of the process in a lab of 16; `python -m benchmarks scale`: 4.0 MB for all of a host among 1,000, neighbours too
(2026-11-30, Linux 6.18, Python 3.11, as all figures here)."""
_NEIGHBOUR = 600
"""Bytes of an entry for another host of the same network: an object of 512 bytes in the kernel (/proc/slabinfo,
kmalloc-512), its places in hash tables, and its part of the lab's tables."""
_ENGINE = 11 * _MB
"""`python -m benchmarks room`: 10.1 MB (PSS), with one container."""
_DAEMON = 31 * _MB
"""`python -m benchmarks room` and `mesh`: 22.5 MB (PSS) with 15 neighbours, 26.1 with 63, 30.9 with 63 and a password;
the most of these, because a lab may set a password while it runs."""
_CONTAINER = 3 * _MB
"""`python -m benchmarks room`: 0.1 MB (PSS) of a process that sleeps; the rest is an allowance for a small service, for
what a service takes is not known before it starts."""
_LAB = 80 * _MB
"""The lab's own processes (runner, zygote, nursery, supervisor). `python -m benchmarks room`: 72.8 MB (PSS)."""
_SHARE = 0.9
"""Part of the free memory that a lab may take."""
_OWN_PROCESSES, _OWN_DESCRIPTORS = 12, 64
_DESCRIPTORS = 10
"""Descriptors that the runner has open for a host in use."""


class MachineRoom(Struct, frozen=True):
    """What this machine, or this user's limits, leave for a lab."""

    memory: int
    processes: int
    descriptors: int
    namespaces: int


class _Lab(Struct, frozen=True):
    hosts: int
    neighbours: int
    daemons: bool
    containers: int

    def needs(self) -> MachineRoom:
        """What it would take."""
        engines = self.hosts if self.daemons else min(self.hosts, self.containers)
        return MachineRoom(
            memory=_LAB
            + self.hosts * (_HOST + (_DAEMON if self.daemons else 0))
            + engines * _ENGINE
            + self.neighbours * _NEIGHBOUR
            + self.containers * _CONTAINER,
            processes=_OWN_PROCESSES + self.hosts * (3 if self.daemons else 1) + engines + 2 * self.containers,
            descriptors=_OWN_DESCRIPTORS + (_DESCRIPTORS if self.daemons else 1) * self.hosts + 4 * self.containers,
            namespaces=1 + self.hosts + self.containers,
        )


def shortages(scenario: Resolved, room: MachineRoom) -> Iterator[str]:
    """What this lab would need more than there is, one sentence each."""
    counts: dict[str, int] = {}
    for spec in scenario.hosts.values():
        for place in spec.interfaces:
            counts[place.network] = counts.get(place.network, 0) + 1
    lab = _Lab(
        len(scenario.hosts),
        sum(count * (count - 1) for count in counts.values()),
        OVERLAYS.get(scenario.overlay).has_daemons,
        sum(1 for _ in scenario.replicas()),
    )
    needs = lab.needs()
    what = f"underlay: {lab.hosts:,} hosts" + (f" with {scenario.overlay}" if lab.daemons else "")
    if needs.memory > room.memory * _SHARE:
        yield (
            f"{what} would take about {_size(needs.memory)} of memory, and this machine has {_size(room.memory)} free, "
            f"of which a lab takes {_SHARE:.0%} at most; use fewer hosts, or sim"
        )
    for number, there, unit, remedy in (
        (needs.processes, room.processes, "processes", "`ulimit -u`, kernel.pid_max, pids.max of the control group"),
        (needs.descriptors, room.descriptors, "open files", "`ulimit -Hn`"),
        (needs.namespaces, room.namespaces, "network namespaces", "user.max_net_namespaces"),
    ):
        if number > there:
            yield (
                f"{what} would take {number:,} {unit}, and this user has {there:,} at most ({remedy}); raise the "
                "limit, use fewer hosts, or sim"
            )


def capacity(room: MachineRoom, *, daemons: bool) -> int:
    """How many hosts of one network there is room for, each with a daemon and a container or none. A bridge has at
    most 1,023 ports."""
    low, high = 0, 1023
    while low < high:
        middle = (low + high + 1) // 2
        needs = _Lab(middle, middle * (middle - 1), daemons, middle if daemons else 0).needs()
        fits = (
            needs.memory <= room.memory * _SHARE
            and needs.processes <= room.processes
            and needs.descriptors <= room.descriptors
            and needs.namespaces <= room.namespaces
        )
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


def machine_room() -> MachineRoom:
    """The room that this machine has now."""
    memory, processes = free_memory(), _number("/proc/sys/kernel/pid_max")
    processes = min(processes, _number("/proc/sys/kernel/threads-max")) - _running()
    for group in _own_groups():
        memory = min(memory, _number(f"{group}/memory.max") - _used(f"{group}/memory.current"))
        processes = min(processes, _number(f"{group}/pids.max") - _used(f"{group}/pids.current"))
    own, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if os.geteuid() != 0 and own != resource.RLIM_INFINITY:
        processes = min(processes, own - _running(os.geteuid()))
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MachineRoom(
        memory=max(memory, 0),
        processes=max(processes, 0),
        descriptors=_ENDLESS if files == resource.RLIM_INFINITY else files,
        namespaces=_number("/proc/sys/user/max_net_namespaces"),
    )


_ENDLESS = 1 << 62


def _number(path: str) -> int:
    """The number in a file; without end if there is no such file or it holds a word (`max`)."""
    try:
        return int(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return _ENDLESS


def _used(path: str) -> int:
    found = _number(path)
    return 0 if found == _ENDLESS else found


def _running(uid: int = -1) -> int:
    """Processes of this user, or of all."""
    found = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found += uid < 0 or entry.stat().st_uid == uid
            except OSError:
                continue
    return found


def _own_groups() -> Iterator[Path]:
    """The control groups (version 2) that this process is in, up to the root."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        if line.startswith("0::/"):
            root = Path("/sys/fs/cgroup")
            group = root / line[4:]
            while group.is_relative_to(root):
                yield group
                group = group.parent


def _size(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"

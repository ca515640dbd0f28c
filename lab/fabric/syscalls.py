"""Thin wrappers of the Linux calls that Python 3.11 lacks: namespaces, mounts, host names, prctl.

Owns only the numbers and the error handling: callers decide which namespaces a host or a container gets, and in what
order. Every failure is an `OSError` whose text starts with the call's name and includes its arguments. Nothing here
creates threads or touches an event loop, so all of it may run between fork and exec.
"""

import ctypes
import os
from enum import IntFlag

__all__ = [
    "Clone",
    "Mount",
    "clone_tree",
    "mount",
    "move_tree",
    "pidfd_open",
    "pivot_root",
    "set_child_subreaper",
    "set_parent_death_signal",
    "set_process_name",
    "setdomainname",
    "sethostname",
    "setns",
    "unshare",
]

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
_libc.syscall.restype = ctypes.c_long

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}
"""pivot_root(2) has no wrapper in glibc, so its number per architecture."""
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT = 428, 429
"""The same number on every architecture; Linux 5.2."""
_AT_FDCWD, _AT_RECURSIVE, _OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = -100, 0x8000, 1, os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 4


class Clone(IntFlag):
    """CLONE_NEW* of <linux/sched.h>: the kinds of namespaces, for `unshare` and `setns`."""

    NEWNS = 0x00020000
    NEWUTS = 0x04000000
    NEWIPC = 0x08000000
    NEWUSER = 0x10000000
    NEWPID = 0x20000000
    NEWNET = 0x40000000


class Mount(IntFlag):
    """MS_* of <sys/mount.h>."""

    RDONLY = 1
    NOSUID = 2
    NODEV = 4
    NOEXEC = 8
    REMOUNT = 32
    BIND = 4096
    REC = 16384
    PRIVATE = 1 << 18


def _check(result: int, call: str) -> None:
    """Raise the error in errno, with the call's name, if it failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """unshare(2): leave the shared namespaces of these kinds. NEWPID and NEWUSER rules are the kernel's own."""
    _check(_libc.unshare(ctypes.c_int(int(flags))), f"unshare({Clone(flags)!r})")


def setns(fd: int, kind: int = 0) -> None:
    """setns(2): enter the namespace of a descriptor of /proc/PID/ns/*, or several at once of a pidfd."""
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(int(kind))), f"setns({fd}, {Clone(kind)!r})")


def mount(source: str, target: str, fstype: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2). An empty source, type or data is passed as "none" or NULL, as mount(8) does."""
    result = _libc.mount(
        (source or "none").encode(),
        os.fsencode(target),
        fstype.encode() or None,
        int(flags),
        data.encode() or None,
    )
    _check(result, f"mount({source!r} on {target!r}, type {fstype!r}, {Mount(flags)!r}, {data!r})")


def clone_tree(path: str) -> int:
    """open_tree(2): a descriptor of a detached copy of the mounts at and below a path, as by a recursive bind."""
    flags = _AT_RECURSIVE | _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC
    fd = _libc.syscall(ctypes.c_long(_SYS_OPEN_TREE), ctypes.c_int(_AT_FDCWD), os.fsencode(path), ctypes.c_uint(flags))
    _check(fd, f"open_tree({path!r})")
    return int(fd)


def move_tree(fd: int, target: str) -> None:
    """move_mount(2): attach the tree from `clone_tree`."""
    result = _libc.syscall(
        ctypes.c_long(_SYS_MOVE_MOUNT),
        ctypes.c_int(fd),
        b"",
        ctypes.c_int(_AT_FDCWD),
        os.fsencode(target),
        ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH),
    )
    _check(result, f"move_mount(to {target!r})")


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2): swap the root mount of the calling process's mount namespace."""
    machine = os.uname().machine
    number = _SYS_PIVOT_ROOT.get(machine)
    if number is None:
        raise OSError(f"pivot_root: number of this call unknown on {machine}")
    result = _libc.syscall(ctypes.c_long(number), os.fsencode(new_root), os.fsencode(put_old))
    _check(result, f"pivot_root({new_root!r}, {put_old!r})")


def sethostname(name: str) -> None:
    """sethostname(2) in the current uts namespace."""
    raw = name.encode()
    _check(_libc.sethostname(raw, ctypes.c_size_t(len(raw))), f"sethostname({name!r})")


def setdomainname(name: str) -> None:
    """setdomainname(2) in the current uts namespace."""
    raw = name.encode()
    _check(_libc.setdomainname(raw, ctypes.c_size_t(len(raw))), f"setdomainname({name!r})")


def set_parent_death_signal(signal: int) -> None:
    """prctl(PR_SET_PDEATHSIG): get this signal when the parent *thread* ends. Cleared by fork, kept over exec.

    Does not detect a parent that died before the call: compare `os.getppid()` afterwards.
    """
    _check(_libc.prctl(_PR_SET_PDEATHSIG, int(signal), 0, 0, 0), f"prctl(PR_SET_PDEATHSIG, {signal})")


def set_child_subreaper(on: bool = True) -> None:
    """prctl(PR_SET_CHILD_SUBREAPER): orphans below this process become its children, as if it were PID 1."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0), f"prctl(PR_SET_CHILD_SUBREAPER, {on})")


def set_process_name(name: str) -> None:
    """prctl(PR_SET_NAME): the name that `ps` and /proc/PID/comm show; the kernel keeps 15 bytes."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    _check(_libc.prctl(_PR_SET_NAME, ctypes.addressof(buffer), 0, 0, 0), f"prctl(PR_SET_NAME, {name!r})")


def pidfd_open(pid: int) -> int:
    """pidfd_open(2): a descriptor that refers to this process permanently; readable once it has ended."""
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        raise OSError(error.errno, f"pidfd_open({pid}): {error.strerror}") from None

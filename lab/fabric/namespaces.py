"""Enters fresh namespaces, as root or as an ordinary user, and explains a refusal.

Owns the user namespace's maps and the remedies for machines that forbid it. Knows nothing of labs.
"""

import os
from pathlib import Path

from lab.errors import LabError
from lab.fabric.syscalls import Clone, unshare

LAB = Clone.NEWNS | Clone.NEWNET | Clone.NEWIPC | Clone.NEWUTS | Clone.NEWPID
"""The namespaces that a lab does not share with the machine."""


class NamespacesRefused(LabError):
    """This machine does not allow a lab's namespaces. `step`: what failed and how."""

    def __init__(self, step: str) -> None:
        super().__init__(f"this machine refuses a lab its namespaces ({step}): {remedy()}")
        self.step = step


def enter_fresh() -> None:
    """Leave the machine's namespaces of the kinds in `LAB`; the pid namespace takes effect for children.

    Without privileges it first enters a user namespace in which uid 0 is the caller. The process must have one thread.
    Raises `NamespacesRefused` with the remedy.
    """
    uid, gid = os.geteuid(), os.getegid()
    step = "namespaces as root"
    try:
        if not privileged():
            step = "user namespace"
            unshare(Clone.NEWUSER)
            step = "user map of the user namespace"
            for file, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
                Path("/proc/self", file).write_text(text, encoding="utf-8")
            step = "namespaces inside of a user namespace"
        unshare(LAB)
    except OSError as error:
        raise NamespacesRefused(f"{step}: {os.strerror(error.errno or 0)}") from error


def privileged() -> bool:
    """Whether this process may create namespaces directly: CAP_SYS_ADMIN (21) and CAP_NET_ADMIN (12) are effective."""
    with open("/proc/self/status", encoding="utf-8") as status:
        effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff"))
    return bool(effective >> 21 & 1 and effective >> 12 & 1)


def remedy() -> str:
    """How to lift the restriction, as far as the machine's settings show."""
    for name, forbidding in (
        ("kernel.apparmor_restrict_unprivileged_userns", "1"),
        ("kernel.unprivileged_userns_clone", "0"),
        ("user.max_user_namespaces", "0"),
    ):
        file = Path("/proc/sys", name.replace(".", "/"))
        if file.exists() and file.read_text(encoding="utf-8").strip() == forbidding:
            allowing = {"user.max_user_namespaces": "15000", "kernel.unprivileged_userns_clone": "1"}.get(name, "0")
            return f"`sudo sysctl -w {name}={allowing}` lifts that, or run the same command with sudo"
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return (
            "this is a container: start it with --privileged, or with --security-opt seccomp=unconfined "
            "--security-opt apparmor=unconfined --security-opt systempaths=unconfined"
        )
    return "run the same command with sudo; if you are root already, this machine's sandbox forbids namespaces"

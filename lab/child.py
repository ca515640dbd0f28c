"""A `lab` command as the child of a program (pytest, a sweep): it ends when that program does, however that ends.

Owns both ends of this: how the child is started, and what it does about its parent first. The kernel tells a child
of its parent's end by a signal, which the command takes as any request to stop: its lab goes down.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import IO, Any

__all__ = ["finish", "follow_parent", "interrupt", "start", "summary_in"]

_PARENT = "LAB_PARENT"
"""In the environment: the pid of who started this command and wants it to end with itself."""
_GOING_DOWN = 90.0
"""Seconds for a command that was interrupted; more than its lab gets."""


def start(
    words: Sequence[str], *, stdin: int = subprocess.DEVNULL, stderr: IO[str] | int = subprocess.PIPE
) -> "subprocess.Popen[str]":
    """Start `lab WORDS`, its output in pipes; a terminal's Ctrl-C does not reach it (`finish` passes it on).

    The thread that calls this must live as long as the command may: the kernel takes its end for the parent's.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "lab.cli", *words],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        process_group=0,
        env={**os.environ, _PARENT: str(os.getpid())},
    )


def finish(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """What the command wrote, once it has ended. Interrupted meanwhile, it is interrupted too, and waited for."""
    with process:
        try:
            return process.communicate()
        except BaseException:
            interrupt(process)
            raise


def interrupt(process: "subprocess.Popen[str]") -> None:
    """Ask the command to stop, and wait until it has; what does not stop is killed, its lab with it."""
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=_GOING_DOWN)
    finally:
        process.kill()


def summary_in(out: str) -> dict[str, Any] | None:
    """The JSON object with which the output of `lab run --json` ends; None where it does not."""
    try:
        found = json.loads(out.rstrip().rpartition("\n")[2])
    except json.JSONDecodeError:
        return None
    return found if isinstance(found, dict) and "verdict" in found else None


def follow_parent() -> None:
    """In a `lab` command: from now on end with the parent that asked for it; it may be gone already."""
    parent = os.environ.pop(_PARENT, "")
    if not parent.isdecimal():
        return
    from lab.fabric.syscalls import set_parent_death_signal

    set_parent_death_signal(signal.SIGTERM)
    if os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGTERM)

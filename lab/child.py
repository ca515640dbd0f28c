"""A `lab` command as the child of a program (pytest, a sweep): it ends when that program does, for whatever reason.

Owns both sides: how the child is started, and how it watches its parent. The kernel signals a parent's end to the
child; the command handles it like any request to stop, so its lab goes down.
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
"""Environment variable: the pid of the parent with which this command must end."""
_GOING_DOWN = 90.0
"""Seconds for an interrupted command to end; more than its lab gets."""


def start(
    words: Sequence[str], *, stdin: int = subprocess.DEVNULL, stderr: IO[str] | int = subprocess.PIPE
) -> "subprocess.Popen[str]":
    """Start `lab WORDS`, with its output in pipes; a terminal's Ctrl-C does not reach it (`finish` forwards it).

    The thread that calls this must live as long as the command, because the kernel takes its end for the parent's.
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


def finish(process: "subprocess.Popen[str]", limit: float | None = None) -> tuple[str, str]:
    """The command's output, once it has ended. If this is interrupted, it interrupts the command and waits for it; so
    it does after `limit` seconds, with `subprocess.TimeoutExpired`."""
    with process:
        try:
            return process.communicate(timeout=limit)
        except BaseException:
            interrupt(process)
            raise


def interrupt(process: "subprocess.Popen[str]") -> None:
    """Ask the command to stop, and wait; a command that does not stop is killed, with its lab."""
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=_GOING_DOWN)
    finally:
        process.kill()


def summary_in(out: str) -> dict[str, Any] | None:
    """The JSON object at the end of the output of `lab run --json`; None if there is none."""
    try:
        found = json.loads(out.rstrip().rpartition("\n")[2])
    except json.JSONDecodeError:
        return None
    return found if isinstance(found, dict) and "verdict" in found else None


def follow_parent() -> None:
    """In a `lab` command: from now on end with the parent that requested it, which may already be gone."""
    parent = os.environ.pop(_PARENT, "")
    if not parent.isdecimal():
        return
    from lab.fabric.syscalls import set_parent_death_signal

    set_parent_death_signal(signal.SIGTERM)
    if os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGTERM)

"""The exit of a command: the one place that converts exceptions to a message and an exit code.

    0  valid                                  2  bad usage, a bad scenario, or something that the lab refuses
    1  invalid: the answer is no              3  unknown: interrupted, cut short, or undecidable

1 is reserved for verdicts, so an error in the lab itself must not end with it. The commands return their verdict's code
and raise errors that they cannot handle; they print no tracebacks and catch nothing for its exit code.
"""

import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lab.cli import terminal
from lab.errors import LabError, Unreadable, no_room

__all__ = ["UNKNOWN", "USAGE", "code_of", "code_within"]

USAGE, UNKNOWN = 2, 3


def code_of(command: Callable[[], Any]) -> int:
    """Run a whole command; returns its exit code after all output is written."""
    try:
        if callable(signal.getsignal(signal.SIGINT)):  # not if interrupts are ignored
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = code_within(command)
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        code = UNKNOWN
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return UNKNOWN if code == 0 and terminal.lost() else code


def code_within(work: Callable[[], Any]) -> int:
    """The exit code of some work, however it ends; the caller handles `KeyboardInterrupt`."""
    try:
        code = work()
        return code if isinstance(code, int) else 0
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        _say(str(end.code))
    except click.Abort:
        raise
    except click.ClickException as error:
        error.show()
        return USAGE
    except Unreadable as error:
        _say(str(error))
    except LabError as error:
        _say(str(error))
        return USAGE
    except OSError as error:
        _say(in_words(error))
    except MemoryError:
        _say("there is not enough memory for this")
    except Exception as error:
        if lacking := no_room(error):
            _say(lacking)
            return UNKNOWN
        traceback.print_exc()
        _say(f"this is a fault of the lab itself ({type(error).__name__}), and no verdict: please report it")
    return UNKNOWN


def in_words(error: OSError) -> str:
    """The system's error and its file, as a sentence."""
    if isinstance(error, FileNotFoundError) and not error.filename and _lost_directory():
        return "the working directory does not exist any more: change to another, and run it again"
    if lacking := no_room(error):
        return lacking
    reason = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename else reason


def _lost_directory() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _say(text: str) -> None:
    click.echo(f"lab: {text}", err=True)

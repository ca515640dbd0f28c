"""The start of the `lab` command: an interrupt during imports prints one line and exits with 3."""

import gc
import os
import signal
from typing import NoReturn

_INTERRUPTED = 3
_THRESHOLDS = (20_000, 20, 20)
"""Of the collector of cycles, instead of 700, 10, 10: nearly all objects that imports make stay until the command
ends, and visiting them again and again took a twelfth of a short command's time."""


def main() -> NoReturn:
    """The entry point of the command `lab`."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _give_up)
    gc.set_threshold(*_THRESHOLDS)
    from lab.cli import main as command

    command()


def _give_up(_number: int, _frame: object) -> NoReturn:
    os.write(2, b"lab: interrupted\n")
    os._exit(_INTERRUPTED)

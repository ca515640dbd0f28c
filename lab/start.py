"""The start of the `lab` command: an interrupt during imports prints one line and exits with 3."""

import os
import signal
from typing import NoReturn

_INTERRUPTED = 3


def main() -> NoReturn:
    """The entry point of the command `lab`."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _give_up)
    from lab.cli import main as command

    command()


def _give_up(_number: int, _frame: object) -> NoReturn:
    os.write(2, b"lab: interrupted\n")
    os._exit(_INTERRUPTED)

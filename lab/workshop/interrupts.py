"""^C during a class: it interrupts the running command, or drops the line that is being typed, and does nothing else.
It never ends the class.

Owns the handler of SIGINT during a class. Knows nothing of what is typed.
"""

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

__all__ = ["Interrupts"]


class Interrupts:
    """Install it with `with interrupts.caught():`."""

    def __init__(self) -> None:
        self._asking = False
        self._press: Callable[[], None] | None = None

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Handle ^C within the block, even if SIGINT was ignored at the start (in the background of a script)."""
        before = signal.signal(signal.SIGINT, self._handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def ask(self, question: Callable[[str], str], prompt: str) -> str | None:
        """The line typed at a prompt; None if ^C dropped it."""
        try:
            self._asking = True
            return question(prompt)
        except KeyboardInterrupt:
            return None
        finally:
            self._asking = False

    @contextlib.contextmanager
    def to(self, press: Callable[[], None]) -> Iterator[None]:
        """Within the block, ^C calls `press`."""
        self._press = press
        try:
            yield
        finally:
            self._press = None

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._asking:
            raise KeyboardInterrupt
        if self._press is not None:
            self._press()

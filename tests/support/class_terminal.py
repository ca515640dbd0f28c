"""A terminal on which a `lab` command runs: a class (`lab workshop`), or the view of a lab (`lab watch --tui`). What is
typed passes a line discipline, so ^C is a signal, as for a learner."""

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Sequence

PATIENCE = 180.0
"""Seconds within which the class says something, on a machine that is busy with others."""
_QUIET = 1.0


class ClassTerminal:
    """`lab workshop …`, or another command, as the leader of a session of its own, with a controlling terminal."""

    def __init__(
        self, arguments: Sequence[str], environment: dict[str, str], command: Sequence[str] = ("workshop",)
    ) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            os.environ.update(environment)
            os.execv(sys.executable, [sys.executable, "-m", "lab.cli", *command, *arguments])
        self._code: int | None = None
        self.seen = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a read may end in the midst of a character
        self._tail = ""
        """The last of what came since something was typed, awaited or not."""

    def type(self, line: str) -> None:
        """Type a line at the next prompt: what is typed before it goes away with the terminal's old mode."""
        deadline = time.monotonic() + PATIENCE
        while not self._prompted():
            assert self._read(deadline), f"it ended before {line!r} could be typed:\n{self.seen}"
        self.press(line.encode() + b"\n")

    def press(self, key: bytes) -> None:
        self._tail = ""
        os.write(self._fd, key)

    def drop_line(self) -> None:
        """Press ^C at a prompt until there is a new one: one that comes just before the line editor waits for a key is
        only noticed with the next key."""
        deadline = time.monotonic() + PATIENCE
        self.press(b"\x03")
        while not self._prompted():
            if select.select([self._fd], [], [], _QUIET)[0]:
                assert self._read(deadline), f"it ended by ^C:\n{self.seen}"
            else:
                assert time.monotonic() < deadline, f"no prompt after ^C:\n{self.seen}"
                self.press(b"\x03")

    def _prompted(self) -> bool:
        return self._tail.endswith(("$ ", "# "))

    def until(self, text: str, timeout: float = PATIENCE) -> str:
        """Read until this is on the screen behind what was awaited before; returns what came, the text included."""
        deadline = time.monotonic() + timeout
        while text not in self.seen:
            assert self._read(deadline), f"it ended before it said {text!r}:\n{self.seen}"
        at = self.seen.index(text) + len(text)
        came, self.seen = self.seen[:at], self.seen[at:]
        return came

    def end(self, timeout: float = PATIENCE) -> int:
        """Read to the end; the exit code."""
        deadline = time.monotonic() + timeout
        while self._read(deadline):
            pass
        return self.wait()

    def hang_up(self) -> None:
        """Close the window."""
        os.close(self._fd)
        self._fd = -1

    def wait(self) -> int:
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._code

    def close(self) -> None:
        if self._fd >= 0:
            self.hang_up()
        if self._code is None:
            os.kill(self.pid, signal.SIGTERM)
            self.wait()

    def _read(self, deadline: float) -> bool:
        left = deadline - time.monotonic()
        assert left > 0 and select.select([self._fd], [], [], left)[0], f"nothing more came:\n{self.seen}"
        try:
            data = os.read(self._fd, 65536)
        except OSError:
            return False
        came = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", self._decoder.decode(data))
        self.seen += came
        self._tail = (self._tail + came)[-16:]
        return bool(data)

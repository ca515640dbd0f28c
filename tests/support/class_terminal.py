"""A terminal on which a class runs. What is typed passes a line discipline, so ^C is a signal, as for a learner."""

import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Sequence


class ClassTerminal:
    """`lab workshop …` as the leader of a session of its own, with a controlling terminal."""

    def __init__(self, arguments: Sequence[str], environment: dict[str, str]) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            os.environ.update(environment)
            os.execv(sys.executable, [sys.executable, "-m", "lab.cli", "workshop", *arguments])
        self._code: int | None = None
        self.seen = ""

    def type(self, line: str) -> None:
        os.write(self._fd, line.encode() + b"\n")

    def press(self, key: bytes) -> None:
        os.write(self._fd, key)

    def until(self, text: str, timeout: float = 120.0) -> str:
        """Read until this is on the screen behind what was awaited before; returns what came, the text included."""
        deadline = time.monotonic() + timeout
        while text not in self.seen:
            assert self._read(deadline), f"the class ended before it said {text!r}:\n{self.seen}"
        at = self.seen.index(text) + len(text)
        came, self.seen = self.seen[:at], self.seen[at:]
        return came

    def end(self, timeout: float = 60.0) -> int:
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
        self.seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", data.decode(errors="replace"))
        return bool(data)

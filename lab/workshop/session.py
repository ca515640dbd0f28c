"""A shell on a host of a running lab, in its own terminal: types a line, reads until the prompt is back.

Owns the pseudo-terminal and the detection of a command's end: the host's prompt is set to a unique text that contains
the exit status; a shell in a container is recognized by its own prompt. Knows nothing of what is typed.
"""

import contextlib
import os
import pty
import re
import select
import signal
import time

from msgspec import Struct

from lab.errors import LabError

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\x1b]*\x07?|\x1b[=>]|\r")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Remaining control characters are removed too, because a container's output is shown on the learner's terminal."""
_CONTAINER = re.compile(r"(?:^|\n)(?:root@[0-9A-Za-z.-]+:[^\n]*|bash-[0-9.]+|/ )[#$] $")
TIMEOUT = 90.0
"""Timeout in seconds for one command, on a busy machine."""
_KEPT = 1 << 20
"""Maximum bytes kept of one command's output, the last ones: some commands never stop writing."""
_PROMPT = 4096
"""Bytes at the end of the output in which a prompt is searched."""
_NUDGE = 1.0
"""Seconds between two presses of Enter for an attached shell."""
_INTERRUPTED = 10.0
"""Seconds until an interrupted command must have ended."""


class NoPromptError(LabError):
    """A command timed out; the text contains the terminal's output."""


class ShellEndedError(LabError):
    """The shell is gone: its session cannot be used any more."""


class LineOutcome(Struct, frozen=True):
    """The result of a line. `status` is None if it left a container's shell open."""

    status: int | None
    output: str


class ShellSession:
    """One shell. `close` ends it, and every process that still runs in it."""

    def __init__(self, lab: str, host: str) -> None:
        self.host = host
        self._mine = re.compile(rf"<<{re.escape(host)} (\d+)>> $")
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            self._become(lab)
        self._raw = b""
        # The shell assembles the prompt, so that the echo of this line does not look like a prompt.
        self._send(f"stty -echo; PS1='<''<{host} $?>''> '; PS2=; unset PROMPT_COMMAND HISTFILE\n")
        self._until_prompt(TIMEOUT)

    def _become(self, lab: str) -> None:
        """In the forked child: enter the host."""
        code = 126
        try:
            # Under `nohup`, or in the background of a script, these are ignored: then `close` would hang and ^C do
            # nothing.
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)
            os.environ["TERM"] = "dumb"
            from lab.backends.netns import enter_host

            code = enter_host(["bash", "--noprofile", "--norc", "--noediting", "-i"], host=self.host, lab=lab)
        except BaseException as error:
            os.write(2, f"{error}\n".encode())
        finally:
            os._exit(code)

    def type(self, line: str, timeout: float = TIMEOUT) -> LineOutcome:
        """Type a line and return its result, without the echo of a container's terminal.

        Raises `NoPromptError` when no prompt comes back in time, and `ShellEndedError`.
        """
        self._raw = b""
        self._send(line + "\n")
        # An attached shell shows no prompt until Enter is pressed, and a starting shell drops what was typed before it
        # was ready. So Enter is pressed repeatedly while there is no output.
        outcome = self._until_prompt(timeout, nudge=" attach " in f" {line} ")
        return LineOutcome(outcome.status, outcome.output.removeprefix(line + "\n"))

    def press_interrupt(self) -> None:
        """Press ^C: it interrupts the running command, for which another call waits."""
        with contextlib.suppress(ShellEndedError):
            self._send("\x03")

    def interrupt(self) -> LineOutcome:
        """Press ^C, then the quit key if that has no effect, and return the result of the line."""
        self.press_interrupt()
        try:
            return self._until_prompt(_INTERRUPTED)
        except NoPromptError:
            self._send("\x1c")
            return self._until_prompt(_INTERRUPTED)

    def close(self) -> None:
        """Hang up the terminal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGHUP)
        os.close(self._fd)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def _send(self, text: str) -> None:
        try:
            os.write(self._fd, text.encode())
        except OSError:
            raise ShellEndedError(f"{self.host}: the shell has ended") from None

    def _until_prompt(self, timeout: float, *, nudge: bool = False) -> LineOutcome:
        deadline = time.monotonic() + timeout
        nudged = 0.0
        quiet = False
        while True:
            end = _shown(self._raw[-_PROMPT:])
            if mine := self._mine.search(end):
                return LineOutcome(int(mine[1]), self._before(mine[0]))
            # A container's prompt may occur in the middle of unfinished output, so it must be at the end.
            if quiet and (theirs := _CONTAINER.search(end)):
                return LineOutcome(None, self._before(theirs[0]))
            left = deadline - time.monotonic()
            if left <= 0:
                shows = _shown(self._raw)
                raise NoPromptError(f"{self.host}: no prompt within {timeout:g} s; the terminal shows:\n{shows}")
            quiet = not select.select([self._fd], [], [], min(left, 0.3))[0]
            if quiet and nudge and time.monotonic() >= nudged:
                nudged = time.monotonic() + _NUDGE
                self._send("\n")
            if not quiet:
                try:
                    data = os.read(self._fd, 65536)
                except OSError:
                    data = b""
                if not data:
                    raise ShellEndedError(f"{self.host}: the shell has ended:\n{_shown(self._raw)}")
                self._raw = (self._raw + data)[-_KEPT:]

    def _before(self, prompt: str) -> str:
        return _shown(self._raw).removesuffix(prompt)


def _shown(raw: bytes) -> str:
    """The text that a terminal would show, without colours, titles and other control sequences."""
    return _CONTROL.sub("", _ANSI.sub("", raw.decode(errors="replace")))

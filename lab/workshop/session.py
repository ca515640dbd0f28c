"""A shell on a host of a running lab, on a terminal of its own: types a line, reads until a prompt is back.

Owns the pseudo-terminal and how the end of a command is known: the host's prompt is set to something unmistakable that
holds the exit status; a shell in a container is known by its own prompt. Knows nothing of what is typed.
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
"""What is left of controls goes too: a container's output is shown on the learner's terminal."""
_CONTAINER = re.compile(r"(?:^|\n)(?:root@[0-9A-Za-z.-]+:[^\n]*|bash-[0-9.]+|/ )[#$] $")
TIMEOUT = 90.0
"""Seconds that one command may take, on a machine that is busy."""
_KEPT = 1 << 20
"""Bytes of one command's output that are kept, its last: some commands never stop writing."""
_PROMPT = 4096
"""Bytes at the end of the output in which a prompt is looked for."""
_NUDGE = 1.0
"""Seconds between two presses of Enter for a shell that is attached to."""
_INTERRUPTED = 10.0
"""Seconds until a command that was told to end has done so."""


class NoPromptError(LabError):
    """A command took longer than it may; what the terminal shows is in the text."""


class ShellEndedError(LabError):
    """The shell is gone: its session is of no more use."""


class LineOutcome(Struct, frozen=True):
    """What a line came to. `status` is None when it left a shell of a container open."""

    status: int | None
    output: str


class ShellSession:
    """One shell. `close` ends it, and whatever still runs in it."""

    def __init__(self, lab: str, host: str) -> None:
        self.host = host
        self._mine = re.compile(rf"<<{re.escape(host)} (\d+)>> $")
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            self._become(lab)
        self._raw = b""
        # The prompt is put together by the shell, so that the echo of this line is no prompt.
        self._send(f"stty -echo; PS1='<''<{host} $?>''> '; PS2=; unset PROMPT_COMMAND HISTFILE\n")
        self._until_prompt(TIMEOUT)

    def _become(self, lab: str) -> None:
        """In the fork: go where the host is."""
        code = 126
        try:
            # Under `nohup`, or in the background of a script, these are ignored: `close` hung, and ^C did nothing.
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
        """Type a line and return what came of it, without the echo of a container's terminal.

        Raises `NoPromptError` when no prompt comes back in time, and `ShellEndedError`.
        """
        self._raw = b""
        self._send(line + "\n")
        # A shell that is attached to shows no prompt before Enter is pressed, and one that is just starting drops what
        # was typed before it was ready: so Enter is pressed again while nothing comes.
        outcome = self._until_prompt(timeout, nudge=" attach " in f" {line} ")
        return LineOutcome(outcome.status, outcome.output.removeprefix(line + "\n"))

    def press_interrupt(self) -> None:
        """Press ^C: for the command that runs, which another call waits for."""
        with contextlib.suppress(ShellEndedError):
            self._send("\x03")

    def interrupt(self) -> LineOutcome:
        """Press ^C, then the quit key if that is not heard, and return what the line came to by that."""
        self.press_interrupt()
        try:
            return self._until_prompt(_INTERRUPTED)
        except NoPromptError:
            self._send("\x1c")
            return self._until_prompt(_INTERRUPTED)

    def close(self) -> None:
        """Hang up."""
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
            # A container's prompt may stand in the middle of what is still being written: it must be the last word.
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
    """What a terminal would show of this, without colours, titles and other controls."""
    return _CONTROL.sub("", _ANSI.sub("", raw.decode(errors="replace")))

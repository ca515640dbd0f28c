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

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r|\x07")
_CONTAINER = re.compile(r"(?:^|\n)(?:root@[0-9A-Za-z.-]+:[^\n]*|bash-[0-9.]+|/ )[#$] $")
TIMEOUT = 90.0
"""Seconds that one command may take, on a machine that is busy."""
_INTERRUPTED = 10.0
"""Seconds until a command that was told to end has done so."""


class NoPromptError(LabError):
    """A command took longer than it may; what the terminal shows is in the text."""


class ShellEndedError(LabError):
    """The shell is gone: its session is of no more use."""


class Outcome(Struct, frozen=True):
    """What a line came to. `status` is None when it left a shell of a container open."""

    status: int | None
    output: str


class Session:
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

    def type(self, line: str, timeout: float = TIMEOUT) -> Outcome:
        """Type a line and return what came of it, without the echo of a container's terminal.

        Raises `NoPromptError` when no prompt comes back in time, and `ShellEndedError`.
        """
        self._raw = b""
        self._send(line + "\n")
        if " attach " in f" {line} ":
            self._send("\n")  # a shell that is attached to shows no prompt before it is asked for one
        outcome = self._until_prompt(timeout)
        return Outcome(outcome.status, outcome.output.removeprefix(line + "\n"))

    def interrupt(self) -> Outcome:
        """Press ^C, and return what the line came to by that."""
        self._send("\x03")
        return self._until_prompt(_INTERRUPTED)

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGHUP)
        os.close(self._fd)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def _send(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def _until_prompt(self, timeout: float) -> Outcome:
        deadline = time.monotonic() + timeout
        quiet = False
        while True:
            text = _ANSI.sub("", self._raw.decode(errors="replace"))
            if mine := self._mine.search(text):
                return Outcome(int(mine[1]), text[: mine.start()])
            # A container's prompt may stand in the middle of what is still being written: it must be the last word.
            if quiet and (theirs := _CONTAINER.search(text)):
                return Outcome(None, text[: theirs.start()])
            left = deadline - time.monotonic()
            if left <= 0:
                raise NoPromptError(f"{self.host}: no prompt within {timeout:g} s; the terminal shows:\n{text}")
            quiet = not select.select([self._fd], [], [], min(left, 0.3))[0]
            if not quiet:
                try:
                    data = os.read(self._fd, 65536)
                except OSError:
                    data = b""
                if not data:
                    raise ShellEndedError(f"{self.host}: the shell has ended:\n{text}")
                self._raw += data

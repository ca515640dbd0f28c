"""Goes through the walk-through: types every command itself (`--check`), or lets a learner type and looks on.

Owns the sessions, the order, and the verdict on each command. The page's format is `text.py`'s.
"""

import contextlib
import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lab.errors import LabError
from lab.workshop import hold
from lab.workshop.session import NoPromptError, Outcome, Session
from lab.workshop.text import PRINTED_ID, Command, Part, lacking, parse

_ID = re.compile(r"^[0-9a-f]{64}\s*$", re.MULTILINE)
_INSIDE = re.compile(r"(?:^|\s)(?:attach|-ti|-it)\s")
_PATIENCE = 60.0
"""Seconds that a learner's command may take, who may have typed one that never ends."""

Say = Callable[[str], None]
Ask = Callable[[str], str]


def page(language: str) -> Path:
    """The walk-through in a language. Raises `LabError` where this installation has no documentation."""
    name = "walkthrough.md" if language == "en" else f"walkthrough.{language}.md"
    path = Path(__file__).resolve().parents[2] / "docs" / name
    if not path.exists():
        raise LabError(f"this installation has no {name}: give the path of the walk-through, `lab workshop FILE`")
    return path


@contextlib.contextmanager
def two_hosts(backend: str) -> Iterator[str]:
    """Two hosts for as long as the block lasts; yields the lab's name. Raises `LabError` with what is missing."""
    name = f"workshop-{os.getpid()}"
    command = [sys.executable, "-m", "lab.workshop.hold", backend, name, str(os.getpid())]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stderr is not None
    try:
        if holder.stdout.readline().strip() != hold.UP:
            _, complaint = holder.communicate()
            raise LabError(complaint.strip() or f"the hosts did not come up (exit code {holder.returncode})")
        yield name
    finally:
        holder.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            holder.communicate(timeout=30)
        if holder.returncode is None:
            holder.kill()
            holder.communicate()


class Course:
    """One walk through the page."""

    def __init__(self, lab: str, parts: Sequence[Part], say: Say, ask: Ask | None = None) -> None:
        self._lab = lab
        self._parts = parts
        self._say = say
        self._ask = ask
        """None: everything is typed here."""
        self._sessions: dict[str, Session] = {}
        self._inside: Session | None = None
        """Where a container's shell is open."""
        self._printed = ""

    def walk(self) -> int:
        """All parts in order; returns how many commands were typed. Raises `LabError` at the first that goes wrong."""
        typed = 0
        try:
            for part in self._parts:
                self._say(f"\n## {part.number}. {part.title}")
                for step in part.steps:
                    if self._ask is not None and step.prose:
                        self._say("\n" + _wrapped(step.prose))
                    for command in step.commands:
                        self._one(part, command)
                        typed += 1
        finally:
            for session in self._sessions.values():
                session.close()
        return typed

    def _one(self, part: Part, command: Command) -> None:
        session = self._where(command)
        prompt = f"{command.host}:~$ " if command.host else "# "
        line = self._meant(command.line)
        if self._ask is None:
            self._say(prompt + line)
            outcome = session.type(line)
            problem = wrong(command, outcome)
            self._say(outcome.output.strip("\n"))
            if problem:
                raise LabError(f"part {part.number}, `{prompt}{line}`: {problem}")
        else:
            outcome = self._let_type(session, command, prompt, line)
        self._inside = session if outcome.status is None else None
        if printed := _ID.findall(outcome.output):
            self._printed = printed[-1].strip()[:12]

    def _let_type(self, session: Session, command: Command, prompt: str, line: str) -> Outcome:
        """Until the learner has done what this command does; whatever else is typed runs too, but is not the step."""
        assert self._ask is not None
        self._say(f"\n  now type on {command.host or 'the container'}:  {line}")
        if command.expected:
            self._say("  expected: " + "\n            ".join(command.expected))
        while True:
            typed = self._ask(prompt).strip() or line
            if command.host and typed in ("exit", "logout"):
                raise EOFError
            outcome = self._typed(session, typed)
            if outcome is None:
                session = self._where(command)
                continue
            self._say(outcome.output.strip("\n"))
            problem = wrong(command, outcome)
            if not problem and (command.expected or same(typed, line)):
                self._say("  ✓")
                return outcome
            if not same(typed, line):
                problem = f"the step is `{line}`"
            self._say(f"  not yet: {problem} (an empty line types it for you)")

    def _typed(self, session: Session, line: str) -> Outcome | None:
        """What came of a learner's line, interrupted (by ^C, or after a while) if it does not end; None: of the shell
        nothing is left, and the next one is opened when it is needed."""
        try:
            try:
                return session.type(line, _PATIENCE)
            except (KeyboardInterrupt, NoPromptError):
                return session.interrupt()
        except LabError as error:
            self._say(f"  {error}\n  here is another shell")
            self._sessions.pop(session.host).close()
            return None

    def _where(self, command: Command) -> Session:
        if not command.host:
            if self._inside is None:
                raise LabError(f"`# {command.line}`: no shell of a container is open")
            return self._inside
        if command.host not in self._sessions:
            self._sessions[command.host] = Session(self._lab, command.host)
        return self._sessions[command.host]

    def _meant(self, line: str) -> str:
        return line.replace(PRINTED_ID, self._printed) if self._printed else line


def same(typed: str, line: str) -> bool:
    """Whether both are the same command: spaces, kinds of quotes and a `sudo` in front do not matter."""
    try:
        words = [shlex.split(text) for text in (typed, line)]
    except ValueError:
        return False
    left, right = (one[1:] if one[:1] == ["sudo"] else one for one in words)
    return left == right


def wrong(command: Command, outcome: Outcome) -> str:
    """What is wrong with the outcome of a command; empty when nothing is."""
    if missing := lacking(command.expected, outcome.output):
        return f"`{missing}` is not in what it says:\n{outcome.output.strip()}"
    if command.host:
        if command.fails and outcome.status == 0:
            return "it worked, which it should not"
        if not command.fails and outcome.status not in (0, None):
            return f"it ended with {outcome.status}:\n{outcome.output.strip()}"
        if outcome.status is not None and _INSIDE.search(command.line) and "weave run" not in command.line:
            return f"no shell opened:\n{outcome.output.strip()}"
    return ""


def chosen(file: Path, numbers: Sequence[int]) -> list[Part]:
    """The parts of a page, all or those of these numbers. Raises `LabError` for a number that it has not."""
    try:
        parts = parse(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise LabError(f"{file}: {error.strerror}") from None
    have = [part.number for part in parts]
    for number in numbers:
        if number not in have:
            raise LabError(f"{file} has no part {number}, only {', '.join(map(str, have))}")
    return [part for part in parts if not numbers or part.number in numbers]


def _wrapped(prose: str) -> str:
    return "\n\n".join(textwrap.fill(paragraph, 100) for paragraph in prose.split("\n\n"))

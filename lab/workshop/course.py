"""Goes through the walk-through: types every command itself (`--check`), or lets a learner type and checks the results.

Owns the sessions and the order. `text.py` owns the commands, `judging.py` the verdict on a command, `words.py` the
sentences.
"""

import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet

from msgspec import Struct

from lab.errors import LabError
from lab.workshop import judging
from lab.workshop.bookmark import CoursePosition
from lab.workshop.interrupts import Interrupts
from lab.workshop.session import LineOutcome, NoPromptError, ShellSession
from lab.workshop.text import PRINTED_ID, CoursePart, TypedCommand
from lab.workshop.words import EN, Words

__all__ = ["Course", "CourseLeft", "CourseMismatch", "CourseProgress"]

_ID = re.compile(r"^[0-9a-f]{64}\s*$", re.MULTILINE)
_ATTACH = re.compile(r"docker attach (\S+)")
_PATIENCE = 60.0
"""Timeout in seconds for a learner's command, which may be one that never ends."""
_SETTING = ("`", "eval ", "export ", "unset ")
"""Prefixes of lines that change the shell itself."""
_LEAVE = ("exit", "logout")

Say = Callable[[str], None]
Ask = Callable[[str], str]


class CourseMismatch(LabError):
    """A command typed by the lab did not do what the page says."""


class CourseLeft(Exception):
    """The learner left the class; `place` is the next command to type."""

    def __init__(self, place: CoursePosition) -> None:
        self.place = place
        super().__init__()


class CourseProgress(Struct, frozen=True):
    """Number of commands done, and number skipped by the learner."""

    typed: int
    skipped: int


class _At(Struct, frozen=True):
    """One command with its place, and the number of commands in its part."""

    part: CoursePart
    place: CoursePosition
    command: TypedCommand
    of: int


class Course:
    """One pass through the page."""

    def __init__(
        self,
        lab: str,
        parts: Sequence[CoursePart],
        say: Say,
        ask: Ask | None = None,
        *,
        words: Words = EN,
        only: AbstractSet[int] = frozenset(),
        start: CoursePosition | None = None,
        keep: Callable[[CoursePosition], None] = lambda place: None,
        width: int = 100,
    ) -> None:
        """`ask` None: the lab types everything. `only`: the parts to go through (empty: all). Commands before them, or
        before `start`, are typed silently, so that the hosts are in the expected state. `keep` is called with every
        place.
        """
        self._lab = lab
        self._parts = parts
        self._say = say
        self._ask = ask
        self._words = words
        self._only = only
        self._start = start
        self._keep = keep
        self._width = width
        self._interrupts = Interrupts()
        self._sessions: dict[str, ShellSession] = {}
        self._inside: ShellSession | None = None
        """The session in which a container's shell is open."""
        self._opener: TypedCommand | None = None
        """The command of the page that opened the current container shell."""
        self._settings: dict[str, list[str]] = {}
        """Lines that changed a host's shell (`weave proxy-env`), because another shell of that host
        needs them too."""
        self._printed = ""
        self._heading = ""

    def walk(self) -> CourseProgress:
        """Go through all chosen parts in order. Raises `CourseMismatch` at the first command typed by the lab that goes
        wrong, `CourseLeft` when the learner leaves, and `LabError` when the hosts are gone."""
        done = [self._go(at, prose) for at, prose in self._all()]
        return CourseProgress(done.count(True), done.count(False))

    def close(self) -> None:
        """Hang up all shells."""
        for session in self._sessions.values():
            session.close()

    def _all(self) -> Iterator[tuple[_At | None, str]]:
        """Every command up to the last one to do, with its prose, or prose alone; earlier commands are typed here."""
        numbers = [part.number for part in self._parts]
        last = max((numbers.index(one) for one in self._only), default=len(numbers) - 1)
        for part in self._parts[: last + 1]:
            of = sum(len(step.commands) for step in part.steps)
            index = 0
            for step in part.steps:
                if not step.commands and not self._before(part, index):
                    self._head(self._title(part))
                    yield None, step.prose
                for number, command in enumerate(step.commands):
                    at = _At(part=part, place=CoursePosition(part.number, index), command=command, of=of)
                    if judging.opens_shell(command.line):
                        self._opener = command
                    if self._before(part, index):
                        self._head(self._words.preparing.format(number=part.number, title=part.title))
                        self._type(at, quietly=True)
                    else:
                        self._start = None
                        self._head(self._title(part))
                        yield at, step.prose if number == 0 else ""
                    index += 1

    def _before(self, part: CoursePart, index: int) -> bool:
        """Whether a command comes before the chosen ones."""
        if self._only and part.number not in self._only:
            return True
        return self._start is not None and CoursePosition(part.number, index) != self._start

    def _go(self, at: _At | None, prose: str) -> bool | None:
        """Do one command; returns False if it was skipped, None for prose alone."""
        if self._ask is None:
            if at is None:
                return None
            self._type(at, quietly=False)
            return True
        if prose:
            self._say("\n" + "\n\n".join(textwrap.fill(one, self._width) for one in prose.split("\n\n")))
        return None if at is None else self._teach(at)

    def _head(self, text: str) -> None:
        if text != self._heading:
            self._heading = text
            self._say("\n" + text)

    def _title(self, part: CoursePart) -> str:
        numbers = [one.number for one in self._parts]
        at = numbers.index(part.number) + 1
        return self._words.part.format(number=part.number, title=part.title, at=at, of=len(numbers))

    # --- typed by the lab --------------------------------------------------------------------------------------------

    def _type(self, at: _At, *, quietly: bool) -> None:
        command = at.command
        session = self._where(command)
        if session is None:
            raise CourseMismatch(f"`# {command.line}`: no shell of a container is open")
        line, prompt = self._meant(command.line), _prompt(command)
        if not quietly:
            self._say(prompt + line)
        outcome = session.type(line)
        if not quietly:
            self._say(outcome.output.strip("\n"))
        if problem := judging.wrong(command, outcome, self._words):
            raise CourseMismatch(
                self._words.stopped_at.format(number=at.part.number, line=f"{prompt}{line}", problem=problem)
            )
        self._note(command, session, outcome)

    # --- typed by a learner ------------------------------------------------------------------------------------------

    def _teach(self, at: _At) -> bool:
        """Wait until the learner has done what this command does, or skips it (False); other typed lines run too, but
        do not complete the step."""
        assert self._ask is not None
        command, words = at.command, self._words
        self._keep(at.place)
        where = command.host or words.container
        line = self._meant(command.line)
        self._say("\n" + words.step.format(at=at.place.command + 1, of=at.of, where=where, line=line))
        if command.expected:
            self._say(words.expected + ("\n" + " " * len(words.expected)).join(command.expected))
        typed, outcome = "", None
        while True:
            asked = self._listen(at)
            if asked in words.skips:
                self._say(words.skipped.format(line=line))
                return False
            if asked in words.hints:
                self._say(judging.hint(command, line, typed, outcome, words))
                continue
            session = self._reached(command, asked)
            if session is None:
                continue
            if not asked and command.host and session is self._inside:
                self._typed(session, "exit")  # the learner had opened a container's shell that is not in the page
                self._inside = None
            typed = asked or line
            outcome = self._typed(session, typed)
            if outcome is None:
                continue
            self._say(outcome.output.strip("\n"))
            self._note(command, session, outcome)
            problem = judging.wrong(command, outcome, words)
            if not problem and (command.expected or judging.same(typed, line)):
                self._say(words.done)
                return True
            if not judging.same(typed, line):
                problem = words.the_step_is.format(line=line)
            self._say(words.not_yet.format(problem=problem))

    def _listen(self, at: _At) -> str:
        """The next typed line, stripped. Raises `CourseLeft` at the end of the class."""
        assert self._ask is not None
        while True:
            inside = self._inside is not None and at.command.host in ("", self._inside.host)
            try:
                with self._interrupts.caught():
                    asked = self._interrupts.ask(self._ask, "# " if inside else _prompt(at.command))
            except EOFError:
                raise CourseLeft(at.place) from None
            if asked is None:
                self._say("")
            elif not inside and asked.strip() in _LEAVE:
                raise CourseLeft(at.place)
            else:
                return asked.strip()

    def _reached(self, command: TypedCommand, asked: str) -> ShellSession | None:
        """The session to type in; None if the container's shell had to be opened again first, or is not open."""
        session = self._where(command)
        if session is not None:
            return session
        opener = self._opener
        if opener is None:
            raise LabError(f"`# {command.line}`: nothing before it on the page opens a container's shell")
        line = self._meant(opener.line)
        if asked:
            self._say(self._words.reopen.format(line=line))
            return None
        session = self._where(opener)
        assert session is not None
        if attached := _ATTACH.search(line):
            # Its shell was the container's main program, so the container has ended with it.
            self._typed(session, f"sudo weave start {attached[1]}")
        outcome = self._typed(session, line)
        if outcome is not None:
            self._say(outcome.output.strip("\n"))
            self._note(opener, session, outcome)
        return None

    def _typed(self, session: ShellSession, line: str) -> LineOutcome | None:
        """The result of a learner's line, interrupted (by ^C, or after a timeout) if it does not end; None: the shell
        is gone, and the next one is opened on demand."""
        try:
            with self._interrupts.caught(), self._interrupts.to(session.press_interrupt):
                try:
                    return session.type(line, _PATIENCE)
                except NoPromptError:
                    self._say(self._words.overdue.format(seconds=_PATIENCE))
                    return session.interrupt()
        except LabError as error:
            self._say(self._words.new_shell.format(problem=error))
            self._sessions.pop(session.host).close()
            if self._inside is session:
                self._inside = None
            return None

    # --- both --------------------------------------------------------------------------------------------------------

    def _note(self, command: TypedCommand, session: ShellSession, outcome: LineOutcome) -> None:
        """Remember the effects of a command: an open container shell, a printed identifier."""
        if outcome.status is None:
            self._inside = session
        elif self._inside is session:
            self._inside = None
        if command.host and command.line.startswith(_SETTING):
            self._settings.setdefault(command.host, []).append(command.line)
        if printed := _ID.findall(outcome.output):
            self._printed = printed[-1].strip()[:12]

    def _where(self, command: TypedCommand) -> ShellSession | None:
        """The session for a command; None for a container's shell if none is open."""
        if not command.host:
            return self._inside
        if command.host not in self._sessions:
            session = ShellSession(self._lab, command.host)
            for line in self._settings.get(command.host, []):
                session.type(line)
            self._sessions[command.host] = session
        return self._sessions[command.host]

    def _meant(self, line: str) -> str:
        return line.replace(PRINTED_ID, self._printed) if self._printed else line


def _prompt(command: TypedCommand) -> str:
    return f"{command.host}:~$ " if command.host else "# "

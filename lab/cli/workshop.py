"""`lab workshop`: the walk-through on two hosts, typed by the learner or (`--check`) by the lab.

Owns the start and end of a class: its language, its place on the page, its exit code. `lab.workshop` owns the class.
"""

import contextlib
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import click

from lab.cli.command import lab_command
from lab.workshop.bookmark import Bookmark
from lab.workshop.course import Course, CourseLeft, CourseMismatch
from lab.workshop.hosts import page, read, two_hosts
from lab.workshop.words import LANGUAGES, Words

_LEFT = 3
_WRONG = 1
_WIDTH = 100


class _HungUp(BaseException):
    """The terminal is closed, or the class was ended by a signal."""


def hold_class(
    file: Path | None, *, backend: str, language: str, check: bool, parts: tuple[int, ...], resume: bool
) -> int:
    """Go through the page; returns 0 if every command did what it should."""
    words = LANGUAGES[language]
    where = file or page(language)
    page_parts = read(where, parts)
    bookmark = Bookmark(page_parts)
    place = None if check or parts else bookmark.get()
    again = _again(file, backend, language)
    begun = time.monotonic()
    try:
        with _hang_ups(), two_hosts(backend) as lab:
            if not check:
                click.echo(words.welcome)
                click.echo(words.elsewhere.format(command=lab_command(), lab=lab))
                if place is not None and not resume:
                    at = {"number": place.part, "at": place.command + 1}
                    click.echo(words.was_at.format(command=again, **at))
            course = Course(
                lab,
                page_parts,
                click.echo,
                None if check else _ask,
                words=words,
                only=frozenset(parts),
                start=place if resume else None,
                keep=(lambda _: None) if parts else bookmark.keep,
                width=min(_WIDTH, shutil.get_terminal_size().columns),
            )
            try:
                walked = course.walk()
            finally:
                course.close()
    except CourseLeft as left:
        _farewell(words, again, left, bookmark, kept=not parts)
        return _LEFT
    except CourseMismatch as error:
        click.echo(f"lab: {error}", err=True)
        return _WRONG
    except KeyboardInterrupt:
        click.echo(f"\nlab: {words.interrupted}", err=True)
        return _LEFT
    except _HungUp:
        return _LEFT
    if not check and not parts:
        bookmark.keep(None)
    facts = {"count": walked.typed, "skipped": walked.skipped, "seconds": time.monotonic() - begun}
    click.echo((words.finished_skipped if walked.skipped else words.finished).format(**facts))
    return 0


def _ask(prompt: str) -> str:
    """`input` with line editing by the terminal."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # what is typed can be edited and recalled
    return input(prompt)


def _farewell(words: Words, again: str, left: CourseLeft, bookmark: Bookmark, *, kept: bool) -> None:
    if kept and not bookmark.problem:
        click.echo(words.pause.format(command=again, number=left.place.part, at=left.place.command + 1))
    elif kept:
        click.echo("\n" + words.nothing_kept.format(why=bookmark.problem))


def _again(file: Path | None, backend: str, language: str) -> str:
    options = [*([shlex.quote(str(file))] if file else []), "--backend", backend, "--language", language, "--resume"]
    return " ".join([lab_command(), "workshop", *options])


@contextlib.contextmanager
def _hang_ups() -> Iterator[None]:
    """A closed terminal and SIGTERM end the class gracefully; an ignored SIGHUP (`nohup`) stays ignored."""

    def end(_number: int, _frame: FrameType | None) -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # the terminal may be gone
        raise _HungUp

    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, end)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

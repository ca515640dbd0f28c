"""A learner types the walk-through: what counts as done, and what does not end the class."""

import signal
from collections.abc import Iterator

import pytest
from netns_labs import require_netns

from lab.workshop.course import Course, CourseLeft
from lab.workshop.hosts import two_hosts
from lab.workshop.text import parse

PAGE = """\
## 1. A

```console
orion.local:~$ true one
orion.local:~$ sudo echo "two  words"
two  words
```
"""


@pytest.fixture
def hosts() -> Iterator[str]:
    require_netns()
    with two_hosts("netns") as name:
        yield name


def _walk(hosts: str, *typed: str, page: str = PAGE) -> tuple[int, str]:
    said: list[str] = []
    lines = iter(typed)

    def ask(_: str) -> str:
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    course = Course(hosts, parse(page), said.append, ask)
    try:
        count = course.walk().typed
    finally:
        course.close()
    assert next(lines, None) is None, "the class ended before everything was typed"
    return count, "\n".join(said)


def test_what_else_is_typed_runs_and_is_not_the_step(hosts: str) -> None:
    count, said = _walk(hosts, "echo hello", "false", "true  one", "echo 'two  words'")
    assert count == 2
    assert "hello\n  not yet: the step is `true one`" in said
    assert said.count("not yet") == 2 and said.count("✓") == 2


def test_what_brings_the_expected_output_is_the_step(hosts: str) -> None:
    count, said = _walk(hosts, "", "printf 'two  %s' words")
    assert count == 2 and said.count("✓") == 2 and "not yet" not in said


@pytest.mark.parametrize("ignored", [False, True])
def test_a_command_that_waits_for_more_is_interrupted(
    hosts: str, monkeypatch: pytest.MonkeyPatch, ignored: bool
) -> None:
    """Also where a class is started in the background of a script, which ignores interrupts."""
    monkeypatch.setattr("lab.workshop.course._PATIENCE", 3.0)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if ignored else signal.getsignal(signal.SIGINT)
    try:
        count, said = _walk(hosts, 'echo "open', "cat", "", "")
    finally:
        signal.signal(signal.SIGINT, before)
    assert count == 2 and said.count("not yet") == 2


def test_a_shell_that_ends_is_followed_by_another(hosts: str) -> None:
    count, said = _walk(hosts, "exec true", "", "")
    assert count == 2 and "here is another shell" in said


@pytest.mark.parametrize("word", ["exit", "logout"])
def test_exit_ends_the_class_as_the_end_of_input_does(hosts: str, word: str) -> None:
    with pytest.raises(CourseLeft):
        _walk(hosts, word)


def test_it_ends_where_hangups_are_ignored_too(hosts: str) -> None:
    """As under `nohup`: shells on both hosts, of which the later one holds the terminal of the first open."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        count, _ = _walk(hosts, "", "", "", page=PAGE.replace("```\n", "macbook.local:~$ true\n```\n"))
    finally:
        signal.signal(signal.SIGHUP, before)
    assert count == 3

"""The command line that enters a machine: one word for the shell at its other end, whatever is in it."""

import os
import shlex

import pytest

from lab.backends.netns import entering

DOORWAY = ("ssh", "-S", "m", "h1", "--")


@pytest.fixture(params=[True, False])
def terminal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(os, "isatty", lambda _: request.param)
    return bool(request.param)


def test_words_arrive_as_they_were_typed(terminal: bool) -> None:
    words = ["sh", "-c", "echo \"$HOME\" 'a  b'; false"]
    line = entering._over_ssh(DOORWAY, words, "")
    assert line[:-1] == ["ssh", *(["-t"] if terminal else []), "-S", "m", "h1", "--"]
    assert shlex.split(line[-1]) == words


def test_a_container_is_entered_by_the_machines_engine(terminal: bool) -> None:
    line = entering._over_ssh(DOORWAY, ["env"], "svc1")
    tty = ["--tty"] if terminal else []
    assert shlex.split(line[-1]) == ["docker", "exec", "--interactive", *tty, "svc1", "env"]

"""What a class says, hints, and the place that it keeps."""

import string
from pathlib import Path

import msgspec
import pytest

from lab.workshop.bookmark import Bookmark, CoursePosition
from lab.workshop.judging import hint
from lab.workshop.session import LineOutcome
from lab.workshop.text import TypedCommand, parse
from lab.workshop.words import EN, LANGUAGES

PAGE = parse("## 1. A\n```console\nh:~$ true\n```\n")
OTHER = parse("## 1. A\n```console\nh:~$ false\n```\n")


def _fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_every_language_says_every_sentence_with_the_same_facts(language: str) -> None:
    english, other = msgspec.structs.asdict(EN), msgspec.structs.asdict(LANGUAGES[language])
    for name, text in english.items():
        assert other[name], name
        if isinstance(text, str):
            assert _fields(other[name]) == _fields(text), name
            assert language == "en" or other[name] != text or not any(map(str.isalpha, text)), name


@pytest.mark.parametrize(
    ("typed", "outcome", "helps"),
    [
        ("", None, "type `sudo weave run 10.0.1.1/24 x y`"),
        ("weave run 10.0.1.1 x y", LineOutcome(1, ""), "you typed `10.0.1.1` where the step has `10.0.1.1/24`"),
        ("weave run 10.0.1.1/24", LineOutcome(1, ""), "the step has `x y`"),
        ("weave run 10.0.1.1/24 x y z", LineOutcome(0, ""), "`z` is not in the step"),
        ("waeve run 10.0.1.1/24 x y", LineOutcome(127, ""), "no command `waeve`; did you mean `weave`?"),
        ("weave run 10.0.1.1/24 x y", LineOutcome(0, "no"), "should contain `yes`"),
        ('weave run "', LineOutcome(0, ""), "type `sudo weave run"),
    ],
)
def test_a_hint_names_what_differs(typed: str, outcome: LineOutcome | None, helps: str) -> None:
    line = "sudo weave run 10.0.1.1/24 x y"
    assert helps in hint(TypedCommand(host="h", line=line, expected=("yes",)), line, typed, outcome)


def test_a_place_is_kept_for_each_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "a b"))
    assert Bookmark(PAGE).get() is None
    Bookmark(PAGE).keep(CoursePosition(1, 0))
    Bookmark(OTHER).keep(CoursePosition(1, 3))
    assert Bookmark(PAGE).get() == CoursePosition(1, 0)
    assert Bookmark(OTHER).get() == CoursePosition(1, 3)
    Bookmark(PAGE).keep(None)
    assert Bookmark(PAGE).get() is None
    assert Bookmark(OTHER).get() == CoursePosition(1, 3)


def test_what_cannot_be_kept_or_read_is_no_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "overlay-lab").mkdir()
    (tmp_path / "overlay-lab/workshop.json").write_text('{"a": [1, 2]}')
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert Bookmark(PAGE).get() is None
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    bookmark = Bookmark(PAGE)
    bookmark.keep(CoursePosition(1, 0))
    assert bookmark.problem and bookmark.get() is None

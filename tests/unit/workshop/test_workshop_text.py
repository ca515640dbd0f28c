"""The walk-through's page as data: what is typed where, what is expected, and both languages type the same."""

import pytest

from lab.errors import LabError
from lab.workshop.hosts import page
from lab.workshop.judging import wrong
from lab.workshop.session import LineOutcome
from lab.workshop.text import TypedCommand, lacking, parse

PAGE = """\
# Title

## 0. First

Some prose.

```console
orion.local:~$ docker run x
hello …
world
macbook.local:~# `weave proxy-env`
```

```sh
not typed
```

```console fails
# exit 1
```

The end.
"""


def test_blocks_become_commands() -> None:
    (part,) = parse(PAGE)
    assert (part.number, part.title) == (0, "First")
    first, second, last = part.steps
    assert first.prose == "Some prose."
    assert first.commands == (
        TypedCommand(host="orion.local", line="docker run x", expected=("hello …", "world")),
        TypedCommand(host="macbook.local", line="`weave proxy-env`"),
    )
    assert second.commands == (TypedCommand(host="", line="exit 1", fails=True),)
    assert (last.prose, last.commands) == ("The end.", ())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("no parts\n", "nothing to type"),
        ("## 1. A\n```console\norion:~$ x\n", "never closed"),
        ("## 1. A\n```console\nloose output\n```\n", "line 3: output before any command"),
    ],
)
def test_a_page_that_cannot_be_typed_says_where(text: str, complaint: str) -> None:
    with pytest.raises(LabError, match=complaint):
        parse(text)


def test_expected_lines_stand_in_order_with_anything_for_an_ellipsis() -> None:
    output = "a\nHi! I'm [svc1] at [172.17.0.6]\nb  c\n"
    assert lacking(("a", "[svc1] at [172.17.0.…]", "b c"), output) == ""
    assert lacking(("b c", "a"), output) == "a"
    assert lacking(("[svc2]",), output) == "[svc2]"


def test_a_command_is_judged_by_status_and_output() -> None:
    good = TypedCommand(host="h", line="true", expected=("yes",))
    assert wrong(good, LineOutcome(0, "yes\n")) == ""
    assert "exit code 3" in wrong(good, LineOutcome(3, "yes\n"))
    assert "`yes` is not in" in wrong(good, LineOutcome(0, "no\n"))
    assert "should not" in wrong(TypedCommand(host="h", line="false", fails=True), LineOutcome(0, ""))
    assert "no shell opened" in wrong(TypedCommand(host="h", line="docker run -ti x"), LineOutcome(0, ""))


def test_both_languages_type_the_same() -> None:
    english, french = (parse(page(language).read_text(encoding="utf-8")) for language in ("en", "fr"))
    typed = [[(part.number, [step.commands for step in part.steps if step.commands]) for part in parts]
             for parts in (english, french)]  # fmt: skip
    assert typed[0] == typed[1]
    assert [part.number for part in english] == [0, 1, 2, 3, 4]

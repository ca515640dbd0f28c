"""What is typed in `lab watch --tui` means what it means behind `lab`."""

import json

import pytest

from lab.cli.watch import choices, meant
from lab.errors import LabError


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("kill a", {"kill": "a"}),
        ("partition a,b c --for 10s", {"partition": {"groups": [["a", "b"], ["c"]]}, "for": "10s"}),
        ("heal all", {"heal": "all"}),
        ("scale web 4", {"scale": {"service": "web", "to": 4}}),
    ],
)
def test_a_line_is_a_step(line, step):
    for typed in (line, f"$ lab {line} --name mine"):
        assert json.loads(json.dumps(meant("mine", typed))) == step, "as the lab is asked"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("down", "expected a verb"),
        ("", "expected a verb"),
        ("'", "expected words"),
        ("kill --nonsense", "--nonsense"),
        ("kill a --name other", "this view is of the lab mine"),
    ],
)
def test_what_is_none_is_refused_in_a_sentence(line, why):
    with pytest.raises(LabError, match=why):
        meant("mine", line)


def test_help_of_a_verb_is_a_sentence_not_an_end():
    with pytest.raises(LabError, match="partition"):
        meant("mine", "partition --help")


def test_what_may_come_next():
    assert "partition" in choices("par", [], [])
    found = choices("kill ", ["a", "b"], ["web"])
    assert {"a", "b", "web", "--for"} <= set(found)
    assert choices("down ", ["a"], []) == []

"""Regular expressions of scenarios: whatever they are, an output is judged in bounded time."""

import pytest

from lab import linear
from lab.sim.filters import FILTERS, FilterResult
from lab.verbs._match import MatchTimeout, found
from lab.workshop.text import lacking

MANY = "a" * 100_000 + "!"


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a)*$", "(a*)*b", "a*a*a*a*a*c", "(.*)(.*)(.*)(.*)(.*)x"])
def test_expressions_that_took_for_ever_are_linear(pattern: str) -> None:
    """42 letters and `^(a+)+$` outlived the step's timeout."""
    assert not found(pattern, MANY, lines=True, patience=1e-9)


@pytest.mark.parametrize("pattern", [r"^(?=a)(a+)+$", r"^(a+)+\1$"])
def test_what_only_python_can_match_ends_with_the_steps_time(pattern: str) -> None:
    with pytest.raises(MatchTimeout, match=r"takes longer than 0\.5 s on 10000"):
        found(pattern, MANY[-10_000:], lines=True, patience=0.5)


@pytest.mark.parametrize(
    ("pattern", "text", "lines", "expected"),
    [
        ("^b$", "a\nb\nc", True, True),
        ("^b$", "a\nb\nc", False, False),
        ("^(?!.*expose)", "nothing", True, True),
        ("^(?!.*expose)", "expose", True, False),
        (r"(\w)\1", "hello", False, True),
        (r"(\w)\1", "world", False, False),
        ("(?i)peers", "Peers: 2", True, True),
        (r"\[172\.17\.0\.[0-9]+\]$", "is [172.17.0.3]\n", True, True),
        ("é…", "é…", False, True),
    ],
)
def test_expressions_mean_what_they_did(pattern: str, text: str, lines: bool, expected: bool) -> None:
    assert found(pattern, text, lines=lines, patience=20) is expected


def test_a_simulated_grep_is_linear_and_says_what_it_cannot_do() -> None:
    def grep(words: list[str], stdin: str, files: dict[str, str]) -> FilterResult:
        return FILTERS["grep"](["grep", *words], stdin, files)

    assert grep(["-E", "^(a+)+$"], MANY + "\n", {}).code == 1
    assert grep(["-o", "[[:digit:]]*"], "a12b3\n", {}).out == "12\n3\n"
    assert grep(["-i", "B\\|c"], "a\nb\nC\n", {}).out == "b\nC\n"
    assert grep(["-vw", "a"], "a\nab\n", {}).out == "ab\n"
    assert grep(["-F", "a.b(é"], "a.b(é\naxb\n", {}).out == "a.b(é\n"
    assert grep(["-f", "/dev/null"], "a\n", {}).code == 1


def test_what_a_class_expects_is_found_in_linear_time() -> None:
    assert lacking(["a … b … c … d"], "a b " * 20_000)
    assert lacking(["Hi!  I'm [svc1] … 10.0"], "xx Hi! I'm  [svc1] at 10.0") == ""
    assert lacking(["one", "two"], "two\none") == "two"


def test_a_pattern_that_is_none() -> None:
    with pytest.raises(linear.BadPattern, match="missing"):
        linear.compile("(")

"""One file is one verb: nothing outside of `lab/verbs/` decides by a verb's name, and the reference is made of them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.kinds.reference import TABLES, renewed
from lab.kinds.verbs import NO_VERB, VERBS, verb_of, verbs
from lab.scenario.load import parse
from lab.verbs import ORDER

ROOT = Path(__file__).parents[3]
ALLOWED = {
    "lab/overlays/weave.py": "an overlay lists the steps that it can do",
    "lab/verbs/__init__.py": "the order in which they are listed",
}
BUSY = {"verb", "what"}
"""Attributes and names that hold a verb's name."""


def test_the_tables_of_kinds_are_current() -> None:
    page = (ROOT / "docs/scenarios.md").read_text(encoding="utf-8")
    assert renewed(page) == page, "make schema"
    for words in (
        "let time pass",
        "by its own `weave` command",
        "an echo request",
        "curl in the service's",
        "in virtual",
    ):
        assert words in page and renewed(page.replace(words, "?", 1)) == page, words
    assert TABLES["steps"]().count("\n") == 2 + len([name for name in VERBS.names() if not VERBS.package_of(name)])


def test_every_file_is_a_verb_that_says_what_it_is() -> None:
    files = {path.stem for path in (ROOT / "lab/verbs").glob("[!_]*.py")}
    own = [name for name in VERBS.names() if not VERBS.package_of(name)]
    assert files == set(own) and tuple(own[: len(ORDER)]) == ORDER
    for verb in verbs().values():
        assert verb.form.startswith(f"`{verb.name}") and verb.about and verb.model is not None
        assert type(verb).plan is not NO_VERB.plan.__func__  # type: ignore[attr-defined]
        assert not verb.odds or type(verb).draw is not type(NO_VERB).draw
    assert verb_of("down") is NO_VERB and verb_of("kill") is verbs()["kill"]


def decisions(tree: ast.AST, names: frozenset[str]) -> Iterator[int]:
    """Lines that compare with a verb's name, or list several and nothing else."""

    def texts(node: ast.expr) -> list[str]:
        items = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
        return [item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)]

    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            held = {getattr(side, "attr", getattr(side, "id", "")) for side in sides}
            if held & BUSY and any(text in names for side in sides for text in texts(side)):
                yield node.lineno
        elif isinstance(node, ast.Match):
            subject = getattr(node.subject, "attr", getattr(node.subject, "id", ""))
            patterns = [inner for case in node.cases for inner in ast.walk(case.pattern)]
            found = [inner.value for inner in patterns if isinstance(inner, ast.MatchValue)]
            if subject in BUSY and any(text in names for value in found for text in texts(value)):
                yield node.lineno
        elif isinstance(node, ast.Dict | ast.Tuple | ast.List | ast.Set):
            items = [key for key in node.keys if key is not None] if isinstance(node, ast.Dict) else node.elts
            known = {text for item in items for text in texts(item)}
            if len(known) > 1 and known <= names:
                yield node.lineno


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ('if step.verb == "kill": pass', True),
        ('x = event.what in ("kill", "heal")', True),
        ('match step.verb:\n    case "kill" | "heal":\n        pass', True),
        ('MOVERS = ("run", "remove")', True),
        ('HEALERS = {"kill": 1, "heal": 2}', True),
        ('if step.kind.lasts or name == "kill": pass', False),
        ('words = ("kill", "-9")', False),
    ],
)
def test_a_decision_by_a_verbs_name_is_seen(code: str, told: bool) -> None:
    assert bool(list(decisions(ast.parse(code), frozenset(ORDER)))) is told


def test_nothing_else_decides_by_a_verbs_name() -> None:
    found = []
    for path in sorted((ROOT / "lab").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name not in ALLOWED:
            found += [f"{name}:{line}" for line in decisions(ast.parse(path.read_text("utf-8")), frozenset(ORDER))]
    assert found == []


def test_a_step_has_its_verb_and_what_is_said_to_it() -> None:
    text = "version: 1\nunderlay: {hosts: {a: {}, b: {}}}\ntimeline: [{kill: a, for: 2s}, {wait: 1s}]\n"
    kill, wait = parse(text).timeline
    assert (kill.verb, kill.kind, kill.body.daemon, kill.duration) == ("kill", verbs()["kill"], "a", 2_000_000_000)
    assert (wait.verb, wait.body, wait.duration) == ("wait", 1_000_000_000, None)

"""Text files are UTF-8 whatever the locale: every text that is read or written says so.

Ruff's PLW1514 sees only paths whose type it knows, a third of these.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = [path for folder in ("lab", "overlay") for path in sorted((ROOT / folder).rglob("*.py"))]


def unsaid(source: str) -> Iterator[ast.Call]:
    """Calls that read or write text in the encoding of the locale."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        method = isinstance(node.func, ast.Attribute)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        named = {keyword.arg: keyword.value for keyword in node.keywords}
        if "encoding" in named or None in named:
            continue
        if method and name in ("read_text", "write_text"):
            of_click = isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "formatter"
            if len(node.args) == (name == "write_text") and not of_click:
                yield node
        elif name == "fdopen" or name == "open":
            own = method and name == "open"  # `path.open(mode)`, and things that are no paths
            mode = named.get("mode") or next(iter(node.args[not own :]), None)
            text = mode.value if isinstance(mode, ast.Constant) else "r" if mode is None and not own else ""
            if text in ("r", "w", "a", "x", "rt", "wt", "r+", "w+", "a+"):
                yield node


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("open(name)", True),
        ("open(name, 'w')", True),
        ("open(name, 'rb')", False),
        ("open(name, encoding='utf-8')", False),
        ("os.fdopen(fd, 'w')", True),
        ("path.open('w')", True),
        ("path.open('ab')", False),
        ("door.open(key)", False),
        ("path.read_text()", True),
        ("path.write_text(text)", True),
        ("path.write_text(text, 'utf-8')", False),
        ("formatter.write_text(text)", False),
    ],
)
def test_what_is_found(line: str, found: bool) -> None:
    assert bool(list(unsaid(line))) == found


def test_every_text_file_is_utf_8() -> None:
    assert SOURCES
    found = [
        f"{path.relative_to(ROOT)}:{call.lineno}: {ast.unparse(call)}"
        for path in SOURCES
        for call in unsaid(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(["without encoding=:", *found])

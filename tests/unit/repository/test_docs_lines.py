"""Pages are read in terminals and in diffs: no line of prose is wider than 100 columns."""

import doctest
import importlib.util
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


def lines() -> Any:
    spec = importlib.util.spec_from_file_location("docs_lines", ROOT / "tests" / "docs_lines.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", lines().pages(), ids=lambda page: page.name)
def test_no_line_of_prose_is_wider_than_100_columns(page: Path) -> None:
    found = lines().too_long(page.read_text(encoding="utf-8"))
    assert not found, f"{page.name}: {len(found)} lines; `make docs-lines` wraps them. The first: {found[0]}"


def test_wrapping_changes_no_words_and_nothing_the_second_time() -> None:
    assert doctest.testmod(lines()).failed == 0
    for page in lines().pages():
        text = page.read_text(encoding="utf-8")
        wrapped = lines().wrapped(text)
        assert wrapped.split() == text.split() and lines().wrapped(wrapped) == wrapped
    table = "| " + "wide " * 40 + "|\n\n    code " + "wide " * 40 + "\n"
    assert lines().wrapped(table) == table

"""The examples of docs/extending.md are those of the package that tests install."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "tests/support/foreign_kinds"


def test_each_example_stands_in_the_package() -> None:
    page = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    files = [
        path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*") if path.suffix in (".py", ".toml", ".yaml")
    ]
    examples = re.findall(r"^```(?:python|toml|yaml)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(examples) > 4
    for example in examples:
        assert any(example in text for text in files), example


def test_the_page_names_every_sort_of_kind() -> None:
    page = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    for path in (ROOT / "lab/kinds").glob("*.py"):
        found = re.search(r'Registry\("(\w+)", (\w+), "([\w.]+)"', path.read_text(encoding="utf-8"))
        if found is not None:
            folder = found[3].replace(".", "/")
            row = f"| {found[1]} | `overlay_lab.{found[1]}s` | `lab.kinds.{path.stem}.{found[2]}` | `{folder}/` |"
            assert row in page, row

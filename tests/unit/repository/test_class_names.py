"""A class's name stands once in the two packages, so that a name in a log, a traceback or a talk means one thing."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[3]

SHARED = {
    "Connect": "the verb of the timeline, and the input that it becomes",
    "Forget": "the verb of the timeline, and the input that it becomes",
    "SetPolicy": "the verb of the timeline, and the effect that it has on a packet filter",
}
"""Names that may stand twice, each with its reason."""


def places() -> dict[str, list[str]]:
    """Class -> files that define one of that name outside of functions and other classes."""
    found: dict[str, list[str]] = defaultdict(list)
    for package in ("lab", "overlay"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef):
                    found[node.name].append(path.relative_to(ROOT).as_posix())
    return found


def test_no_two_classes_have_one_name_without_need() -> None:
    twice = {name: files for name, files in places().items() if len(files) > 1}
    unsaid = {name: files for name, files in twice.items() if name not in SHARED}
    assert not unsaid, "rename one of each, or say in `SHARED` why both need the name"
    assert SHARED.keys() == twice.keys(), "`SHARED` excuses names that stand once: take them out"

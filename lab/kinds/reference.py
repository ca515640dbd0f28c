"""The parts of the documentation that are generated from kinds: `python -m lab.kinds.reference PAGE …` updates them.

Owns the tables' form and the marks around them in a page. Kinds of other packages are not included. `make schema` runs
it.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from lab.kinds.abilities import ABILITIES
from lab.kinds.backends import BACKENDS
from lab.kinds.checkers import CHECKERS
from lab.kinds.overlays import OVERLAYS
from lab.kinds.probes import PROBES
from lab.kinds.verbs import VERBS
from lab.registry import Registry

__all__ = ["TABLES", "renewed"]


def _own(registry: Registry[Any]) -> Iterable[Any]:
    return (kind for kind in registry if not registry.package_of(kind.name))


def _table(head: str, rows: Iterable[tuple[str, str]]) -> str:
    return "".join((f"| {head} |\n", "|---|---|\n", *(f"| {form} | {about} |\n" for form, about in rows)))


def _named(registry: Registry[Any]) -> Iterable[tuple[str, str]]:
    return ((f"`{kind.name}`", kind.about) for kind in _own(registry))


def _abilities() -> str:
    kinds = list(_own(BACKENDS))
    heads = "".join(f" `{kind.name}` |" for kind in kinds)
    lines = [f"| feature of a scenario |{heads}\n", f"|---|{'---|' * len(kinds)}\n"]
    for ability, title in ABILITIES.items():
        cells = (_refused(kind, ability) if ability in kind.lacks else kind.can[ability] for kind in kinds)
        lines.append(f"| {title} |{''.join(f' {cell} |' for cell in cells)}\n")
    return "".join(lines)


def _refused(kind: Any, ability: str) -> str:
    return f"refused: {kind.lacks[ability].format(kind.name).partition(';')[0]}"


def _formed(registry: Registry[Any]) -> Iterable[tuple[str, str]]:
    return ((kind.form, kind.about) for kind in _own(registry))


TABLES: Mapping[str, Callable[[], str]] = {
    "steps": lambda: _table("step | what", _formed(VERBS)),
    "overlays": lambda: _table("kind | what", _named(OVERLAYS)),
    "probes": lambda: _table("kind | what is sent, and when a try is good", _named(PROBES)),
    "conditions": lambda: _table("condition | holds when", _formed(CHECKERS)),
    "backends": lambda: _table("backend | what its hosts are", _named(BACKENDS)),
    "abilities": _abilities,
}
"""Each table by the name in its marks."""


def renewed(page: str) -> str:
    """A page with the tables between its marks updated."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name}: made by `make schema` -->\n", f"<!-- end of {name} -->\n"
        before, begins, rest = page.partition(begin)
        _, ends, after = rest.partition(end)
        assert begins and ends, f"the page has no marks for the table of {name}"
        page = f"{before}{begin}{table()}{end}{after}"
    return page


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")

"""The parts of the documentation that are made from kinds: `python -m lab.kinds.reference PAGE …` writes them again.

Owns the tables' form and the marks between which a page has them. `make schema` runs it.
"""

import sys
from pathlib import Path

from lab.kinds.verbs import VERBS, verbs

__all__ = ["renewed", "steps"]

_BEGIN, _END = "<!-- steps: made by `make schema` -->\n", "<!-- end of steps -->\n"


def steps() -> str:
    """The table of the lab's own verbs, as Markdown."""
    rows = [f"| {verb.form} | {verb.about} |\n" for verb in verbs().values() if not VERBS.package_of(verb.name)]
    return "".join(("| step | what |\n", "|---|---|\n", *rows))


def renewed(page: str) -> str:
    """A page with the table as it is now between its marks."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    assert begin and end, "the page has no marks for the table of steps"
    return f"{before}{begin}{steps()}{end}{after}"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")

"""A claim of a paper next to what was measured, and the page of all of them. Measures nothing itself."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Claim", "Experiment", "write_report"]


class Claim(NamedTuple):
    """One number. `paper` None: the paper's figure cannot be read exactly, so nothing is compared."""

    what: str
    paper: float | None
    measured: float
    tolerance: float = 0.10
    """Relative to `paper`; where that is 0, absolute."""
    source: str = ""
    """Where `paper` comes from."""

    @property
    def holds(self) -> bool | None:
        """Whether the two agree; None: there is nothing to compare with."""
        if self.paper is None:
            return None
        return abs(self.measured - self.paper) <= self.tolerance * (abs(self.paper) or 1.0)


class Experiment(NamedTuple):
    """What one paper's experiment came to."""

    name: str
    title: str
    text: str
    """What was done, and what is taken from the paper (Markdown)."""
    claims: Sequence[Claim]
    tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[Any]]]]
    """(caption, header, rows)."""


def write_report(experiments: Sequence[Experiment], folder: Path) -> Path:
    """Write `published.md` and one JSON file for each experiment; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["# Published results, made again", ""]
    lines += ["Written by `make published`; the same code and seeds give the same numbers.", ""]
    for one in experiments:
        lines += [f"## {one.title}", "", one.text.strip(), ""]
        rows = [
            (
                claim.what,
                "-" if claim.paper is None else f"{claim.paper:.3g}",
                f"{claim.measured:.3g}",
                {True: "yes", False: "NO", None: "not comparable"}[claim.holds],
                claim.source,
            )
            for claim in one.claims
        ]
        lines += _table(("claim", "paper", "measured", f"within {one.claims[0].tolerance:.0%}", "where from"), rows)
        for caption, header, body in one.tables:
            lines += [caption, "", *_table(header, body)]
        content = {
            "name": one.name,
            "claims": [claim._asdict() | {"holds": claim.holds} for claim in one.claims],
            "tables": [{"caption": c, "header": list(h), "rows": [list(row) for row in b]} for c, h, b in one.tables],
        }
        (folder / f"{one.name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    page = folder / "published.md"
    page.write_text("\n".join(lines), encoding="utf-8")
    return page


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    head = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return [*head, *("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows), ""]


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "-" if value is None else str(value)

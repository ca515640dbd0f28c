"""`docs/performance.md`, written from `reports/bench/*.json`: a section for each benchmark, a table for each metric.

A section's text is the docstring of its benchmark. Owns the page's form; knows nothing of what is measured. The page
says when, at which commit and on which machine each file was made, because they differ.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from msgspec import Struct, ValidationError
from msgspec.json import decode

from benchmarks.rows import REPORTS, Made, Row
from lab.errors import LabError

PAGE = Path("docs/performance.md")
HEAD = """# Performance

This page is written by `python -m benchmarks page` from the files of `reports/bench/`; the benchmarks themselves write
it again when they end. Figures are medians over the runs, with the least and the most in brackets. Candidates of one
comparison run in turn within one run, so a ratio holds although the speed of a machine drifts; figures of different
sections may come from different days. "Wanted" is the project's own goal.
"""


class Section(Struct, frozen=True):
    """One benchmark: its name, what its docstring says, how it was made, its rows."""

    name: str
    title: str
    text: str
    made: Made | None
    rows: Sequence[Row]


def sections(names: Sequence[str], folder: Path = REPORTS) -> list[Section]:
    """Those benchmarks that have a file, in this order. Raises `LabError` for a file that is no list of rows."""
    found = []
    for name in names:
        path = folder / f"{name}.json"
        if not path.exists():
            continue
        try:
            rows = decode(path.read_bytes(), type=list[Row])
            made_path = folder / "made" / f"{name}.json"
            made = decode(made_path.read_bytes(), type=Made) if made_path.exists() else None
        except ValidationError as error:
            raise LabError(
                f"{path}: found no rows of a benchmark ({error}); make it again: python -m benchmarks {name}"
            ) from None
        title, _, text = (importlib.import_module(f"benchmarks.{name}").__doc__ or name).partition("\n\n")
        found.append(Section(name, " ".join(title.split()), text.strip(), made, rows))
    return found


def written(found: Sequence[Section], missing: Sequence[str]) -> str:
    """The whole page, as Markdown."""
    parts = [_paragraphs(HEAD) + "\n"]
    for section in found:
        parts.append(f"## {_heading(section.title)}\n\n{_paragraphs(section.text)}\n")
        parts += [_table(section.rows, metric) for metric in dict.fromkeys(row.metric for row in section.rows)]
        made = f", {section.made}" if section.made else ""
        parts.append(_paragraphs(f"`python -m benchmarks {section.name}`{made}.") + "\n")
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        parts.append(_paragraphs(f"## Not measured here\n\nNo file in `reports/bench/`: {names}.") + "\n")
    return "\n".join(parts)


def write(names: Sequence[str]) -> Path:
    """The page of all benchmarks of these names; returns its path."""
    found = sections(names)
    PAGE.write_text(
        written(found, [name for name in names if name not in {each.name for each in found}]), encoding="utf-8"
    )
    return PAGE


def _paragraphs(text: str) -> str:
    """With lines of at most 100 columns, as on all pages."""
    return "\n\n".join(
        fill(" ".join(each.split()), 100, break_long_words=False, break_on_hyphens=False)
        for each in text.strip().split("\n\n")
    )


def _heading(title: str) -> str:
    return title.partition(":")[0].rstrip(".")


def _table(rows: Sequence[Row], metric: str) -> str:
    """One metric: a line for each candidate. Columns that would be empty are left out."""
    rows = [row for row in rows if row.metric == metric]
    lines = [
        [
            " ".join(filter(None, (row.name, f"({row.version})" if row.version else ""))),
            f"{_number(row.median)} ({_number(row.min)} to {_number(row.max)})"
            if row.runs > 1
            else _number(row.median),
            str(row.runs),
            f"{row.ratio:.3f} of {row.ratio_to}" if row.ratio is not None else "",
            row.goal,
        ]
        for row in rows
    ]
    unit = f", {rows[0].unit}" if rows[0].unit else ""
    heads = ["candidate", f"{metric}{unit}", "runs", "ratio", "wanted"]
    kept = [column for column in range(len(heads)) if any(line[column] for line in lines)]
    table = [heads, ["---"] * len(heads), *lines]
    return (
        "\n".join("| " + " | ".join(line[column].replace("|", "\\|") for column in kept) + " |" for line in table)
        + "\n"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"

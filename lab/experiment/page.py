"""The result page of an experiment: one self-contained HTML file next to its table, in the style of a run's report.

Owns the layout of the page, and the order in which the files of a folder are written.
"""

from base64 import b64encode
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import lab.report
from lab.experiment import paper
from lab.experiment.figures import drawn, unit_of_outcome, words_of
from lab.experiment.results import Cell, Results
from lab.plots.style import DrawnFigure
from lab.records.store import INDEX, replace_file
from lab.sweep.groups import short
from lab.sweep.table import write_tables
from lab.words import count
from overlay.clean import LINES, clean_tree

__all__ = ["verdict_of", "write"]

_MOST_BAD = 20


def write(folder: Path, results: Results) -> tuple[Path, Path]:
    """Write table, page and `paper/`; returns the paths of the page and of `paper/`."""
    write_tables(folder, results.outcome.points)
    figures = drawn(results)
    place = paper.write(folder, results, figures)
    page = folder / INDEX
    replace_file(page, render(results, figures).encode())
    return page, place


def verdict_of(results: Results) -> str:
    """`invalid` if a hypothesis is refuted; `unknown` if one is undecided, an interval too wide or a run missing;
    otherwise `valid`."""
    outcome = results.outcome
    judgements = {one.judgement for one in results.judged}
    if "refuted" in judgements:
        return "invalid"
    open_ = "undecided" in judgements or not outcome.precise or outcome.interrupted or outcome.failed
    return "unknown" if open_ else "valid"


def verdict_words(results: Results) -> str:
    """The verdict as a sentence."""
    outcome, parts = results.outcome, []
    for judgement in ("supported", "refuted", "undecided"):
        mine = [one.hypothesis.id for one in results.judged if one.judgement == judgement]
        parts += [f"{', '.join(mine)} {judgement}"] if mine else []
    told = f"{'; '.join(parts)}. " if parts else ""
    wide = len(outcome.design.rows) - sum(one.narrow for one in outcome.widths)
    precision = outcome.file.experiment.asked.words
    if wide:
        return (
            f"{told}In {wide} of {count(len(outcome.design.rows), 'setting')} the interval is wider than {precision}."
        )
    return f"{told}Every interval is at most {precision} wide, with {count(outcome.seeds, 'seed')}."


def render(results: Results, figures: list[DrawnFigure]) -> str:
    """Render the page."""
    environment = Environment(
        loader=FileSystemLoader([Path(__file__).parent, *map(Path, lab.report.__path__)]),
        autoescape=True,
        finalize=partial(clean_tree, keep=LINES),  # texts of scenarios, containers and peers
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    outcome, experiment = results.outcome, results.outcome.file.experiment
    bad = [point for point in outcome.points if point.verdict != "valid"]
    paths = list(dict.fromkeys(path for cell in results.cells for path, _ in cell.assignment))
    return environment.get_template("experiment.html.j2").render(
        name=experiment.name,
        question=outcome.file.question,
        verdict=verdict_of(results),
        verdict_text=verdict_words(results),
        backend=experiment.backend,
        runs=len(outcome.points),
        seeds=outcome.seeds,
        precision=experiment.asked.words,
        settings=len(outcome.design.rows),
        primary=words_of(experiment.primary),
        other_code=outcome.other_code,
        amended=outcome.registered.amended,
        versions=[
            {"when": version.when, "runs": version.runs, "digest": version.digest, "hypotheses": version.hypotheses}
            for version in outcome.registered.versions
        ],
        plan=outcome.registered.plan,
        hypotheses=[
            {"id": one.hypothesis.id, "claim": one.hypothesis.claim, "judgement": one.judgement, "why": one.why,
             "p": "" if one.p is None else "< 0.001" if one.p < 0.001 else f"{one.p:.3f}"}
            for one in results.judged
        ],
        figures=[
            {"name": figure.name, "title": figure.title, "caption": figure.caption,
             "data": b64encode(figure.pictures["png"]).decode()}
            for figure in figures
        ],
        parameters=[(path, short(path)) for path in paths],
        rows=[_row(cell) for cell in results.cells],
        sentences=paper.sentences(results),
        bad=[{"seed": point.seed, "verdict": point.verdict, "reason": point.reason, "replay": point.replay}
             for point in bad[:_MOST_BAD]],
        more_bad=len(bad) - _MOST_BAD,
    )  # fmt: skip


def _row(cell: Cell) -> dict[str, Any]:
    unit = unit_of_outcome(cell.outcome)

    def said(value: float) -> str:
        return f"{value:,.4g} {unit}" if np.isfinite(value) else ""

    low, high = said(cell.estimate.low), said(cell.estimate.high)
    return {
        "outcome": words_of(cell.outcome),
        "values": dict(cell.assignment),
        "runs": cell.runs,
        "median": said(cell.estimate.value) or "not reached",
        "interval": f"{low} to {high or 'more'}" if low else "",
        "open": cell.censored,
    }

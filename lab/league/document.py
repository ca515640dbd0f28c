"""`docs/league.md`: the table of a league in Markdown, with how it was made. Pure.

Links of a repository cannot lead to runs, which are not in it: each question names the command that plays it again,
and the page next to the runs has the links.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from textwrap import fill

from lab.league.again import CellAgreement
from lab.league.columns import measures_of
from lab.league.plan import LeagueRun
from lab.league.results import LeagueCell, LeagueRow
from lab.runner.load import machine as this_machine
from lab.trials.playing import DEFAULT_BACKEND
from lab.trials.trial import OverlayFacts
from lab.words import count
from overlay.clean import clean

__all__ = ["document", "league_name"]

_HEAD = """# League of overlays

Written by `lab league --document` (`make LEAGUE`). Do not edit.

Every overlay gets the same questions on the same hosts, of the backend `BACKEND`. Containers ask
each other all the time, and what is shown is what they saw. Nothing is read from an overlay itself.
[overlays.md](overlays.md#the-league) says how a league is played, and how to enter your own
overlay.

Each cell has the median of all repeats and its 95 % interval in brackets (bootstrap). One repeat
has no interval. A number in bold after it is the rank: one more than the number of overlays whose
whole interval is better. Without it intervals overlap, and no order is known. `n/a`: the overlay
does not promise this. `failed`: in no run did containers reach each other in time.
"""


def league_name(backend: str) -> str:
    """Of a backend's league: of its folder, its page in `docs/`, and the target of `make`."""
    return "league" if backend == DEFAULT_BACKEND else f"league-{backend}"


def document(
    rows: Sequence[LeagueRow],
    runs: Sequence[LeagueRun],
    facts: Mapping[str, OverlayFacts],
    broken: Mapping[str, str],
    code: str,
    compared: Sequence[CellAgreement] = (),
    backend: str = DEFAULT_BACKEND,
) -> str:
    """The text of the file."""
    said = sum(not run.failed for run in runs)
    lines = [
        _HEAD.replace("BACKEND", backend).replace("LEAGUE", league_name(backend)),
        _made(said, code),
        "## Entries",
        "",
        *_entries(facts, broken),
        "",
        "## Measures",
        "",
    ]
    for measure in measures_of([row.question for row in rows]):
        lines.append(fill(f"- **{measure.title}** ({measure.unit}): {measure.about}.", 100, subsequent_indent="  "))
    lines += ["", "## Overview", "", *_overview(rows), *_again(compared)]
    questions: dict[str, list[LeagueRow]] = {}
    for row in rows:
        questions.setdefault(row.question.name, []).append(row)
    for mine in questions.values():
        lines += ["", *_question(mine, backend)]
    return "\n".join(lines).rstrip() + "\n"


def _made(runs: int, code: str) -> str:
    machine = this_machine()
    return (
        f"{count(runs, 'run')}, written {datetime.now(UTC):%Y-%m-%d}, code `{code}`, on {machine['cores']} cores, "
        f"kernel {machine['kernel']}.\n"
    )


def _entries(facts: Mapping[str, OverlayFacts], broken: Mapping[str, str]) -> list[str]:
    lines = ["| entry | version | carries | addresses |", "|---|---|---|---|"]
    for label, fact in facts.items():
        lines.append(f"| {_text(label)} | {_text(fact.version) or '–'} | {fact.carries} | {fact.addresses} |")
    lines += [f"| {_text(label)} | failed: {_text(why)} | – | – |" for label, why in broken.items()]
    leaves = {label: fact.leaves for label, fact in facts.items() if fact.leaves}
    if leaves:
        lines += ["", *(fill(f"- {_text(label)}: {_text(why)}", 100) for label, why in leaves.items())]
    return lines


def _overview(rows: Sequence[LeagueRow]) -> list[str]:
    entries = [_text(cell.entry) for cell in rows[0].cells] if rows else []
    lines = [f"| question | measure | {' | '.join(entries)} |", "|---|---|" + "---:|" * len(entries)]
    for row in rows:
        cells = [_ranked(cell.value, cell) for cell in row.cells]
        name = f"[{row.question.name}](#{row.question.name})"
        lines.append(f"| {name} | {row.measure.title} ({row.measure.unit}) | {' | '.join(cells)} |")
    return lines


def _again(compared: Sequence[CellAgreement]) -> list[str]:
    if not compared:
        return []
    apart = [one for one in compared if not one.agree]
    said = (
        f"{count(len(compared), 'cell')}, chosen at random, were played again in a second league with other seeds. "
        f"{len(compared) - len(apart)} agree: of neither the whole interval is better."
    )
    lines = ["", "## Played again", "", fill(said, 100)]
    if apart:
        lines += ["", "| question | measure | entry | first | second |", "|---|---|---|---:|---:|"]
    for one in apart:
        measure = f"{one.row.measure.title} ({one.row.measure.unit})"
        cells = [one.row.question.name, measure, _text(one.first.entry), one.first.words, one.second.words]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _question(rows: Sequence[LeagueRow], backend: str) -> list[str]:
    question = rows[0].question
    heads = [f"{row.measure.title} ({row.measure.unit})" for row in rows]
    lines = [
        f"## {question.name}",
        "",
        fill(question.asks, 100),
        "",
        f"| entry | {' | '.join(heads)} |",
        "|---|" + "---:|" * len(rows),
    ]
    reasons: dict[str, None] = {}
    for index, first in enumerate(rows[0].cells):
        cells = [row.cells[index] for row in rows]
        lines.append(f"| {_text(first.entry)} | {' | '.join(map(_cell, cells))} |")
        for cell in cells:
            if cell.reason:
                reasons[fill(f"- {_text(cell.entry)}: {_text(cell.reason)}", 100, subsequent_indent="  ")] = None
    where = "" if backend == DEFAULT_BACKEND else f"--backend {backend} "
    lines += ["", *reasons, *([""] if reasons else []), f"Again: `lab league {where}--questions {question.name}`"]
    return lines


def _cell(cell: LeagueCell) -> str:
    return _ranked(cell.words, cell)


def _ranked(words: str, cell: LeagueCell) -> str:
    return words + (f" **{cell.rank}**" if cell.rank is not None else "")


def _text(text: str) -> str:
    """A text of a run as Markdown shows it: nothing in it is markup."""
    bare = clean(text, most=200)
    for char in "\\`*_[]<>|":
        bare = bare.replace(char, f"\\{char}")
    return bare

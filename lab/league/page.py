"""The page of a league, and a page for each entry and question with links to their runs.

Owns what is on them. Everything that an overlay, an option or a run says goes through `foreign`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from lab.league.columns import MEASURES, measures_of
from lab.league.papers import CELLS, RUNS_CSV, RUNS_PARQUET, TEX
from lab.league.plan import LeagueRun
from lab.league.play import slug
from lab.league.results import LeagueCell, LeagueRow, by_pair, reading_words
from lab.records.store import HISTORY, INDEX, replace_file
from lab.report.document import document, foreign
from lab.trials.trial import OverlayFacts
from lab.words import count

__all__ = ["PAIRS", "write_pages"]

PAIRS = "pairs"
_OWN = """
body { --tone: var(--accent); }
main { max-width: 1400px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
td a { text-decoration: none; }
td b { margin-left: .4rem; padding: 0 .45rem; border-radius: 99px; border: 1px solid var(--line); font-size: .8rem; }
td.first b { background: var(--good); color: var(--paper); border-color: var(--good); }
td.failed a { color: var(--bad); } td.na, td.na a, td.missing { color: var(--muted); }
td.left, th.left { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
"""
_INTRO = (
    "Each cell: the median of all repeats, and its 95 % interval; it leads to its runs. A number in a circle is the "
    "rank: one more than the number of overlays whose whole interval is better. Where there is none, intervals overlap."
)


def write_pages(
    folder: Path,
    rows: Sequence[LeagueRow],
    runs: Sequence[LeagueRun],
    facts: Mapping[str, OverlayFacts],
    broken: Mapping[str, str],
) -> Path:
    """Write them; the path of the first. Raises `OSError`."""
    (folder / PAIRS).mkdir(parents=True, exist_ok=True)
    played = by_pair(runs)
    for (entry, question), mine in played.items():
        replace_file(folder / _pair_file(entry, question), _pair_page(entry, question, mine).encode())
    page = folder / INDEX
    parquet = (folder / RUNS_PARQUET).is_file()
    replace_file(page, _league_page(rows, played, facts, broken, parquet=parquet).encode())
    return page


def _pair_file(entry: str, question: str) -> str:
    return f"{PAIRS}/{slug(entry)}--{question}.html"


def _league_page(
    rows: Sequence[LeagueRow],
    played: Mapping[tuple[str, str], Sequence[LeagueRun]],
    facts: Mapping[str, OverlayFacts],
    broken: Mapping[str, str],
    *,
    parquet: bool,
) -> str:
    said = sum(not run.failed for runs in played.values() for run in runs)
    questions: dict[str, list[LeagueRow]] = {}
    for row in rows:
        questions.setdefault(row.question.name, []).append(row)
    sections = "".join(_section(mine, played) for mine in questions.values())
    entries = "".join(
        f"  <tr><td>{foreign(label)}</td><td>{foreign(fact.version)}</td><td>{fact.carries}</td>"
        f'<td>{fact.addresses}</td><td class="left failed">{foreign(fact.leaves)}</td></tr>\n'
        for label, fact in facts.items()
    )
    entries += "".join(
        f'  <tr><td>{foreign(label)}</td><td class="left failed" colspan="4">failed: {foreign(why)}</td></tr>\n'
        for label, why in broken.items()
    )
    measures = "".join(
        f"  <li><strong>{one.title}</strong> ({one.unit}): {foreign(one.about)}.</li>\n"
        for one in measures_of([row.question for row in rows])
    )
    files = [RUNS_CSV, *([RUNS_PARQUET] if parquet else []), CELLS, TEX]
    links = ", ".join(f'<a href="{name}">{name}</a>' for name in files)
    numbers = [
        count(len(facts) + len(broken), "entry", "entries"),
        count(len(questions), "question"),
        count(said, "run"),
    ]
    body = f"""<header>
  <p class="kicker">overlay-lab</p>
  <h1>League of overlays</h1>
  <p class="verdict">{", ".join(numbers)}.</p>
</header>
<p>{_INTRO}</p>
<section><h2>Entries</h2><div class="scroll"><table>
  <tr><th>entry</th><th>version</th><th>carries</th><th>addresses</th><th></th></tr>
{entries}</table></div></section>
{_overview(rows, played)}{sections}<section><h2>Measures</h2><ul>
{measures}</ul></section>
<section><h2>Data</h2><p>{links}</p></section>
"""
    return _html("League of overlays", body)


def _overview(rows: Sequence[LeagueRow], played: Mapping[tuple[str, str], Sequence[LeagueRun]]) -> str:
    """Everything in one table, medians alone."""
    heads = "".join(f"<th>{foreign(cell.entry)}</th>" for cell in (rows[0].cells if rows else ()))
    lines = []
    for row in rows:
        name = row.question.name
        cells = "".join(_cell(cell, _link(cell, played), cell.value) for cell in row.cells)
        head = f'<td><a href="#{name}">{name}</a></td><td class="left">{row.measure.title} ({row.measure.unit})</td>'
        lines.append(f"  <tr>{head}{cells}</tr>\n")
    return f"""<section><h2>Overview</h2><div class="scroll"><table>
  <tr><th>question</th><th class="left">measure</th>{heads}</tr>
{"".join(lines)}</table></div></section>
"""


def _link(cell: LeagueCell, played: Mapping[tuple[str, str], Sequence[LeagueRun]]) -> str:
    """Where a cell's runs are; empty: it has none."""
    return _pair_file(cell.entry, cell.question) if (cell.entry, cell.question) in played else ""


def _section(rows: Sequence[LeagueRow], played: Mapping[tuple[str, str], Sequence[LeagueRun]]) -> str:
    question = rows[0].question
    heads = "".join(f"<th>{row.measure.title} ({row.measure.unit})</th>" for row in rows)
    lines = []
    reasons: dict[str, None] = {}
    for index, first in enumerate(rows[0].cells):
        cells = [row.cells[index] for row in rows]
        shown = "".join(_cell(cell, _link(cell, played), cell.words) for cell in cells)
        lines.append(f"  <tr><td>{foreign(first.entry)}</td>{shown}</tr>\n")
        for cell in cells:
            if cell.reason:
                reasons[f"  <li>{foreign(cell.entry)}: {foreign(cell.reason)}</li>\n"] = None
    why = f'<ul class="small">\n{"".join(reasons)}</ul>' if reasons else ""
    return f"""<section id="{question.name}"><h2>{question.name}</h2><p>{foreign(question.asks)}</p>
<div class="scroll"><table>
  <tr><th>entry</th>{heads}</tr>
{"".join(lines)}</table></div>{why}</section>
"""


def _cell(cell: LeagueCell, link: str, text: str) -> str:
    kind = {"n/a": "na", "measured": "first" if cell.rank == 1 else ""}.get(cell.state, cell.state)
    words = foreign(text)
    rank = f"<b>{cell.rank}</b>" if cell.rank is not None else ""
    title = f' title="{foreign(cell.reason)}"' if cell.reason else ""
    inner = f'<a href="{quote(link)}">{words}</a>' if link else words
    return f'<td class="{kind}"{title}>{inner}{rank}</td>'


def _pair_page(entry: str, question: str, runs: Sequence[LeagueRun]) -> str:
    names = [name for name in MEASURES if any(name in run.readings for run in runs)]
    heads = "".join(f"<th>{MEASURES[name].title} ({MEASURES[name].unit})</th>" for name in names)
    lines = []
    for run in sorted(runs, key=lambda run: run.repeat):
        cells = "".join(f"<td>{reading_words(run.readings.get(name), MEASURES[name])}</td>" for name in names)
        where = f'<a href="../{quote(run.run)}/{HISTORY}">{foreign(run.run)}</a> #{run.index + 1}' if run.run else "–"
        lines.append(
            f"  <tr><td>{run.repeat}</td><td>{run.verdict}</td>{cells}<td>{run.wall:.0f} s</td>"
            f'<td class="left">{where}</td><td class="left">{foreign(run.reason)}</td></tr>\n'
        )
    body = f"""<header>
  <p class="kicker"><a href="../{INDEX}#{question}">League of overlays</a></p>
  <h1>{foreign(entry)}: {foreign(question)}</h1>
</header>
<p>A run's folder has its history; <code>lab report FOLDER</code> draws its page.</p>
<div class="scroll"><table>
  <tr><th>repeat</th><th>verdict</th>{heads}<th>took</th><th>run</th><th>why</th></tr>
{"".join(lines)}</table></div>
"""
    return _html(f"{entry}: {question}", body)


def _html(title: str, body: str) -> str:
    return document(title, body, style=_OWN)

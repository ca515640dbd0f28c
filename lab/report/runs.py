"""The page of all runs, `reports/index.html`. Owns its content and when it is written; `lab.records.runs` finds the
runs.

Written without a template engine, because each run writes this page, and importing the engine takes longer than
building the page. All text from a run goes through `_text`.
"""

import fcntl
import os
from contextlib import suppress
from html import escape
from pathlib import Path
from urllib.parse import quote

from lab.records.runs import BROKEN, RUNNING, StoredRun, stored_runs
from lab.records.store import INDEX, replace_file
from lab.report.document import document
from lab.words import count, span
from overlay.clean import LINES, clean

__all__ = ["render_runs", "update_index"]

MOST = 1000
"""Maximum number of runs on the page."""
_OURS = '<meta name="generator" content="overlay-lab runs">'
_HEAD = 2000
"""Number of characters at the start of a page in which its mark must be."""
_LINES = 3
"""Number of lines shown of a reason."""
_MARKS = {"valid": ("good", "✓"), "invalid": ("bad", "✗"), "unknown": ("unsure", "?")}
_MARKS |= {RUNNING: ("running", "…"), BROKEN: ("unsure", "!")}
_STYLE = """
body { --tone: var(--accent); }
td small { display: block; color: var(--muted); overflow-wrap: anywhere; }
td small.why { color: var(--ink); }
td:nth-child(2) { min-width: 13rem; }
td.v { white-space: nowrap; font-weight: 650; }
.good .v { color: var(--good); } .bad .v { color: var(--bad); } .unsure .v { color: var(--unsure); }
"""


def update_index(root: Path) -> Path | None:
    """Rewrite the page of a folder of reports; returns its path. None: a foreign page has that name, and is kept.

    Raises `OSError`. Runs that end at the same time are serialized, so that the last page lists all of them.
    """
    page = root / INDEX
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(folder, fcntl.LOCK_EX)
        if not _is_ours(page):
            return None
        found, total = stored_runs(root, MOST)
        replace_file(page, render_runs(root, found, total).encode())
    finally:
        os.close(folder)
    return page


def _is_ours(page: Path) -> bool:
    """Whether this page may be overwritten, because reports may go into a folder that has a page of its own."""
    if not page.is_symlink() and not page.exists():
        return True
    if not page.is_file():
        return False
    with page.open(encoding="utf-8", errors="replace") as file:
        return _OURS in file.read(_HEAD)


def render_runs(root: Path, runs: list[StoredRun], total: int) -> str:
    """Render the page. `root` is its folder; links are relative to it."""
    body = f"""
<header>
  <p class="kicker">overlay-lab</p>
  <h1>{count(total, "run") if total else "No runs yet"}</h1>
  <p class="verdict">{_verdict_line(runs, total)}</p>
</header>
{_table(root, runs) if runs else _NOTHING}
<p class="small">Each run rewrites this page, and so does <code>lab runs</code>.</p>

"""
    return document(count(total, "run"), body, style=_STYLE, head=f"{_OURS}\n")


_NOTHING = """
<p class="note"><code>lab run first --backend sim</code> plays a first scenario in a second;
<code>lab init</code> writes one that you can change.</p>
"""


def _verdict_line(runs: list[StoredRun], total: int) -> str:
    found = ((verdict, sum(run.verdict == verdict for run in runs)) for verdict in _MARKS)
    said = ", ".join(f"{number} {verdict}" for verdict, number in found if number)
    older = total - len(runs)
    return f"The newest {len(runs)}: {said}. {count(older, 'older run')}: see <code>lab runs</code>." if older else said


def _table(root: Path, runs: list[StoredRun]) -> str:
    rows = "".join(_row(root, run) for run in runs)
    return f"""
<div class="scroll"><table>
  <thead><tr><th>verdict</th><th>scenario</th><th>backend</th><th>began (UTC)</th><th class="n">took</th></tr></thead>
  <tbody>
{rows}  </tbody>
</table></div>
"""


def _row(root: Path, run: StoredRun) -> str:
    tone, mark = _MARKS[run.verdict]
    target = Path(run.page or f"{run.run_dir}/").relative_to(root)
    link = quote(os.fsencode(target)) + ("" if run.page else "/")
    small = f"<small>{_text(run.question)}</small>" if run.question else ""
    if run.verdict != "valid":
        small += "".join(f'<small class="why">{_text(line)}</small>' for line in run.reason.splitlines()[:_LINES])
    seed = "" if run.seed is None else f"<small>seed {run.seed}</small>"
    if run.captures:
        small += f"<small>{count(run.captures, 'capture')}</small>"
    took = "" if run.took is None else span(run.took)
    when = run.when.replace("T", " ").removesuffix("Z")
    return (
        f'  <tr class="{tone}"><td class="v">{mark} {run.verdict}</td>'
        f'<td><a href="{escape(link)}">{_text(run.scenario)}</a>{small}</td>'
        f'<td>{_text(run.backend)}{seed}</td><td class="n">{when}</td><td class="n">{took}</td></tr>\n'
    )


def _text(foreign: str) -> str:
    return escape(clean(foreign, keep=LINES))

"""The page of an overlay's trials: one row per trial, with its verdict, its reason and a link to its run.

Owns its content. All text from an overlay or a run goes through `foreign`.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from lab.records.store import HISTORY, INDEX, replace_file
from lab.report.document import document, foreign
from lab.trials.trial import Entry, OverlayFacts, TrialOutcome

__all__ = ["write_page"]

_TONES = {"passed": ("good", "✓"), "failed": ("bad", "✗"), "unknown": ("unsure", "?"), "n/a": ("muted", "–")}
_OWN = """
body { --tone: var(--accent); }
td.v { white-space: nowrap; font-weight: 650; }
td small { display: block; color: var(--ink); overflow-wrap: anywhere; }
.good .v { color: var(--good); } .bad .v { color: var(--bad); } .unsure .v { color: var(--unsure); }
"""


def write_page(folder: Path, entry: Entry, facts: OverlayFacts, outcomes: Sequence[TrialOutcome]) -> Path:
    """Write `index.html` into this folder and return its path. Raises `OSError`."""
    page = folder / INDEX
    replace_file(page, _page(folder, entry, facts, outcomes).encode())
    return page


def _page(folder: Path, entry: Entry, facts: OverlayFacts, outcomes: Sequence[TrialOutcome]) -> str:
    passed = sum(outcome.verdict == "passed" for outcome in outcomes)
    asked = sum(outcome.verdict != "n/a" for outcome in outcomes)
    version = f" ({foreign(facts.version)})" if facts.version else ""
    rows = "".join(_row(folder, outcome) for outcome in outcomes)
    options = ", ".join(f"{key}: {value}" for key, value in entry.options.items())
    body = f"""<header>
  <p class="kicker">overlay-lab</p>
  <h1>{foreign(entry.label)}{version}</h1>
  <p class="verdict">{passed} of {asked} trials passed.</p>
</header>
<p>It carries {facts.carries}; addresses: {facts.addresses}{f"; options: {foreign(options)}" if options else ""}.</p>
<div class="scroll"><table>
  <thead><tr><th>verdict</th><th>trial</th><th>question</th><th class="n">took</th></tr></thead>
  <tbody>
{rows}  </tbody>
</table></div>
"""
    return document(f"{entry.label}: {passed} of {asked}", body, style=_OWN)


def _row(folder: Path, outcome: TrialOutcome) -> str:
    tone, mark = _TONES[outcome.verdict]
    name = foreign(outcome.trial)
    if outcome.run:
        there = os.path.relpath(outcome.run, folder)
        leaf = INDEX if (Path(outcome.run) / INDEX).is_file() else HISTORY  # a report is drawn only when asked for
        name = f'<a href="{quote(there)}/{leaf}">{name}</a>'
    reason = f"<small>{foreign(outcome.reason)}</small>" if outcome.reason else ""
    took = f"{outcome.took:.0f} s" if outcome.took else ""
    return (
        f'  <tr class="{tone}"><td class="v">{mark} {outcome.verdict}</td><td>{name}</td>'
        f'<td>{foreign(outcome.asks)}{reason}</td><td class="n">{took}</td></tr>\n'
    )

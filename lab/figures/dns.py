"""The answers to names, as text and as a table: how many addresses each source got, and whether they were right."""

from collections.abc import Collection
from typing import Any

from lab.checkers.dns import staleness
from lab.checkers.run import RecordedRun
from lab.figures.told import Told, seconds, table
from lab.kinds.probes import asks_name
from lab.words import count, natural, span, were

__all__ = ["asked_names", "dns"]

_NAMES = 8
"""Maximum number of names drawn."""


def asked_names(run: RecordedRun) -> list[str]:
    """The names in the figure, sorted."""
    return sorted({key[2] for key in run.series if asks_name(key[0])}, key=natural)[:_NAMES]


def dns(run: RecordedRun) -> Told | None:
    """One row per answer."""
    drawn = asked_names(run)
    if not drawn:
        return None
    data: list[tuple[Any, ...]] = []
    for number, name in enumerate(drawn):
        for index, key in enumerate(key for key in run.series if asks_name(key[0]) and key[2] == name):
            for sample in run.series[key]:
                word = {True: "right", False: "wrong", None: ""}[run.judge(sample)]
                shown = len(sample.answers), " ".join(sample.answers), sample.error, word
                data.append((sample.t, number, index, f"{seconds(sample.t):.6f}", *key[1:], *shown))
    return Told(
        name="dns",
        title=_finding(run, drawn, data),
        caption="Each dot is one answer at its number of addresses, the grey line what the answer should have been; "
        "crosses are answers with a wrong or a missing address.",
        csv=table(
            ("t_s", "source", "name", "count", "answers", "error", "judged"),
            [row[3:] for row in sorted(data, key=lambda row: row[:3])],
        ),
    )


def _finding(run: RecordedRun, drawn: Collection[str], data: list[tuple[Any, ...]]) -> str:
    found = [finding for finding in staleness(run) if finding["name"] in drawn]
    stale = max((finding["lasted"] for finding in found if finding["what"] == "stale"), default=0)
    missing = max((finding["lasted"] for finding in found if finding["what"] == "missing"), default=0)
    if stale or missing:
        # Wrong answers until then, with possible right answers in between.
        parts = [f"gave a stale address up to {span(stale)}"] if stale else []
        parts += [f"lacked a new one up to {span(missing)}"] if missing else []
        return f"Names {' and '.join(parts)} after a change"
    judged = [row[-1] for row in data if row[-1]]
    if not judged:
        return "No answer could be judged"
    wrong = judged.count("wrong")
    if wrong:
        return f"{wrong} of {count(len(judged), 'answer')} {were(wrong)} wrong"
    return f"All {len(judged)} answers were right" if len(judged) > 1 else "The answer was right"

"""Which pairs reached each other, when: a row per pair over time. Owns the names of try outcomes in tables and
pictures.
"""

from collections.abc import Iterable, Sequence

from msgspec import structs

from lab.checkers.outages import failed
from lab.checkers.reachability import transitions
from lab.checkers.run import RecordedRun
from lab.checkers.tries import CUT, LEAKED, MISSED, NOTHING, REACHED, outcomes
from lab.checkers.world import SeriesKey
from lab.figures.told import Told, seconds, table
from lab.kinds.verbs import verb_of
from lab.words import count, span

__all__ = ["WORDS", "named_pairs", "states", "timeline"]

WORDS = {NOTHING: "no try", MISSED: "not reached", REACHED: "reached", LEAKED: "reached across a cut"}
_COLUMNS_OF_TRIES = ("t_s", "probe", "source", "target", "state", "latency_ns", "error", "outage_s")


def named_pairs(run: RecordedRun) -> list[tuple[str, SeriesKey]]:
    """Rows: the name of a pair, and its series."""
    return [(f"{key[1]} → {key[2]}", key) for key in run.pairs]


def states(run: RecordedRun, key: SeriesKey) -> list[int]:
    """The outcome of each try of a pair; a failed try across a cut counts as not reached."""
    return [MISSED if state == CUT else state for state in outcomes(run, key)]


def _lines(run: RecordedRun, key: SeriesKey, states: Sequence[int]) -> list[str]:
    """The lines of the table, one per try. There may be a million, so common parts are built once."""
    part_of = {id(lost): f"{seconds(each.start):.6f}" for each in run.outages[key] for lost in each.tries}
    head = "," + table(key, ()).rstrip("\n") + ","
    ends: dict[str, str] = {}
    lines = []
    for sample, state in zip(run.series[key], states, strict=True):
        end = ends.get(sample.error)
        if end is None:
            end = ends[sample.error] = table(("", sample.error, ""), ()).rstrip("\n")
        latency = "" if sample.latency is None else sample.latency
        outage = part_of.get(id(sample), "") if part_of else ""
        lines.append(f"{sample.t / 1e9:.6f}{head}{WORDS[state]},{latency}{end}{outage}\n")
    return lines


def _finding(run: RecordedRun, drawn: Iterable[SeriesKey]) -> str:
    """The title: the longest outage of the drawn pairs, and its cause."""
    worst = run.longest_outage
    if worst is None:
        if run.long is None:
            tries = sum(failed(sample) is False for key in drawn for sample in run.series[key])
        else:
            tries = sum(int((run.columns(key).ok & ~run.columns(key).unsaid).sum()) for key in drawn)
        if not tries:
            return "No try was made in time"
        return f"Every pair reached each other: {count(tries, 'try', 'tries')}, none failed"
    name = f"{worst.series[1]} → {worst.series[2]}"
    band, back = run.cause(worst)
    if not worst.ended:
        until = "never back" if band is None or band.healed else "when the record ends the fault still lasts"
        return f"{name} unreachable from {seconds(worst.start):.1f} s on, {until}"
    text = f"{name} unreachable for {span(worst.lasted)}"
    if band is None:
        settling = any(start <= worst.end and worst.start <= end for start, end in transitions(run))
        return f"{text}, {'while things were settling' if settling else 'with no fault in force'}"
    what = "the heal" if verb_of(band.what).heals else "the end of the fault"
    return f"{text}, back before {what}" if back is None else f"{text}, back {span(back)} after {what}"


def timeline(run: RecordedRun) -> Told | None:
    """Rows = pairs, cells = tries, in order of time."""
    rows = named_pairs(run)
    if not rows:
        return None
    text = Told(
        name="reachability",
        title=_finding(run, run.pairs),
        caption="Each row is a pair of services, each cell a try at the moment when it was due; "
        "dashed lines mark when a fault struck and when it was healed.",
    )
    if run.long is not None:
        from lab.figures.many_tries import parts_of_table

        return structs.replace(text, parts=lambda: parts_of_table(run, table(_COLUMNS_OF_TRIES, ()), WORDS))
    lines: list[tuple[int, str]] = []
    for _, key in rows:
        lines += zip((sample.t for sample in run.series[key]), _lines(run, key, states(run, key)), strict=True)
    lines.sort(key=lambda line: line[0])  # tries at the same time are ordered by pair
    return structs.replace(text, csv=table(_COLUMNS_OF_TRIES, ()) + "".join([line for _, line in lines]))

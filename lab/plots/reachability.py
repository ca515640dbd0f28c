"""Who reached whom, when: one row per pair over time, and small N×N matrices before, during and after each fault."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.patches import Patch

from lab.checkers.outages import failed
from lab.checkers.reachability import transitions
from lab.checkers.run import FaultBand, RecordedRun
from lab.checkers.world import SeriesKey
from lab.kinds.verbs import verb_of
from lab.plots.style import (
    FAIL,
    INK,
    MUTED,
    NONE,
    OK,
    UNWANTED,
    Figure,
    canvas,
    render,
    seconds,
    shade,
    table,
    tidy,
)
from lab.words import count, natural, span, were

__all__ = ["matrices", "timeline"]

_COLUMNS = 900
"""Most cells in a row: about what a screen can show."""
_LABELLED = 60
"""Most rows that get their names written."""
_NOTHING, _MISSED, _REACHED, _LEAKED = range(4)
_MAP = ListedColormap([NONE, FAIL, OK, UNWANTED])
_NORM = BoundaryNorm([-0.5, 0.5, 1.5, 2.5, 3.5], 4)
_COLUMNS_OF_TRIES = ("t_s", "probe", "source", "target", "state", "latency_ns", "error", "outage_s")
_RANK = np.array([0, 2, 1, 3], dtype=np.int8)
"""Worst last: a cell that holds several tries shows a leak before a miss before a success. Its own inverse."""
_WORDS = {_NOTHING: "no try", _MISSED: "not reached", _REACHED: "reached", _LEAKED: "reached across a cut"}


def _pairs(run: RecordedRun) -> list[tuple[str, SeriesKey]]:
    """Rows: a pair and its series."""
    return [(f"{key[1]} → {key[2]}", key) for key in run.pairs]


def _states(run: RecordedRun, key: SeriesKey) -> list[int]:
    """What became of each try of a series."""
    epochs = [(epoch.start, epoch.should.get(key) is False) for epoch in run.epochs]
    place, cut = 0, False
    states = []
    for sample in run.series[key]:
        while place < len(epochs) and epochs[place][0] <= sample.t:
            cut = epochs[place][1]
            place += 1
        if sample.error == "late":
            states.append(_NOTHING)
        else:
            states.append(_MISSED if not sample.ok else _LEAKED if cut else _REACHED)
    return states


def _lines(run: RecordedRun, key: SeriesKey, states: Sequence[int]) -> list[str]:
    """The lines of the table, one a try. There may be a million: what is the same in all is put together once."""
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
        lines.append(f"{sample.t / 1e9:.6f}{head}{_WORDS[state]},{latency}{end}{outage}\n")
    return lines


def _finding(run: RecordedRun, drawn: Iterable[SeriesKey]) -> str:
    """The title: the longest outage of the pairs that are drawn, and how it came about."""
    worst = run.longest_outage
    if worst is None:
        tries = sum(failed(sample) is False for key in drawn for sample in run.series[key])
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


def timeline(run: RecordedRun) -> Figure | None:
    """Rows = pairs, cells = tries, in the order of time."""
    rows = _pairs(run)
    if not rows:
        return None
    start = min(run.series[key][0].t for _, key in rows)
    end = max(min(run.end, run.stop), start + 1)
    # One less than there are tries: a cell that is narrower than their interval would be empty now and then.
    columns = min(_COLUMNS, max(1, max(len(run.series[key]) for _, key in rows) - 1))
    grid = np.zeros((len(rows), columns), dtype=np.int8)
    lines: list[str] = []
    times: list[Any] = []
    for row, (_, key) in enumerate(rows):
        samples = run.series[key]
        states = _states(run, key)
        lines += _lines(run, key, states)
        due = np.fromiter((sample.t for sample in samples), np.int64, len(samples))
        times.append(due)
        places = np.minimum(columns - 1, (due - start) * columns // (end - start))
        shown = (start <= due) & (due < end)
        np.maximum.at(grid[row], places[shown], _RANK[np.array(states, dtype=np.int8)[shown]])
    grid = _RANK[grid]
    in_time = np.argsort(np.concatenate(times), kind="stable")
    figure = canvas(11, min(14.0, 1.35 + 0.27 * len(rows)) if len(rows) <= _LABELLED else min(9.0, 0.06 * len(rows)))
    axes = figure.add_subplot()
    axes.imshow(
        grid,
        aspect="auto",
        interpolation="nearest",
        cmap=_MAP,
        norm=_NORM,
        extent=(seconds(start), seconds(end), len(rows) - 0.5, -0.5),
        zorder=1,
    )
    tidy(axes, start=start, end=end)
    for edge in range(1, len(rows)):
        if len(rows) <= _LABELLED:
            axes.axhline(edge - 0.5, color="white", lw=2.2 if rows[edge][1][1] == rows[edge - 1][1][1] else 5, zorder=2)
    for band in run.bands:
        for t in (band.start, band.end) if band.healed else (band.start,):
            axes.axvline(seconds(t), color=INK, lw=1.1, ls=(0, (4, 2)), zorder=3)
    shade(axes, run.bands)
    axes.tick_params(left=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    if len(rows) <= _LABELLED:
        axes.set_yticks(range(len(rows)), [name for name, _ in rows], color=INK)
    else:
        axes.set_yticks([])
        axes.set_ylabel(f"{len(rows)} pairs, by source")
    present = sorted({int(state) for state in np.unique(grid)})
    colours = {_NOTHING: NONE, _MISSED: FAIL, _REACHED: OK, _LEAKED: UNWANTED}
    figure.legend(
        handles=[Patch(color=colours[state], label=_WORDS[state]) for state in reversed(present)],
        loc="outside lower right",
        ncols=4,
        handlelength=1.1,
        handleheight=1.0,
    )
    return Figure(
        name="reachability",
        title=_finding(run, run.pairs),
        caption="Each row is a pair of services, each cell a try at the moment when it was due; "
        "dashed lines mark when a fault struck and when it was healed.",
        png=render(figure),
        csv=table(_COLUMNS_OF_TRIES, ()) + "".join([lines[place] for place in in_time]),
    )


def _moments(run: RecordedRun, band: FaultBand) -> list[tuple[str, int, int]]:
    """(title, from, to): before, during and after a fault; after begins when reachability had settled again."""
    index = run.bands.index(band)
    earlier = max((other.end for other in run.bands[:index] if other.end <= band.start), default=run.start)
    later = min((other.start for other in run.bands[index + 1 :] if other.start >= band.end), default=run.stop)
    later = min(later, run.end)
    spans = transitions(run)

    def settled(start: int, end: int) -> int:
        done = max((stop for begin, stop in spans if start <= begin < end), default=start)
        return done if done < end else start

    moments = [
        (f"before · until {seconds(band.start):.1f} s", settled(earlier, band.start), band.start),
        (f"during · {seconds(band.start):.1f} to {seconds(band.end):.1f} s", settled(band.start, band.end), band.end),
    ]
    if band.healed and later > band.end:
        moments.append((f"after · from {seconds(band.end):.1f} s", settled(band.end, later), later))
    return moments


class _Cut(NamedTuple):
    """What a fault did to the pairs that were asked while it lasted."""

    label: str
    asked: int
    lost: int
    """Pairs that it cut off: none of their tries got through, and not because none had before."""
    back: int
    gone: int
    """Of those, the pairs that were reached after it, and that were asked in vain."""
    healed: bool


def _cut(band: FaultBand, shares: list[dict[SeriesKey, float]]) -> _Cut:
    before, during, after = (*shares, {})[:3]
    lost = [key for key, share in during.items() if share == 0 and before.get(key) != 0]
    return _Cut(
        label=band.label,
        asked=len(during),
        lost=len(lost),
        back=sum(after.get(key, 0) > 0 for key in lost),
        gone=sum(after.get(key) == 0 for key in lost),
        healed=band.healed,
    )


def _cut_title(cuts: list[_Cut]) -> str:
    """In words, of the fault that cut off most of the pairs that there were."""
    worst = max(cuts, key=lambda cut: cut.lost)
    if not worst.lost:
        return "No pair was cut off"
    where = "the fault" if len(cuts) == 1 else worst.label
    title = f"{worst.lost} of {count(worst.asked, 'pair')} {were(worst.lost)} cut off while {where} lasted"
    if not worst.healed:
        return title
    if worst.back == worst.lost:
        return f"{title}, {'it' if worst.lost == 1 else 'all'} came back"
    unasked = worst.lost - worst.back - worst.gone
    title += f", {worst.back} came back" if worst.back else ""
    title += f", {worst.gone} did not come back" if worst.gone else ""
    return title + (f", {unasked} {were(unasked)} not asked again" if unasked else "")


def matrices(run: RecordedRun) -> Figure | None:
    """For each fault, the share of successful tries of every pair before, during and after."""
    rows = _pairs(run)
    bands = run.bands[:6]
    if not rows or not bands:
        return None
    names = sorted({name for _, key in rows for name in key[1:]}, key=natural)
    place = {name: index for index, name in enumerate(names)}
    data: list[tuple[Any, ...]] = []
    cuts: list[_Cut] = []
    size = min(2.7, max(1.6, 0.4 * len(names)))
    figure = canvas(11, len(bands) * (size + 0.75) + 0.3)
    grids = figure.subplots(len(bands), 3, squeeze=False)
    image = None
    for line, band in zip(grids, bands, strict=True):
        moments = _moments(run, band)
        shares: list[dict[SeriesKey, float]] = []
        for axes, moment in zip(line, [*moments, *[None] * (3 - len(moments))], strict=True):
            if moment is None:
                axes.set_axis_off()
                continue
            title, start, end = moment
            share = np.full((len(names), len(names)), np.nan)
            shares.append({})
            for _, key in rows:
                tries = [s for s in run.series[key] if start <= s.t < end and s.error != "late"]
                if tries:
                    good = sum(s.ok for s in tries) / len(tries)
                    share[place[key[1]], place[key[2]]] = shares[-1][key] = good
                    data.append((band.label, title.split(" ")[0], key[1], key[2], len(tries), f"{good:.4f}"))
            axes.set_facecolor(NONE)
            image = axes.imshow(share, cmap=_SHARE, vmin=0, vmax=1, interpolation="nearest")
            axes.set_title(title, fontsize=9.5)
            axes.spines[:].set_visible(False)
            few = len(names) <= 16
            axes.set_xticks(range(len(names)) if few else [], names if few else [], rotation=40, ha="right", color=INK)
            first = axes is line[0]
            axes.set_yticks(range(len(names)) if few else [], names if few else [], color=INK)
            axes.tick_params(labelleft=first)
            axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
            axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
            axes.tick_params(which="both", length=0)
            axes.grid(which="minor", color="white", lw=2 if few else 0.3)
            if first:
                axes.set_ylabel(f"{band.label}\n\nfrom", color=MUTED, fontsize=9)
            axes.set_xlabel("to")
        cuts.append(_cut(band, shares))
    if image is not None:
        bar = figure.colorbar(image, ax=grids, shrink=0.6, aspect=24, pad=0.02)
        bar.set_label("share of tries that succeeded")
        bar.outline.set_visible(False)
        bar.set_ticks([0, 0.5, 1], labels=["0 %", "50 %", "100 %"])
    return Figure(
        name="matrices",
        title=_cut_title(cuts),
        caption="Each cell is one pair, source to the left, target below; its colour is the share of its tries that "
        "succeeded once things had settled in that time.",
        png=render(figure),
        csv=table(("fault", "when", "source", "target", "tries", "share_ok"), data),
    )


_SHARE = ListedColormap(
    [
        tuple((1 - x) * a + x * b for a, b in zip(low, high, strict=True))
        for low, high, count in (
            ((0.835, 0.369, 0.0), (0.96, 0.90, 0.76), 32),
            ((0.96, 0.90, 0.76), (0.302, 0.702, 0.569), 32),
        )
        for x in np.linspace(0, 1, count)
    ]
)

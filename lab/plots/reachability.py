"""Who reached whom, when: one row per pair over time, and small N×N matrices before, during and after each fault."""

from typing import Any

import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.patches import Patch

from lab.checkers.reachability import transitions
from lab.checkers.run import Band, Run
from lab.checkers.world import SeriesKey
from lab.history import Sample
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
    span,
    table,
    tidy,
)

__all__ = ["matrices", "outage", "timeline"]

_COLUMNS = 900
"""Most cells in a row: about what a screen can show."""
_LATER = 2_000_000_000
"""Nanoseconds after the first pair from which a pair is a late-comer."""
_LABELLED = 60
"""Most rows that get their names written."""
_NOTHING, _MISSED, _REACHED, _LEAKED = range(4)
_MAP = ListedColormap([NONE, FAIL, OK, UNWANTED])
_NORM = BoundaryNorm([-0.5, 0.5, 1.5, 2.5, 3.5], 4)
_WORDS = {_NOTHING: "no try", _MISSED: "not reached", _REACHED: "reached", _LEAKED: "reached across a cut"}


def _pairs(run: Run) -> list[tuple[str, SeriesKey]]:
    """Rows: every HTTP and ICMP series; a pair that has both is drawn by HTTP, which says more."""
    probes: dict[tuple[str, str], str] = {}
    for probe, source, target in run.series:
        if probe != "dns":
            probes[source, target] = min(probe, probes.get((source, target), probe))
    keys = [(probe, source, target) for (source, target), probe in sorted(probes.items())]
    began = min((run.series[key][0].t for key in keys), default=0)
    # Pairs that came later (a service was scaled) go below those that were there from the beginning.
    keys.sort(key=lambda key: run.series[key][0].t > began + _LATER)
    return [(f"{source} → {target}", (probe, source, target)) for probe, source, target in keys]


def _state(run: Run, sample: Sample) -> int:
    if sample.error == "late":
        return _NOTHING
    if not sample.ok:
        return _MISSED
    epoch = run.epoch(sample.t)
    cut = epoch is not None and epoch.should.get((sample.probe, sample.source, sample.target)) is False
    return _LEAKED if cut else _REACHED


def outage(samples: list[Sample], start: int, end: int, until: int) -> tuple[int, int | None] | None:
    """(first failed try, first good answer after the fault's end or None) of a series hit by a fault; None: not hit."""
    failed = [sample.t for sample in samples if not sample.ok and start <= sample.t < end and sample.error != "late"]
    if not failed:
        return None
    last_failed = max((sample.t for sample in samples if not sample.ok and start <= sample.t < until), default=start)
    back = [sample for sample in samples if sample.ok and last_failed < sample.t < until]
    return failed[0], back[0].t + back[0].late + (back[0].latency or 0) if back else None


def _finding(run: Run, rows: list[tuple[str, SeriesKey]]) -> str:
    """The title: what the longest fault did to the pair that it hit hardest."""
    best: tuple[int, str] | None = None
    for index, band in enumerate(run.bands):
        until = next((later.start for later in run.bands[index + 1 :]), run.stop)
        for name, key in rows:
            hit = outage(run.series[key], band.start, band.end, until)
            if hit is None:
                continue
            first, back = hit
            length = (back if back is not None else run.end) - first
            if back is None:
                never = "never back" if band.healed else "when the record ends the fault still lasts"
                text = f"{name} unreachable from {seconds(first):.1f} s on, {never}"
            else:
                after = f"back {span(back - band.end)} after the heal" if back >= band.end else "back before the heal"
                text = f"{name} unreachable for {span(length)}, {after}"
            if best is None or length > best[0]:
                best = (length, text)
    if best:
        return best[1]
    missed = sum(not sample.ok for _, key in rows for sample in run.series[key])
    tries = sum(len(run.series[key]) for _, key in rows)
    return (
        f"Every pair reached each other: {tries} tries, none failed"
        if not missed
        else (f"{missed} of {tries} tries failed")
    )


def timeline(run: Run) -> Figure | None:
    """Rows = pairs, cells = tries, in the order of time."""
    rows = _pairs(run)
    if not rows:
        return None
    start = min(run.series[key][0].t for _, key in rows)
    end = max(min(run.end, run.stop), start + 1)
    # One less than there are tries: a cell that is narrower than their interval would be empty now and then.
    columns = min(_COLUMNS, max(1, max(len(run.series[key]) for _, key in rows) - 1))
    grid = np.zeros((len(rows), columns), dtype=np.int8)
    # Worst first: a cell that holds several tries shows a leak before a miss before a success.
    rank = np.array([0, 2, 1, 3])
    data: list[tuple[Any, ...]] = []
    for row, (_, key) in enumerate(rows):
        for sample in run.series[key]:
            state = _state(run, sample)
            data.append((f"{seconds(sample.t):.6f}", *key, _WORDS[state], sample.latency, sample.error))
            if not start <= sample.t < end:
                continue
            column = min(columns - 1, (sample.t - start) * columns // (end - start))
            if rank[state] > rank[grid[row, column]]:
                grid[row, column] = state
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
        title=_finding(run, rows),
        caption="Each row is a pair of services, each cell a try at the moment when it was due; "
        "dashed lines mark when a fault struck and when it was healed.",
        png=render(figure),
        csv=table(("t_s", "probe", "source", "target", "state", "latency_ns", "error"), sorted(data)),
    )


def _moments(run: Run, band: Band) -> list[tuple[str, int, int]]:
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


def matrices(run: Run) -> Figure | None:
    """For each fault, the share of successful tries of every pair before, during and after."""
    rows = _pairs(run)
    bands = run.bands[:6]
    if not rows or not bands:
        return None
    names = sorted({name for _, key in rows for name in key[1:]})
    place = {name: index for index, name in enumerate(names)}
    data: list[tuple[Any, ...]] = []
    size = min(2.7, max(1.6, 0.4 * len(names)))
    figure = canvas(11, len(bands) * (size + 0.75) + 0.3)
    grids = figure.subplots(len(bands), 3, squeeze=False)
    image = None
    for line, band in zip(grids, bands, strict=True):
        moments = _moments(run, band)
        for axes, moment in zip(line, [*moments, *[None] * (3 - len(moments))], strict=True):
            if moment is None:
                axes.set_axis_off()
                continue
            title, start, end = moment
            share = np.full((len(names), len(names)), np.nan)
            for _, key in rows:
                tries = [s for s in run.series[key] if start <= s.t < end and s.error != "late"]
                if tries:
                    good = sum(s.ok for s in tries) / len(tries)
                    share[place[key[1]], place[key[2]]] = good
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
    if image is not None:
        bar = figure.colorbar(image, ax=grids, shrink=0.6, aspect=24, pad=0.02)
        bar.set_label("share of tries that succeeded")
        bar.outline.set_visible(False)
        bar.set_ticks([0, 0.5, 1], labels=["0 %", "50 %", "100 %"])
    cut = sorted({(row[2], row[3]) for row in data if row[1] == "during" and float(row[5]) == 0})
    lost = sorted({(row[2], row[3]) for row in data if row[1] == "after" and float(row[5]) == 0})
    title = f"{len(cut)} of {len(rows)} pairs were cut off while the fault lasted" if cut else "No pair was cut off"
    if cut:
        after = any(row[1] == "after" for row in data)
        title += f", {len(lost)} of them for good" if lost else ", all came back" if after else ""
    return Figure(
        name="matrices",
        title=title,
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

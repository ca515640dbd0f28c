"""Latencies: percentiles over time, one panel per kind of probe, with the faults shaded."""

import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator

from lab.checkers.run import RecordedRun
from lab.figures.latency import PERCENTILES, curves
from lab.kinds.probes import title_of
from lab.plots.style import COLUMN, FAIL, GRID, SERIES, canvas, points, shade, style, tidy

__all__ = ["latency"]

_WIDTHS = (2.2, 1.5, 1.0)
_DECADE = 8


def latency(run: RecordedRun) -> Canvas | None:
    """p50, p95 and p99 of the successful tries of each interval; below, the share that failed."""
    found = curves(run)
    if not found:
        return None
    start = min(samples[0].t for key, samples in run.series.items() if key[0] in {each.kind for each in found})
    end = max(min(run.end, run.stop), start + 1)
    figure = canvas(0.5 + 2.35 * len(found))
    panels = figure.subplots(len(found), 1, sharex=True, squeeze=False)[:, 0]
    for number, (axes, each) in enumerate(zip(panels, found, strict=True)):
        middles, answered, failed = np.array(each.middles), each.answered, each.failed
        lines = np.array([values or (np.nan,) * len(PERCENTILES) for values in each.values]).T
        tidy(axes, start=start, end=end, label="")
        axes.set_yscale("log")
        axes.grid(axis="y", color=GRID)
        axes.fill_between(middles, lines[0] / 1e6, lines[2] / 1e6, color=SERIES[0], alpha=0.10, lw=0)
        for curve, percentile, line, colour in zip(
            lines, PERCENTILES, _WIDTHS, (SERIES[0], "#3f95cc", "#8cc2e6"), strict=True
        ):
            axes.plot(
                middles, curve / 1e6, color=colour, lw=points(line), label=f"p{percentile}", solid_capstyle="round"
            )
        if any(failed):
            low, high = axes.get_ylim()
            axes.set_ylim(low / 1.8, high)
            hit = [index for index in range(len(failed)) if failed[index]]
            share = [failed[index] / (failed[index] + answered[index]) for index in hit]
            axes.scatter(
                middles[hit],
                [0.045] * len(hit),
                s=[points(points(10 + 50 * value)) for value in share],
                color=FAIL,
                lw=0,
                alpha=0.85,
                transform=axes.get_xaxis_transform(),
                label="failed tries (size: share)",
                zorder=4,
            )
        axes.set_ylabel(f"{title_of(each.kind)}\nanswer time (ms)")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
        low, high = axes.get_ylim()
        if high / low < _DECADE:  # one or two ticks of a logarithmic scale would be left
            axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
            axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        shade(axes, run.bands, label=number == 0)
    panels[-1].set_xlabel("time since the start of the run (s)")
    handles, labels = max((axes.get_legend_handles_labels() for axes in panels), key=lambda pair: len(pair[1]))
    narrow = style().column <= COLUMN
    figure.legend(handles, labels, loc="outside lower center" if narrow else "outside lower right", ncols=4,
                  columnspacing=1.0)  # fmt: skip
    return figure

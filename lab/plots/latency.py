"""How long answers took: percentiles over time, one panel per kind of probe, with the faults shaded."""

from typing import Any

import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter

from lab.checkers.run import RecordedRun, nearest_rank
from lab.kinds.probes import ordered_probes, title_of
from lab.plots.style import FAIL, GRID, SERIES, Figure, canvas, render, seconds, shade, table, tidy
from lab.records.history import Sample
from lab.words import span

__all__ = ["latency"]

_PERCENTILES = (50, 95, 99)
_WIDTHS = (2.2, 1.5, 1.0)
_BINS = 80


def _bin_width(length: int, tries: int) -> int:
    """Nanoseconds per point: a round number that gives at most `_BINS` points, with ten tries or more in each."""
    wanted: float = max(length / _BINS, length * 10 / max(tries, 1), 1)
    steps = [int(base * 10**power) for power in range(6, 13) for base in (1, 2, 5)]
    return next((step for step in steps if step >= wanted), steps[-1])


def latency(run: RecordedRun) -> Figure | None:
    """p50, p95 and p99 of the successful tries of each interval; below, the share that failed."""
    by_kind: dict[str, list[Sample]] = {}
    for key, samples in run.series.items():
        by_kind.setdefault(key[0], []).extend(samples)
    kinds = [kind for kind in ordered_probes(by_kind) if any(sample.ok for sample in by_kind[kind])]
    if not kinds:
        return None
    start = min(sample.t for kind in kinds for sample in by_kind[kind])
    end = max(min(run.end, run.stop), start + 1)
    figure = canvas(11, 0.5 + 2.35 * len(kinds))
    panels = figure.subplots(len(kinds), 1, sharex=True, squeeze=False)[:, 0]
    data: list[tuple[Any, ...]] = []
    medians: list[str] = []
    widths: list[str] = []
    for number, (axes, kind) in enumerate(zip(panels, kinds, strict=True)):
        samples = by_kind[kind]
        width = _bin_width(end - start, len(samples))
        widths.append(f"{title_of(kind)} {span(width)}")
        count = (end - start) // width + 1
        answered: list[list[int]] = [[] for _ in range(count)]
        failed = [0] * count
        for sample in samples:
            index = (sample.t - start) // width
            if index >= count or sample.error == "late":
                continue
            if sample.ok and sample.latency is not None:
                answered[index].append(sample.latency)
            else:
                failed[index] += 1
        middles = np.array([seconds(start + index * width + width // 2) for index in range(count)])
        curves = np.full((len(_PERCENTILES), count), np.nan)
        for index, values in enumerate(answered):
            if values:
                curves[:, index] = np.percentile(values, _PERCENTILES)
            tries = len(values) + failed[index]
            if tries:
                data.append(
                    (
                        f"{middles[index]:.3f}",
                        kind,
                        tries,
                        failed[index],
                        *("" if np.isnan(value) else round(float(value)) for value in curves[:, index]),
                    )
                )
        tidy(axes, start=start, end=end, label="")
        axes.set_yscale("log")
        axes.grid(axis="y", color=GRID)
        axes.fill_between(middles, curves[0] / 1e6, curves[2] / 1e6, color=SERIES[0], alpha=0.10, lw=0)
        for curve, percentile, line, colour in zip(
            curves, _PERCENTILES, _WIDTHS, (SERIES[0], "#3f95cc", "#8cc2e6"), strict=True
        ):
            axes.plot(middles, curve / 1e6, color=colour, lw=line, label=f"p{percentile}", solid_capstyle="round")
        if any(failed):
            low, high = axes.get_ylim()
            axes.set_ylim(low / 1.8, high)
            hit = [index for index in range(count) if failed[index]]
            share = [failed[index] / (failed[index] + len(answered[index])) for index in hit]
            axes.scatter(
                middles[hit],
                [0.045] * len(hit),
                s=[10 + 50 * value for value in share],
                color=FAIL,
                lw=0,
                alpha=0.85,
                transform=axes.get_xaxis_transform(),
                label="failed tries (size: share)",
                zorder=4,
            )
        axes.set_ylabel(f"{title_of(kind)} answer time (ms)")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        medians.append(f"{title_of(kind)} {span(nearest_rank(run.latencies(kind), 50))}")
        shade(axes, run.bands, label=number == 0)
    panels[-1].set_xlabel("time since the start of the run (s)")
    handles, labels = max((axes.get_legend_handles_labels() for axes in panels), key=lambda pair: len(pair[1]))
    figure.legend(handles, labels, loc="outside lower right", ncols=4)
    return Figure(
        name="latency",
        title=f"Half of all answers came within: {', '.join(medians)}",
        caption="Median, 95th and 99th percentile of the successful tries, on a logarithmic scale "
        f"(one point per interval: {', '.join(widths)}); "
        "dots at the foot are tries that failed, larger when more of them did.",
        png=render(figure),
        csv=table(("t_s", "probe", "tries", "failed", *(f"p{value}_ns" for value in _PERCENTILES)), data),
    )

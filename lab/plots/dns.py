"""Answers to names over time: how many addresses each source got, compared with the expected number."""

from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from lab.checkers.run import RecordedRun
from lab.figures.dns import asked_names
from lab.figures.told import seconds
from lab.kinds.probes import asks_name
from lab.plots.style import FAIL, GRID, MUTED, SERIES, canvas, shade, tidy
from lab.records.history import Sample

__all__ = ["dns"]


def dns(run: RecordedRun) -> Canvas | None:
    """One panel per name: dots are answers, the grey step is the expected number."""
    keys = [key for key in run.series if asks_name(key[0])]
    drawn = asked_names(run)
    if not drawn:
        return None
    start = min(run.series[key][0].t for key in keys)
    end = max(min(run.end, run.stop), start + 1)
    figure = canvas(11, 0.7 + 1.75 * len(drawn))
    panels = figure.subplots(len(drawn), 1, sharex=True, squeeze=False)[:, 0]
    for number, (axes, name) in enumerate(zip(panels, drawn, strict=True)):
        askers = [key for key in keys if key[2] == name]
        tidy(axes, start=start, end=end, label="")
        for index, key in enumerate(askers):
            # Sources are shifted a little, so that equal answers do not hide each other.
            offset = (index - (len(askers) - 1) / 2) * min(0.12, 0.5 / len(askers))
            good: list[Sample] = []
            wrong: list[Sample] = []
            for sample in run.series[key]:
                judged = run.judge(sample)
                (wrong if judged is False else good).append(sample)
            steps = [(epoch.start, len(epoch.answers[key])) for epoch in run.epochs if key in epoch.answers]
            if steps:
                times = [seconds(t) for t, _ in steps] + [seconds(end)]
                counts = [count + offset for _, count in steps]
                axes.step(
                    times,
                    [*counts, counts[-1]],
                    where="post",
                    color="#c3cad1",
                    lw=3.2,
                    zorder=1,
                    label="should be" if index == 0 else None,
                )
            colour = SERIES[index % len(SERIES)] if len(askers) <= 6 else SERIES[0]
            axes.plot(
                [seconds(s.t) for s in good],
                [len(s.answers) + offset for s in good],
                ls="",
                marker="o",
                ms=3.2,
                mew=0,
                color=colour,
                label=key[1] if len(askers) <= 6 else None,
                zorder=3,
            )
            axes.plot(
                [seconds(s.t) for s in wrong],
                [len(s.answers) + offset for s in wrong],
                ls="",
                marker="x",
                ms=5,
                mew=1.4,
                color=FAIL,
                label="wrong answer" if index == len(askers) - 1 else None,
                zorder=4,
            )
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, -0.45), max(high, 1.45))
        axes.grid(axis="y", color=GRID)
        axes.set_ylabel(f"addresses of\n{name}", fontsize=8.5)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handletextpad=0.3)
        shade(axes, run.bands, label=number == 0)
        changes = [e.start for e in run.epochs if any(k in e.answers for k in askers)]
        for t in changes[1:]:
            axes.axvline(seconds(t), color=MUTED, lw=0.5, alpha=0.3, zorder=0.4)
    panels[-1].set_xlabel("time since the start of the run (s)")
    return figure

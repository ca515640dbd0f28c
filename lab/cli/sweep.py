"""`lab sweep`, `lab compare`: many runs, and their statistics. Owns progress output.

Everything for the user goes to standard output except the progress bar, so that `--json` ends with one line.
"""

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from lab.cli import table
from lab.cli.command import lab_command
from lab.errors import LabError
from lab.kinds.backends import is_virtual, virtual_backends
from lab.scenario.load import ScenarioError
from lab.sweep.measure import Point
from lab.sweep.pools import Cluster, OneByOne, Processes, WorkerPool, cores
from lab.sweep.run import SweepPlan, SweepResults
from lab.words import are, count
from overlay.clean import clean

USAGE = 2
_SHOWN = 5
"""Maximum number of runs printed that are not valid."""


def run_sweep(
    path: Path, *, seeds: str, settings: Sequence[str], backend: str, out: Path | None, jobs: int | None,
    scheduler: str, formats: str = "", style: str = "screen", as_json: bool,
) -> int:  # fmt: skip
    """Play a scenario many times; returns the exit code."""
    from lab.cli.files import formats_of
    from lab.sweep.grid import parse_seeds
    from lab.sweep.run import plan, sweep

    drawn = formats_of(formats)
    if not drawn and style != "screen":
        raise click.UsageError(f"--style {style}: expected --format too, as --format pdf: the page has its own style")
    try:
        wanted = parse_seeds(seeds)
        pool = pool_for(backend, jobs, scheduler)
        name = path.name.partition(".")[0]
        folder = out if out is not None else Path("reports") / name / "sweep"
        planned = plan(path, settings, wanted, backend=backend, folder=folder)
    except (ScenarioError, LabError) as error:
        click.echo(str(error), err=True)
        return USAGE
    about, total = planned.about, len(planned.tasks)
    click.echo(click.style(about.scenario, bold=True) + (f"  {about.question}" if about.question else ""))
    factors = f"{count(len(planned.files), 'setting')} × {count(len(about.seeds), 'seed')}"
    click.echo(f"  {factors} on {backend}: {count(total, 'run')}")
    swept = with_bar(planned, pool, sweep)
    from lab.sweep.page import exit_code, verdict_of, write

    page = write(folder, swept, drawn, style)
    _tell(swept, page, _again(path, seeds, settings, backend, out, jobs, scheduler))
    code = exit_code(swept)
    if as_json:
        summary = {
            "verdict": verdict_of(swept),
            "runs": len(swept.points),
            "planned": swept.planned,
            "reused": swept.reused,
            "interrupted": swept.interrupted,
            "invalid": sum(point.verdict == "invalid" for point in swept.points),
            "failed": sum(point.failed for point in swept.points),
            "out": str(folder),
            "page": str(page),
        }
        click.echo(json.dumps(summary))
    return code


def run_compare(a: Path, b: Path, *, primary: str, margin: float | None, as_json: bool) -> int:
    """Print whether two sweeps differ; returns 0 no, 1 yes, 3 too few runs to tell."""
    from lab.sweep.compare import compare
    from lab.sweep.table import read_table

    found = compare(read_table(a), read_table(b), primary=primary, margin=margin)
    if as_json:
        click.echo(json.dumps({"a": str(a), "b": str(b)} | msgspec.to_builtins(found)))
    else:
        click.echo(found.words)
        for line in found.unmatched:
            click.echo(f"  not compared: {line}")
        numbers = ("A", "B", "B / A", "95 % interval", "B above A", "p")
        if found.differences:
            click.echo()
            table.show(
                ("after", "setting", "metric", *numbers),
                [[item.event or "(run)", item.setting, item.metric, *_figures(item)] for item in found.differences],
                right=numbers,
                styles=["" if item.differs else "dim" for item in found.differences],
            )
            click.echo()
        for item in found.differences:
            if item.differs:
                click.echo(f"- {item.words}")
    return {"alike": 0, "no difference": 0, "differ": 1, "unknown": 3}[found.verdict]


def run_fidelity(path: Path, *, seeds: str, against: str, out: Path | None, as_json: bool) -> int:
    """Play a scenario in the simulator and on real packets. Returns 0 if both agree that it is valid (or not), 1 if
    they do not, 3 if there are too few runs to tell, or one of them could not be played to its end."""
    from lab.sweep.fidelity import fidelity
    from lab.sweep.grid import parse_seeds
    from lab.sweep.run import plan, sweep
    from lab.sweep.table import write_tables

    try:
        wanted = parse_seeds(seeds)
        if is_virtual(against):
            raise LabError(f"--against {against}: expected a backend of real packets, as netns")
        folder = out if out is not None else Path("reports") / path.name.partition(".")[0] / "fidelity"
        plans = [plan(path, (), wanted, backend=name, folder=folder / name) for name in ("sim", against)]
    except (ScenarioError, LabError) as error:
        click.echo(str(error), err=True)
        return USAGE
    about = plans[0].about
    click.echo(click.style(about.scenario, bold=True) + (f"  {about.question}" if about.question else ""))
    click.echo(f"  {count(len(wanted), 'seed')} on sim and on {against}")
    both: list[SweepResults] = []
    for planned in plans:
        both.append(with_bar(planned, pool_for(planned.about.backend, None, ""), sweep))
        write_tables(planned.folder, both[-1].points)
        if both[-1].interrupted:
            click.echo(f"interrupted: what is done is kept in {folder}; the same command goes on")
            return 3
    found = fidelity(both[0].points, both[1].points)
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(found) | {"out": str(folder), "against": against}))
    else:
        _fidelity_table(found, against)
        click.echo(found.words)
        for swept in both:
            for point in [point for point in swept.points if point.verdict != "valid"][:_SHOWN]:
                click.echo(f"  {point.backend}, seed {point.seed}: {point.verdict}: {point.reason}\n    {point.replay}")
    if not all(swept.complete for swept in both) or any(p.verdict == "unknown" for s in both for p in s.points):
        return 3
    return {True: 0, False: 1, None: 3}[found.agree]


_STYLES = {"close": "", "unclear": "dim", "off": "bold"}


def _fidelity_table(found: Any, against: str) -> None:
    numbers = ("sim", against, f"sim / {against}", "95 % interval")
    rows = []
    for line in found.lines:
        counted = line.metric.endswith("per_peer")
        shown = [
            "not reached" if v is None else f"{v:,.0f}" if counted else _time(v, bounds, line.floor)
            for v, bounds in ((line.sim, line.sim_bounds), (line.real, line.real_bounds))
        ]
        ratio = f"{line.ratio:.2f}" if line.ratio is not None else "" if line.closeness == "close" else "–"
        interval = f"{line.low:.2f} to {line.high:.2f}" if line.low is not None and line.high is not None else ""
        rows.append([line.event, line.metric.replace("_", " "), *shown, ratio, interval])
    click.echo()
    styles = [_STYLES[line.closeness] for line in found.lines]
    table.show(("after", "metric", *numbers), rows, right=numbers, styles=styles)
    click.echo()


def _time(value: float, bounds: tuple[float, float | None] | None, floor: float) -> str:
    """A median in seconds; with bounds if probes ended it."""
    if bounds is None:
        return f"{value:.3f} s"
    low, high = bounds
    if high is None:
        return f"over {low:.3f} s"
    return f"≤ {max(high, floor):.3f} s" if low == 0 else f"{low:.3f}–{high:.3f} s"


def pool_for(backend: str, jobs: int | None, scheduler: str) -> Callable[[], WorkerPool]:
    """A function that creates the pool for a backend; raises `LabError` for an impossible combination."""
    if not is_virtual(backend):
        if scheduler:
            able = ", ".join(virtual_backends())
            raise LabError(f"--scheduler: only runs on {able} go to a cluster; {backend} needs this machine")
        if jobs is not None and jobs > 1:
            raise LabError(
                f"--jobs {jobs}: labs of {backend} run one after the other, for each wants the whole machine"
            )
        return OneByOne
    if scheduler:
        if jobs is not None:
            raise LabError("found --jobs and --scheduler, expected one of them: the cluster says how many runs go on")
        return lambda: Cluster(scheduler)
    return lambda: Processes(jobs or cores())


def with_bar(planned: SweepPlan, pool: Callable[[], WorkerPool], play: Callable[..., SweepResults]) -> SweepResults:
    """Play with a progress bar on standard error; without a terminal, print a line for each tenth."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    total = len(planned.tasks)
    counts = {"invalid": 0, "failed": 0}
    told_of = TextColumn("{task.fields[told]}", markup=False)
    columns = (BarColumn(), MofNCompleteColumn(), told_of, TimeRemainingColumn())
    live = console.is_terminal and not console.is_dumb_terminal
    with Progress(*columns, console=console, disable=not live, transient=True) as progress:
        bar = progress.add_task("runs", total=total, told="starting")
        step = max(1, total // 10)

        def told(point: Point) -> None:
            counts["failed"] += point.failed
            counts["invalid"] += point.verdict == "invalid"
            said = ", ".join(f"{number} {word}" for word, number in counts.items() if number)
            progress.update(bar, advance=1, told=said)
            done = int(progress.tasks[0].completed)
            if not live and done % step == 0:
                console.print(f"{done} of {count(total, 'run')}" + (f", {said}" if said else ""))

        def begun(reused: int, where: str) -> None:
            progress.update(bar, completed=reused, told=where)
            if reused:
                console.print(f"{reused} of {count(total, 'run')} {are(reused)} there already")

        return play(planned, pool, told, begun)


def _tell(swept: SweepResults, page: Path, again: str) -> None:
    from lab.sweep.page import verdict_of

    verdict = verdict_of(swept)
    colour = {"valid": "green", "invalid": "red"}.get(verdict, "yellow")
    valid = sum(point.verdict == "valid" for point in swept.points)
    click.echo(
        click.style(verdict, fg=colour, bold=True) + f": {valid} of {count(swept.planned, 'run')} {are(valid)} valid"
    )
    bad = [point for point in swept.points if point.verdict != "valid"]
    for point in bad[:_SHOWN]:
        setting = " ".join(f"{path}={value}" for path, value in point.parameters.items())
        click.echo(clean(f"  seed {point.seed} {setting}: {point.verdict}: {point.reason.partition(chr(10))[0]}"))
        click.echo(f"    {point.replay}")
    if len(bad) > _SHOWN:
        click.echo(f"  and {len(bad) - _SHOWN} more, in the table")
    click.echo(f"page:   {page}")
    if swept.interrupted:
        click.echo(f"interrupted: what is done is kept; go on with\n  {again}")


def _again(
    path: Path, seeds: str, settings: Sequence[str], backend: str, out: Path | None, jobs: int | None, scheduler: str
) -> str:
    words = [str(path), "--seeds", seeds, "--backend", backend]
    words += [word for setting in settings for word in ("--set", setting)]
    words += ["--out", str(out)] if out is not None else []
    words += ["--jobs", str(jobs)] if jobs is not None else []
    words += ["--scheduler", scheduler] if scheduler else []
    return f"{lab_command()} sweep {shlex.join(words)}"


def _figures(item: Any) -> list[str]:
    def shown(value: float | None) -> str:
        if value is None:
            return "–"
        return f"{value:.0%}" if item.metric == "valid" else f"{value:,.4g}"

    interval = f"{item.low:.2f} to {item.high:.2f}" if item.low is not None and item.high is not None else ""
    ratio = f"{item.ratio:.2f}" if item.ratio is not None else ""
    p = "< 0.001" if item.p < 0.001 else f"{item.p:.3f}"
    return [shown(item.a), shown(item.b), ratio, interval, f"{item.superiority:.0%}", p]

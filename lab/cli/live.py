"""`lab up`: brings a lab up that stays. `standing.py` reaches it from any terminal."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import click
import msgspec

from lab.cli import interrupts
from lab.cli.captures import requests_for
from lab.cli.command import lab_command
from lab.cli.ended import remember
from lab.cli.ending import USAGE
from lab.cli.play import answering, begun, inside, prepare, settle, shown, staying
from lab.cli.progress import ProgressPrinter
from lab.cli.runs import refresh
from lab.cli.saving import keep_scenario, scenario_text
from lab.contracts.lab import Virtual
from lab.errors import LabError
from lab.records.bounded import BoundedHistory
from lab.records.store import EXIT_CODES, HISTORY, new_run, open_history, write_summary
from lab.runner.hands import Hands
from lab.runner.open_timeline import OpenTimeline
from lab.runner.runner import Runner
from lab.scenario.load import Scenario
from lab.scenario.resolve import Resolved
from lab.scenario.steps import Step
from overlay import __version__
from overlay.clean import LINES, clean


def first_steps(scenario: Resolved | Scenario) -> tuple[Step, ...]:
    """The steps before the first change or fault that bring the lab up, without their times."""
    steps = []
    for step in scenario.timeline:
        if not step.kind.setup:
            break
        if step.kind.setup != "watch":
            steps.append(step.model_copy(update={"at": None}))
    return tuple(steps)


def bring_up(
    path: Path,
    *,
    backend: str,
    seed: int | None,
    pace: int | None,
    name: str,
    out: Path,
    captures: Sequence[str] = (),
) -> int:
    """Bring a lab up and leave it running; returns the exit code of its first steps."""
    prepared = prepare(path, backend, seed, pace)
    if prepared is None:
        return USAGE
    model, scenario, chosen, text = prepared
    if isinstance(chosen, Virtual):
        raise LabError(
            f"a lab on {backend} lives in virtual time and cannot stay: `lab run` plays it; "
            "`lab up` takes netns, dind or vagrant"
        )
    captured = requests_for(prepared, captures)
    if captured is None:
        return USAGE
    name = name or scenario.name
    run_dir = new_run(scenario.name, out.absolute())
    teller = ProgressPrinter()
    teller.head(scenario, backend)
    blank = begun(path, chosen, scenario, run_dir)

    def work() -> int:
        timeline = OpenTimeline(model, scenario, chosen, first_steps(model))
        keep_scenario(run_dir, scenario_text(text, scenario.name, path.parent, timeline.plain_first()))
        with open_history(run_dir) as file:
            hands = Hands(timeline, stands=True, run_dir=run_dir)

            async def steps() -> AsyncIterator[Step]:
                from lab.backends.netns import ready

                for step in timeline.first:
                    yield step
                hands.open()
                ready()
                await asyncio.Event().wait()

            runner = Runner(
                timeline.resolved,
                chosen,
                BoundedHistory(file, run_dir / HISTORY),
                version=__version__,
                report=teller.progress,
                beside=answering(scenario, hands),
                hands=hands,
                run_dir=run_dir,
                captures=captured,
            )
            outcome = interrupts.run(asyncio.run, lambda: runner.run(timeline=steps()))
        timeline.conclude(run_dir)
        settle(run_dir, blank, outcome)
        if outcome.reason:
            click.echo(f"lab: {clean(outcome.reason, keep=LINES)}", err=True)
        return EXIT_CODES[outcome.verdict]

    try:
        code = inside(chosen, work, name=name, detach=True)
    except LabError as error:
        write_summary(run_dir, msgspec.structs.replace(blank, reason=str(error)))
        raise
    finally:
        refresh(out.absolute())
    if code == 0:
        remember(name, run_dir, path)
        click.echo(f"the lab is up: {staying(name)}")
        lab = lab_command()
        click.echo(f"by hand:       {lab} partition A B --for 10s, {lab} status, {lab} undo, {lab} save FILE")
        click.echo(f"its run is written to {shown(run_dir)}")
    return code

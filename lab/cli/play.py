"""`lab run`: from a scenario file to a report; the lab runs in its own namespaces.

Owns the division of work: the file is read and checked outside, the timeline is played inside, and the report is drawn
outside when the lab is gone (or, with `--keep`, goes on by itself).
"""

import asyncio
import contextlib
import functools
import json
import shlex
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from lab import foreign_code
from lab.capture.places import CaptureRequest
from lab.cli import interrupts
from lab.cli.captures import requests_for
from lab.cli.command import lab_command
from lab.cli.ending import UNKNOWN, USAGE, code_within, in_words
from lab.cli.files import tell
from lab.cli.prepared import Prepared
from lab.cli.progress import ProgressPrinter
from lab.cli.runs import refresh
from lab.contracts.lab import Backend, Housed, Paced, Traceable, Virtual
from lab.errors import LabError
from lab.kinds.backends import backend as find_backend
from lab.records import provenance
from lab.records.history import Writer
from lab.records.store import (
    EXIT_CODES,
    HISTORY,
    INDEX,
    SUMMARY,
    Summary,
    new_run,
    open_history,
    read_summary,
    write_json,
    write_summary,
)
from lab.runner.runner import Runner, RunOutcome
from lab.runner.stage import Stage
from lab.scenario.load import ScenarioError, read, text_of
from lab.scenario.packaged import called
from lab.scenario.resolve import Resolved
from lab.words import MOST_TOLD, few
from overlay import __version__

if TYPE_CHECKING:
    from lab.runner.hands import Hands

_OWN = ("reason", "run_dir", "replay", "file", "backend", "seed", "scenario", "version")
"""Fields of the summary that the runner knows better than the history."""


def play(
    path: Path,
    *,
    backend: str,
    seed: int | None,
    pace: int | None,
    out: Path,
    as_json: bool,
    keep: bool,
    figures: bool = True,
    captures: Sequence[str] = (),
    trace: bool = False,
) -> int:
    """Play a scenario and return the exit code of its verdict."""
    if trace:
        from lab.records.trace import need_pyarrow

        need_pyarrow()
    prepared = prepare(path, backend, seed, pace)
    if prepared is None:
        return USAGE
    scenario, chosen = prepared.resolved, prepared.backend
    if keep and isinstance(chosen, Virtual):
        raise LabError(f"a lab on {backend} lives in virtual time and cannot stay: play it without --keep")
    if (captured := requests_for(prepared, captures)) is None:
        return USAGE
    if trace:
        if not isinstance(chosen, Traceable):
            raise LabError(f"a lab on {backend} is not traced: --trace is for sim; `lab capture` sees real packets")
        chosen.traced = True
    run_dir = new_run(scenario.name, out.absolute())
    teller = ProgressPrinter()
    teller.head(scenario, backend)
    blank = begun(path, chosen, scenario, run_dir)
    try:
        work = functools.partial(_play, prepared, path, run_dir, blank, teller, keep, captured)
        inside(chosen, work, name=scenario.name, detach=keep)
    except LabError as error:
        write_summary(run_dir, msgspec.structs.replace(blank, reason=str(error)))
    summary, told = report_on(run_dir, teller.report(run_dir / HISTORY), figures)
    refresh(out.absolute())
    teller.end(summary, str(shown(run_dir / INDEX)) if told and figures else "")
    if told and not figures:
        click.echo(f"draw:   {lab_command()} report {shlex.quote(str(shown(run_dir)))}")
    if keep:
        click.echo(f"the lab goes on: {staying(scenario.name)}")
    if as_json:
        click.echo(json.dumps(summary))
    code = EXIT_CODES[summary["verdict"]]
    return code if told else code or UNKNOWN


def begun(path: Path, backend: Backend, scenario: Resolved, run_dir: Path) -> Summary:
    """The initial summary of a run; written into its folder, because the run may be killed."""
    blank = Summary(
        verdict="unknown",
        reason="the run was killed",
        scenario=scenario.name,
        file=str(path),
        backend=backend.name,
        seed=scenario.seed,
        run_dir=str(run_dir),
        replay=replay_command(path, backend, scenario, run_dir),
        version=__version__,
    )
    write_summary(run_dir, blank)
    provenance.started(
        run_dir,
        kernel=not isinstance(backend, Virtual),
        file=str(path),
        scenario=scenario.name,
        backend=backend.name,
        seed=scenario.seed,
        pace=scenario.pace,
    )
    return blank


def settle(run_dir: Path, blank: Summary, outcome: RunOutcome) -> None:
    """Write the runner's outcome of a run."""
    settled = msgspec.structs.replace(
        blank,
        verdict=outcome.verdict,
        reason=outcome.reason,
        convergence=outcome.convergence,
        expectations=outcome.expectations,
        took=outcome.took,
    )
    write_summary(run_dir, settled)
    provenance.ended(run_dir)


def prepare(path: Path, backend: str, seed: int | None, pace: int | None) -> Prepared | None:
    """The scenario and its backend; None, with the reasons printed, if one of them is not available. `pace` None: the
    backend's own, which is printed."""
    try:
        text = text_of(path)
        found = read(path, seed, text=text)
        scenario = found.resolved
        chosen = find_backend(backend)
        reasons = chosen.refuse(scenario) if scenario is not None else []
    except (ScenarioError, LabError) as error:
        click.echo(str(error), err=True)
        return None
    tell(found, backend, reasons)
    if found.problems or reasons or scenario is None:
        return None
    if pace is None and isinstance(chosen, Paced):
        pace, why = chosen.pace()
        if pace != 1:
            click.echo(
                f"{why}: all times of the scenario are {pace} times as long (--pace 1: as in the file)", err=True
            )
    assert found.scenario is not None
    return Prepared(found.scenario, scenario.at_pace(pace or 1), chosen, text)


def inside(backend: Backend, work: Callable[[], int], *, name: str, detach: bool = False) -> int:
    """Run `work` where a lab of this backend may be created: in new namespaces if it needs them."""
    if isinstance(backend, Housed):
        return backend.inside(lambda: code_within(work), name=name, detach=detach)
    return work()


def replay_command(path: Path, backend: Backend, scenario: Resolved, run_dir: Path) -> str:
    """The command that replays the run: in virtual time from its history, equal to the byte."""
    if isinstance(backend, Virtual):
        allowed = f" --protocol {shlex.quote(entry)}" if (entry := foreign_code.allowed(scenario.overlay)) else ""
        return f"{lab_command()} replay {shlex.quote(str(shown(run_dir)))}{allowed}"
    pace = f" --pace {scenario.pace}" if scenario.pace != 1 else ""
    return f"{lab_command()} run {shlex.quote(called(path))} --backend {backend.name} --seed {scenario.seed}{pace}"


def staying(name: str) -> str:
    """The commands for a lab that stays up."""
    lab = lab_command()
    return f"{lab} inspect, {lab} exec HOST -- CMD, {lab} shell HOST, {lab} down --name {name}"


def answering(scenario: Resolved, hands: "Hands | None") -> Callable[[Stage], Coroutine[Any, Any, None]] | None:
    """A coroutine that serves other terminals (`lab inspect`, `lab exec`) while a lab is up, with their manual steps;
    None if the lab has no server."""
    if hands is None:
        return None
    from lab.backends.netns import serve
    from lab.cli.status import status

    async def answer(stage: Stage) -> None:
        lab: Any = stage.lab
        facts = {"scenario": scenario.name, "seed": scenario.seed, "overlay": scenario.overlay}

        async def told(*, peers: bool = True) -> dict[str, Any]:
            return status(stage, peers=peers)

        async def log(*, host: str) -> dict[str, Any]:
            if host not in lab.hosts:
                raise LabError(f"no host named {host}; hosts: {few(lab.hosts, most=MOST_TOLD)}")
            return {"log": await stage.overlay.log_tail(host)}

        moves: dict[str, Any] = {"log": log, "step": hands.step, "undo": hands.undo, "state": hands.state}
        moves |= {"add_host": hands.add_host, "remove_host": hands.remove_host}
        await serve(lab, facts=facts, more={"status": told, **moves})

    return answer


def _play(
    prepared: Prepared,
    path: Path,
    run_dir: Path,
    blank: Summary,
    teller: ProgressPrinter,
    keep: bool,
    captured: Sequence[CaptureRequest],
) -> int:
    """Inside the namespaces: play, write the summary; with `keep`, let the parent exit and stay until `lab down`."""
    scenario, backend = prepared.resolved, prepared.backend
    with open_history(run_dir) as file:
        hands = None

        def keep_file() -> None:
            from lab.cli.saving import keep_scenario, scenario_text

            keep_scenario(run_dir, scenario_text(prepared.text, scenario.name, path.parent))

        if isinstance(backend, Housed):
            from lab.runner.hands import Hands  # steps from outside: never in virtual time
            from lab.runner.open_timeline import OpenTimeline

            timeline = OpenTimeline(prepared.model, scenario, backend, prepared.model.timeline)
            hands = Hands(timeline, run_dir=run_dir, begun=keep_file)
            hands.open()

        def settled(outcome: RunOutcome) -> None:
            if hands is not None:
                hands.timeline.conclude(run_dir)
            settle(run_dir, blank, outcome)

        runner = Runner(
            scenario,
            backend,
            Writer(file),
            version=__version__,
            report=teller.progress,
            beside=answering(scenario, hands),
            keep=_keeping(settled) if keep else None,
            hands=hands,
            run_dir=run_dir,
            captures=captured,
        )
        outcome = interrupts.run(backend.run if isinstance(backend, Virtual) else asyncio.run, runner.run)
        if not keep:
            settled(outcome)
    if isinstance(backend, Traceable) and backend.traced:
        from lab.records.trace import write_traces

        write_traces(run_dir, backend.traces())
    return 0


def _keeping(settled: Callable[[RunOutcome], None]) -> Callable[[RunOutcome], Coroutine[Any, Any, None]]:
    async def stay(outcome: RunOutcome) -> None:
        from lab.backends.netns import ready

        settled(outcome)
        ready()
        await asyncio.Event().wait()

    return stay


def report_on(run_dir: Path, told_of: Callable[[str], None], figures: bool) -> tuple[dict[str, Any], bool]:
    """(summary of the run, whether its report could be made). The verdict is the worse of the runner's and the
    checkers', even if drawing fails."""
    told: dict[str, Any] = msgspec.to_builtins(read_summary(run_dir))
    summary = dict(told)
    history = run_dir / HISTORY
    if told["verdict"] == "unknown" and not (history.is_file() and history.stat().st_size):
        return summary, False  # interrupted, or refused by this machine, before there was anything to draw

    def judged(found: dict[str, Any]) -> None:
        from lab.checkers import merge

        own = {
            key: told[key] for key in ("reason", "run_dir", "replay", "file", "backend", "seed", "scenario", "version")
        }
        summary.update(found | own | {"verdict": merge([told["verdict"], found["verdict"]])})

    try:
        from lab.report import write_report

        summary["figures"] = write_report(run_dir, drawn=figures, doing=told_of, judged=judged)["figures"]
        write_json(run_dir / SUMMARY, summary)
    except Exception as error:
        # The run counts: its history is complete, and `lab report` can draw it again.
        told_of("")
        text = in_words(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        click.echo(f"the report could not be drawn: {text}", err=True)
        if "checks" not in summary:
            summary["verdict"] = "unknown" if told["verdict"] == "valid" else told["verdict"]
            summary["reason"] = summary["reason"] or "the checks could not be made"
        with contextlib.suppress(OSError):
            write_json(run_dir / SUMMARY, summary)
        return summary, False
    return summary, True


def shown(path: Path) -> Path:
    """The path, relative to the current directory if it is below it."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path

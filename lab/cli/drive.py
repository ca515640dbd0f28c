"""`lab drive`: a run whose timeline comes from a program, step by step, while that program holds the lab.

Owns the protocol (one JSON object per line, docs/api.md) and the files of the run: its history contains the steps that
were taken as its timeline, so that report and `lab replay` treat it like any other, and `scenario.yaml` next to it is
the equivalent scenario.

On real hosts the lab's event loop waits for the next step, because probes continue meanwhile. In virtual time the whole
process waits, because no time passes between steps.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from lab.cli import interrupts
from lab.cli.ending import USAGE
from lab.cli.live import first_steps
from lab.cli.play import answering, begun, inside, prepare, report_on, settle
from lab.cli.prepared import Prepared
from lab.cli.runs import refresh
from lab.cli.saving import SCENARIO, keep_scenario, scenario_text
from lab.contracts.lab import Housed, Virtual
from lab.errors import LabError, StepRefused
from lab.records.history import Event, Writer
from lab.records.store import EXIT_CODES, Summary, new_run, open_history, write_summary
from lab.runner.hands import Hands
from lab.runner.open_timeline import OpenTimeline
from lab.runner.runner import Runner
from lab.scenario.steps import Step
from lab.words import step_number
from overlay import __version__

__all__ = ["drive"]

_LONGEST = 1 << 22
"""Maximum bytes of a request."""


def drive(path: Path, *, backend: str, seed: int | None, pace: int | None, out: Path) -> int:
    """Carry out steps until the input ends, and return the exit code of the run's verdict."""
    prepared = prepare(path, backend, seed, pace)
    if prepared is None:
        return USAGE
    run_dir = new_run(prepared.resolved.name, out.absolute())
    file = run_dir / SCENARIO
    prepared = prepared._replace(resolved=msgspec.structs.replace(prepared.resolved, file=str(file)))
    blank = begun(file, prepared.backend, prepared.resolved, run_dir)

    def obey() -> int:
        timeline = _obey(prepared, run_dir, blank)
        steps = [*timeline.plain_first(), *timeline.taken]
        keep_scenario(run_dir, scenario_text(prepared.text, timeline.resolved.name, path.parent, steps))
        return 0

    try:
        inside(prepared.backend, obey, name=prepared.resolved.name)
    except LabError as error:
        write_summary(run_dir, msgspec.structs.replace(blank, reason=str(error)))
    summary, _ = report_on(run_dir, lambda what: None, figures=False)
    refresh(out.absolute())
    _say({"ended": summary})
    return EXIT_CODES[summary["verdict"]]


def _say(message: dict[str, Any]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


def _obey(prepared: Prepared, run_dir: Path, blank: Summary) -> OpenTimeline:
    """Inside the namespaces: play the requested steps, then write them into the history as its timeline."""
    model, resolved, backend, _ = prepared
    timeline = OpenTimeline(model, resolved, backend, first_steps(model))
    with open_history(run_dir) as file:
        hands = Hands(timeline, run_dir=run_dir)
        runner = Runner(
            timeline.resolved,
            backend,
            Writer(file),
            version=__version__,
            beside=answering(resolved, hands if isinstance(backend, Housed) else None),
            hands=hands,
            run_dir=run_dir,
        )
        run = backend.run if isinstance(backend, Virtual) else asyncio.run
        outcome = interrupts.run(run, lambda: runner.run(timeline=_Driven(prepared, hands).steps(run_dir)))
    timeline.conclude(run_dir)
    settle(run_dir, blank, outcome)
    return timeline


class _Driven:
    """The timeline of a driven run: the scenario's first steps, then the requested ones."""

    def __init__(self, prepared: Prepared, hands: Hands) -> None:
        self._prepared = prepared
        self._hands = hands
        self._reader: asyncio.StreamReader | None = None

    async def steps(self, run_dir: Path) -> AsyncIterator[Step]:
        """The first steps, then requested ones; each is requested when the previous one is done, and
        carried out here."""
        for step in self._hands.timeline.first:
            yield step
        self._hands.open()
        backend = self._prepared.backend
        # The argument of `lab shell HOST --name`; in virtual time there is nothing to enter.
        name = self._prepared.resolved.name if isinstance(backend, Housed) else ""
        _say({"up": {"run_dir": str(run_dir), "lab": name, "backend": backend.name}})
        while (line := await self._line()).strip():
            try:
                index, event = await self._hands.take(_asked(line))
            except StepRefused as error:
                _say({"refused": str(error)})
                continue
            _say({"done": event, "problem": "" if event.ok else _problem(index, event)})
        if not line:
            raise LabError("the program that drove the lab went away")

    async def _line(self) -> bytes:
        """The next line; only a line end if there is nothing more to do, empty if the other side has closed the
        connection."""
        if isinstance(self._prepared.backend, Virtual):
            return sys.stdin.buffer.readline(_LONGEST)
        if self._reader is None:
            self._reader = asyncio.StreamReader(_LONGEST)
            protocol = asyncio.StreamReaderProtocol(self._reader)
            await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
        try:
            return await self._reader.readline()
        except ValueError:
            raise LabError(f"a line of more than {_LONGEST >> 20} MiB: no step is so long") from None


def _asked(line: bytes) -> Any:
    """The step in a request."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise StepRefused('found no step, expected one JSON object a line, as {"step": {"kill": "a"}}') from None


def _problem(index: int, event: Event) -> str:
    """The error in the runner's format for a step of the scenario."""
    error = event.detail.get("error", "")
    if "expect" in event.detail:
        return f"{step_number(index)}: expected {event.detail['expect']}; {error}"
    return f"{step_number(index)} failed: {event.detail['label']}: {error}"

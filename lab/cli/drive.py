"""`lab drive`: a run whose timeline comes from outside, step by step, from a program that holds the lab meanwhile.

Owns the protocol (one JSON object a line, docs/api.md) and what the run leaves behind: its history names the steps that
were taken as its timeline, so that report and `lab replay` treat it like any other, and `scenario.yaml` beside it is
the scenario that does the same.

What waits for the next step differs: on real hosts the lab's own loop, for probes go on meanwhile; in virtual time
the whole process, because there no time passes between steps.
"""

import asyncio
import io
import json
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
from pydantic import BaseModel

from lab.cli import interrupts
from lab.cli.ending import USAGE
from lab.cli.live import first_steps
from lab.cli.play import answering, begun, inside, prepare, report_on, settle
from lab.cli.runs import refresh
from lab.contracts.lab import Backend, Housed, Virtual
from lab.errors import LabError
from lab.kinds.verbs import verbs
from lab.records.history import AnyRecord, Event, Meta, Writer, decode, encode
from lab.records.store import EXIT_CODES, HISTORY, Summary, new_run, write_summary
from lab.runner.runner import Runner
from lab.scenario.load import Scenario, one_more, parse, text_of
from lab.scenario.resolve import Resolved
from lab.scenario.steps import Step, stretched
from lab.scenario.yaml import editor
from lab.sweep.grid import variant_text
from lab.words import step_number
from overlay import __version__
from overlay.clean import LINES, clean

__all__ = ["drive"]

SCENARIO = "scenario.yaml"
_LONGEST = 1 << 22
"""Bytes of a request."""


def drive(path: Path, *, backend: str, seed: int | None, pace: int | None, out: Path) -> int:
    """Obey steps until the input ends, and return the exit code of the run's verdict."""
    text = text_of(path)
    prepared = prepare(path, backend, seed, pace, text=text)
    if prepared is None:
        return USAGE
    resolved, chosen = prepared
    run_dir = new_run(resolved.name, out.absolute())
    file = run_dir / SCENARIO
    driven = _Driven(text, path, msgspec.structs.replace(resolved, file=str(file)), chosen)
    blank = begun(file, chosen, driven.resolved, run_dir)
    try:
        inside(chosen, lambda: _obey(driven, run_dir, blank), name=resolved.name)
    except LabError as error:
        write_summary(run_dir, msgspec.structs.replace(blank, reason=str(error)))
    summary, _ = report_on(run_dir, lambda what: None, figures=False)
    refresh(out.absolute())
    _say({"ended": summary})
    return EXIT_CODES[summary["verdict"]]


def _say(message: dict[str, Any]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


def _obey(driven: "_Driven", run_dir: Path, blank: Summary) -> int:
    """The inside: play what comes, then make the history say what that was."""
    history = run_dir / HISTORY
    with history.open("wb") as file:
        heard = _Heard(Writer(file))
        runner = Runner(
            driven.resolved,
            driven.backend,
            heard,
            version=__version__,
            beside=answering(driven.backend, driven.resolved),
        )
        run = driven.backend.run if isinstance(driven.backend, Virtual) else asyncio.run
        outcome = interrupts.run(run, lambda: runner.run(timeline=driven.steps(heard, run_dir)))
    driven.write(run_dir)
    settle(run_dir, blank, outcome)
    return 0


class _Heard(Writer):
    """A history, and what became of each step according to it."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.results: dict[int, Event] = {}

    def write(self, record: AnyRecord) -> None:
        """See `Writer`."""
        self._writer.write(record)
        if isinstance(record, Event) and record.ok is not None:
            self.results.setdefault(record.step, record)


class _Driven:
    """The timeline of a driven run: the scenario's first steps, then whatever is asked for."""

    def __init__(self, text: str, path: Path, resolved: Resolved, backend: Backend) -> None:
        self.backend = backend
        self.resolved = msgspec.structs.replace(resolved, timeline=())
        """What was played so far."""
        self._text = variant_text(text, (), resolved.name, path.parent)
        self._model: Scenario = parse(self._text, str(path))
        self._first = tuple(first_steps(resolved))
        self._asked: list[dict[str, Any]] = []
        self._reader: asyncio.StreamReader | None = None

    async def steps(self, heard: _Heard, run_dir: Path) -> AsyncIterator[Step]:
        """All steps in their order; each is asked for when the one before it is done."""
        self._model = self._model.model_copy(update={"timeline": self._first})
        for step in self._first:
            self._take(step)
            yield step
        # Its name is what `lab shell HOST --name` takes; in virtual time there is nothing to enter.
        name = self.resolved.name if isinstance(self.backend, Housed) else ""
        _say({"up": {"run_dir": str(run_dir), "lab": name, "backend": self.backend.name}})
        while (line := await self._line()).strip():
            try:
                step = self._understood(line)
            except LabError as error:
                _say({"refused": str(error)})
                continue
            self._take(step)
            yield step
            index = len(self.resolved.timeline) - 1
            event = heard.results[index]
            _say({"done": event, "problem": "" if event.ok else _problem(index, event)})
        if not line:
            raise LabError("the program that drove the lab went away")

    def _take(self, step: Step) -> None:
        self.resolved = msgspec.structs.replace(self.resolved, timeline=(*self.resolved.timeline, step))

    async def _line(self) -> bytes:
        """The next line; only its end where there is nothing more to do, empty where the other side went away."""
        if isinstance(self.backend, Virtual):
            return sys.stdin.buffer.readline(_LONGEST)
        if self._reader is None:
            self._reader = asyncio.StreamReader(_LONGEST)
            protocol = asyncio.StreamReaderProtocol(self._reader)
            await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
        try:
            return await self._reader.readline()
        except ValueError:
            raise LabError(f"a line of more than {_LONGEST >> 20} MiB: no step is so long") from None

    def _understood(self, line: bytes) -> Step:
        """The step of a request. Raises `LabError`, with every fault, for what is none here."""
        try:
            asked = json.loads(line)["step"]
            assert isinstance(asked, dict)
        except (ValueError, KeyError, TypeError, AssertionError, RecursionError):
            raise LabError('found no step, expected one JSON object a line, as {"step": {"kill": "a"}}') from None
        # Where a failure is an answer the lab goes on; after any other it is in no known state, and goes down.
        answers = any(verb.may_fail for name, verb in verbs().items() if name in asked)
        plain = {**asked, "on_failure": "continue"} if answers else asked
        longer, problems = one_more(self._model, plain)
        if problems:
            raise LabError(clean("\n".join(problems), keep=LINES))
        step = stretched(longer.timeline[-1], self.resolved.pace)
        index = len(self.resolved.timeline)
        wanted = msgspec.structs.replace(self.resolved, timeline=(*self.resolved.timeline, step))
        place = f"timeline[{index}]."
        if reasons := [reason for reason in self.backend.refuse(wanted) if reason.startswith(place)]:
            told = "\n".join(f"{self.backend.name} refuses: {reason.removeprefix(place)}" for reason in reasons)
            raise LabError(clean(told, keep=LINES))
        self._model = longer
        self._asked.append(plain)
        return step

    def write(self, run_dir: Path) -> None:
        """Make the history begin with what was played, and write it as a scenario."""
        tree = editor(4096).load(io.StringIO(self._text))
        tree["timeline"] = [*map(_plain, self._first), *self._asked]
        with (run_dir / SCENARIO).open("w", encoding="utf-8") as file:
            editor(4096).dump(tree, file)
        history = run_dir / HISTORY
        partial = history.with_name(f"{HISTORY}.new")
        with history.open("rb") as old, partial.open("wb") as new:
            meta = decode(old.readline())
            assert isinstance(meta, Meta)
            new.write(encode(msgspec.structs.replace(meta, scenario=self.resolved.to_json())))
            shutil.copyfileobj(old, new)
        partial.replace(history)


def _plain(step: Step) -> dict[str, Any]:
    """A step that brings something up as a file has it."""
    body = step.body
    said = body.model_dump(mode="json", by_alias=True, exclude_defaults=True) if isinstance(body, BaseModel) else body
    return {step.verb: said}


def _problem(index: int, event: Event) -> str:
    """As the runner says it of a scenario's own step."""
    error = event.detail.get("error", "")
    if "expect" in event.detail:
        return f"{step_number(index)}: expected {event.detail['expect']}; {error}"
    return f"{step_number(index)} failed: {event.detail['label']}: {error}"

"""A lab that a Python program controls: brought up, then given one step after another (`lab drive` in another process).

Owns that process, and the conversion of its answers to values and exceptions. The process ends when this one does, in
every case, and takes its lab down.
"""

import contextlib
import json
import os
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import msgspec

from lab import child
from lab.api.play import Given, accepted
from lab.api.played import PlayedRun, load
from lab.api.verb_methods import VerbMethods
from lab.api.verbs import step_of
from lab.errors import LabError, StepFailed, StepRefused
from lab.kinds.backends import DEFAULT
from lab.records.history import Event
from lab.records.store import ROOT
from lab.words import sample_line

__all__ = ["LiveLab"]


class LiveLab(VerbMethods):
    """A lab between `up` and `down`; also a context manager, which ends with `down`.

    Every verb of a scenario's timeline is a method: `lab.partition(groups=[["a"], ["b"]], for_="5s")`, `lab.kill("a")`,
    `lab.expect(reachable="all", within="5s")`. Each returns its event in the history. They raise `StepFailed` if the
    step or expectation fails, `StepRefused` for an invalid step, `LabError` once the lab has ended.
    """

    def __init__(
        self,
        *,
        backend: str = DEFAULT,
        seed: int | None = None,
        pace: int | None = None,
        out: str | os.PathLike[str] = ROOT,
        beside: str | os.PathLike[str] = "",
    ) -> None:
        """Parameters as in `lab.play`; a scenario file that is not in the working directory is looked up in `beside`.
        Nothing is started yet."""
        self.backend = backend
        self.name = ""
        """The argument of `lab shell HOST --name`; empty on `sim`, and before `up`."""
        self.folder: Path | None = None
        """The run's folder, from `up` on."""
        self.summary: dict[str, Any] | None = None
        """The summary of the run, once the lab has ended."""
        self._seed, self._pace, self._out, self._beside = seed, pace, Path(out).absolute(), beside
        self._process: subprocess.Popen[str] | None = None
        self._complaints: IO[str] | None = None
        self._ended = ""
        """Why the lab has ended; empty while it runs."""
        self._interrupted = False

    def __enter__(self) -> "LiveLab":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def up(self, scenario: Given) -> None:
        """Bring up the lab of a scenario and carry out its initial launch, connect, run and attach steps, as `lab up`
        does; the rest of its timeline is ignored. Raises as `lab.play` does, and `StepFailed` when one of these steps
        fails.
        """
        __tracebackhide__ = True
        if self._process is not None:
            raise LabError("this lab was brought up already: make another for another scenario")
        if isinstance(scenario, str | os.PathLike) and "\n" not in (name := os.fspath(scenario)):
            there = Path(self._beside, name)
            scenario = there if not Path(name).exists() and there.is_file() else scenario
        file = accepted(scenario, self.backend, self._seed, self._out)
        words = ["drive", str(file), "--backend", self.backend, "--out", str(self._out)]
        words += ["--seed", str(self._seed)] if self._seed is not None else []
        words += ["--pace", str(self._pace)] if self._pace is not None else []
        self._complaints = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = child.start(words, stdin=subprocess.PIPE, stderr=self._complaints)
        told = self._answer()["up"]
        self.name, self.folder = told["lab"], Path(told["run_dir"])

    def do(self, verb: str, /, *short: Any, **arguments: Any) -> Event:
        """Carry out a step: `lab.do("kill", "a")` is `lab.kill("a")`."""
        __tracebackhide__ = True
        step = step_of(verb, short, arguments)
        self._ask({"step": step})
        answer = self._answer()
        if "refused" in answer:
            raise StepRefused(answer["refused"])
        event = msgspec.convert(answer["done"], Event)
        if answer["problem"]:
            samples = [f"  {sample_line(sample)}" for sample in event.detail.get("samples") or ()]
            raise StepFailed("\n".join([answer["problem"], *samples]))
        return event

    def so_far(self) -> PlayedRun:
        """The run as recorded so far."""
        if self.folder is None:
            raise LabError("this lab was not brought up yet: `up(SCENARIO)` comes first")
        return load(self.folder)

    def down(self) -> PlayedRun:
        """End the lab, and return its run. Raises `LabError` if there is no run."""
        self.close()
        return self.so_far()

    def close(self) -> None:
        """End the lab if there is one; idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        self._ended = self._ended or "it was taken down"
        assert process.stdin is not None and process.stdout is not None
        try:
            if not self._interrupted:
                with contextlib.suppress(OSError):
                    process.stdin.write("\n")
                    process.stdin.flush()
                self._conclude(process.stdout.read())  # until it has exited, or this is interrupted
                process.wait()
        finally:
            if process.poll() is None:
                child.interrupt(process)
            for stream in (process.stdin, process.stdout, self._complaints):
                with contextlib.suppress(OSError):
                    if stream is not None:
                        stream.close()

    def _ask(self, request: dict[str, Any]) -> None:
        if self._process is None or self._ended:
            raise LabError(f"there is no lab: {self._ended}" if self._ended else "bring it up first: `up(SCENARIO)`")
        assert self._process.stdin is not None
        try:
            text = json.dumps(request, default=os.fspath)
        except (TypeError, ValueError, RecursionError) as error:
            raise StepRefused(f"this is no step: {error}; expected what a YAML file can hold") from None
        with contextlib.suppress(OSError):  # it has ended, and its last line says why
            self._process.stdin.write(text + "\n")
            self._process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        """The lab's next answer. Raises `StepFailed` or `LabError` if it has ended instead."""
        __tracebackhide__ = True
        assert self._process is not None and self._process.stdout is not None
        try:
            line = self._process.stdout.readline()
        except BaseException:
            self._interrupted = True  # the pending answer would be taken for the next step's
            raise
        if not self._conclude(line):
            answer: dict[str, Any] = json.loads(line)
            return answer
        if self.summary is None:
            self._ended = self._last_words()
        else:
            self._ended = str(self.summary.get("reason") or self.summary["verdict"])
            if self.summary["verdict"] == "invalid":
                raise StepFailed(self._ended)
        raise LabError(self._ended)

    def _conclude(self, said: str) -> bool:
        """Whether this was the lab's last answer."""
        try:
            last = json.loads(said.rstrip().rpartition("\n")[2])
        except ValueError:
            return True
        if "ended" in last:
            self.summary = last["ended"]
        return "ended" in last

    def _last_words(self) -> str:
        assert self._process is not None and self._complaints is not None
        code = self._process.wait()
        self._complaints.seek(0)
        said = self._complaints.read().strip().removeprefix("lab: ")
        return said or f"`lab drive` ended with {code} and said nothing"

"""A stored run, read from its history: tables of measurements, and the results of checkers and report.

Owns how a name is resolved to a run, and the public names of what checkers compute. Computes nothing itself: verdict,
convergence and outages come from the code that makes the report.
"""

import json
import os
from collections.abc import Callable, Iterable
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from lab.api.tables import Column, RecordTable
from lab.checkers import CheckResult, RecordedRun, Validity, Verdict, check_run
from lab.checkers.convergence import METRICS, EventConvergence
from lab.checkers.outages import Outage
from lab.checkers.run import FaultBand, PlayedStep
from lab.checkers.steady import SteadyResult, results_of
from lab.errors import LabError
from lab.records.history import AnyRecord, Event, Load, PeerGone, RunFigure, Sample, View, read
from lab.records.store import HISTORY, ROOT, SUMMARY, Expectation, find_run
from lab.records.trace import Traces
from lab.records.unreadable import understood
from lab.report.summary import settled, summarise

__all__ = ["PlayedRun", "load"]

S = TypeVar("S", bound=msgspec.Struct)


def _metric(name: str) -> Callable[[EventConvergence], int | None]:
    return lambda row: row.metrics.get(name)


def _after(name: str) -> Callable[[EventConvergence], int | None]:
    return lambda row: row.after.get(name)


def _of_series(at: int) -> Callable[[Outage], str]:
    return lambda row: row.series[at]


_CONVERGENCE = (
    Column("t_ns", "whole", lambda row: row.t),
    Column("step", "whole", lambda row: row.step),
    Column("what", "text", lambda row: row.what),
    Column("phase", "text", lambda row: row.phase),
    Column("label", "text", lambda row: row.label),
    Column("until_ns", "whole", lambda row: row.until),
    Column("ended_by", "text", lambda row: row.ended_by),
    *(Column(f"{name}_ns", "whole", _metric(name)) for name in METRICS),
    Column("half_ns", "whole", lambda row: row.half),
    Column("overall_ns", "whole", lambda row: row.overall),
    *(Column(f"{name}_after_ns", "whole", _after(name)) for name in (*METRICS, "half", "overall")),
    Column("floor_ns", "whole", lambda row: row.floor.get("overall")),
    Column("waited", "truth", lambda row: row.waited),
    Column("lapses", "whole", lambda row: sum(row.lapses.values())),
)
_OUTAGES = (
    *(Column(name, "text", _of_series(at)) for at, name in enumerate(("probe", "source", "target"))),
    Column("start_ns", "whole", lambda row: row.start),
    Column("end_ns", "whole", lambda row: row.end),
    Column("tries", "whole", lambda row: len(row.tries)),
    Column("ended", "truth", lambda row: row.ended),
)

_STEADY = (
    *(
        Column(name, "text", attrgetter(name))
        for name in ("name", "words", "state", "reason", "before", "during", "after")
    ),
    *(Column(name, "whole", attrgetter(name)) for name in ("windows", "tries")),
    Column("breaks", "whole", lambda row: len(row.breaks)),
)


def load(run: str | os.PathLike[str], *, root: str | os.PathLike[str] = ROOT) -> "PlayedRun":
    """A stored run: its folder, its history file, or a name below `root`, such as `partition` (its latest run) or
    `partition/20260102T030405Z`. Raises `LabError` if there is none, `Unreadable` for files that a run cannot have
    written.
    """
    path = Path(run)
    history = path.resolve() if path.is_file() else find_run(os.fspath(run), Path(root)) / HISTORY
    with understood(history):
        return PlayedRun(history, read(history))


class PlayedRun:
    """A stored run. Times are integer nanoseconds since its start, as in its history."""

    resolution: Literal["ns"] = "ns"
    """The unit of every time, here and in frames."""

    def __init__(self, history: Path, records: Iterable[AnyRecord]) -> None:
        """See `load`."""
        self.history = history
        """The history file, from which everything else is computed (docs/results.md)."""
        self.folder = history.parent
        """The run's folder, with its summary and its report."""
        self._run = RecordedRun(records)

    def __repr__(self) -> str:
        return f"<run of {self.scenario['name'] if self.scenario else '?'} on {self.backend}: {self.verdict}>"

    # The scenario

    @property
    def scenario(self) -> dict[str, Any]:
        """The resolved scenario as plain data; empty when the history has no first line."""
        return dict(self._run.scenario)

    @property
    def backend(self) -> str:
        """The name of the backend."""
        return self._run.meta.backend if self._run.meta else ""

    @property
    def seed(self) -> int:
        """The seed of all randomness in the run."""
        return self._run.meta.seed if self._run.meta else 0

    @property
    def duration(self) -> int:
        """Nanoseconds from the first record to the last."""
        return self._run.end - self._run.start

    # Tables

    @cached_property
    def samples(self) -> RecordTable[Sample]:
        """Every try of every probe, in order of report."""
        return self._all(Sample)

    @cached_property
    def events(self) -> RecordTable[Event]:
        """All actions, and every expectation that was judged."""
        return self._all(Event)

    @cached_property
    def views(self) -> RecordTable[View]:
        """The views of each peer, with the time from which each was held."""
        return self._all(View)

    @cached_property
    def gone(self) -> RecordTable[PeerGone]:
        """The stops of peers."""
        return self._all(PeerGone)

    @cached_property
    def loads(self) -> RecordTable[Load]:
        """The load of the machine; empty for simulated runs."""
        return self._all(Load)

    @cached_property
    def steps(self) -> RecordTable[PlayedStep]:
        """The timeline as carried out: each step with its start and its end."""
        return RecordTable(PlayedStep, self._run.steps)

    @cached_property
    def faults(self) -> RecordTable[FaultBand]:
        """Faults with their start and end, as the report shades them."""
        return RecordTable(FaultBand, self._run.bands)

    @cached_property
    def outages(self) -> RecordTable[Outage]:
        """Rows of failed tries, pair by pair, as in the report."""
        found = (outage for outages in self._run.outages.values() for outage in outages)
        return RecordTable(Outage, found, _OUTAGES)

    @cached_property
    def convergence(self) -> RecordTable[EventConvergence]:
        """Each change, and the time until each view agreed again."""
        return RecordTable(EventConvergence, self._run.convergence, _CONVERGENCE)

    @cached_property
    def steady(self) -> RecordTable[SteadyResult]:
        """The result of each condition of the steady state: `state` is held, broken or unknown."""
        return RecordTable(SteadyResult, results_of(self._run), _STEADY)

    @cached_property
    def expectations(self) -> RecordTable[Expectation]:
        """The result of each `expect` step."""
        return RecordTable(Expectation, msgspec.convert(self.summary["expectations"], tuple[Expectation, ...]))

    @cached_property
    def figures(self) -> dict[str, float]:
        """The figures of a run of a protocol overlay (docs/protocols.md)."""
        return {record.name: record.value for record in self._run.records if isinstance(record, RunFigure)}

    @cached_property
    def trace(self) -> Traces:
        """Counters and deliveries of a run that was played with --trace: `.messages`, `.deliveries` … as Arrow tables,
        `.frame("messages")` as a data frame."""
        return Traces(self.folder)

    # Verdicts

    @property
    def verdict(self) -> Validity:
        """valid, invalid or unknown: the worst of the checks, as in `lab check`."""
        return self._verdict.verdict

    @property
    def checks(self) -> tuple[CheckResult, ...]:
        """The result of each checker."""
        return self._verdict.results

    @cached_property
    def reason(self) -> str:
        """Why the run is not valid, from `lab run` or otherwise from the checks; empty if it is valid."""
        if self.verdict == "valid":
            return ""
        try:
            told = json.loads((self.folder / SUMMARY).read_text(encoding="utf-8"))["reason"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            told = ""
        bad = (check for check in self.checks if check.verdict == self.verdict)
        return str(told) or "; ".join(f"{check.checker}: {check.summary}" for check in bad)

    @property
    def longest_outage(self) -> Outage | None:
        """The longest outage of any pair; None when no try failed."""
        return self._run.longest_outage

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The numbers of the run as plain data: the fields of `summary.json` that come from its history."""
        with understood(self.history):
            return settled(summarise(self._run, self._verdict))

    def report(self) -> Path:
        """Draw the report (figures and page) into the run's folder; returns the page's path."""
        from lab.records.store import INDEX
        from lab.report import write_report

        if self.history.name != HISTORY:
            raise LabError(f"{self.history} is no run's {HISTORY}: put it into a folder of its own under that name")
        with understood(self.history):
            write_report(self.folder)
        return self.folder / INDEX

    @cached_property
    def _verdict(self) -> Verdict:
        with understood(self.history):
            return check_run(self._run)

    def _all(self, kind: type[S]) -> RecordTable[S]:
        return RecordTable(kind, (record for record in self._run.records if isinstance(record, kind)))

"""Checkers: pure functions from a recorded history to valid, invalid or unknown, merged worst first.

Each can be run again on a stored history (`lab check RUN`). The list is explicit: a new checker is a function from a
`RecordedRun` to a `CheckResult` that is added here.
"""

from collections.abc import Callable, Iterable

from lab.checkers.dns import check_dns
from lab.checkers.expectations import check_expectations, check_steps
from lab.checkers.reachability import check_reachability
from lab.checkers.run import RecordedRun
from lab.checkers.schedule import check_schedule
from lab.checkers.settled import check_settled
from lab.checkers.steady import check_steady
from lab.checkers.verdict import EXIT_CODES, CheckResult, Validity, Verdict, merge
from lab.records.history import AnyRecord

__all__ = ["CHECKERS", "EXIT_CODES", "CheckResult", "RecordedRun", "Validity", "Verdict", "check", "check_run", "merge"]

CHECKERS: tuple[Callable[[RecordedRun], CheckResult], ...] = (
    check_steps,
    check_expectations,
    check_settled,
    check_reachability,
    check_dns,
    check_schedule,
)


def check_run(run: RecordedRun) -> Verdict:
    """Run all checkers over a `RecordedRun`."""
    checkers = (*CHECKERS, check_steady) if run.scenario.get("steady") else CHECKERS
    results = tuple(checker(run) for checker in checkers)
    return Verdict(verdict=merge(result.verdict for result in results), results=results)


def check(records: Iterable[AnyRecord]) -> Verdict:
    """Run all checkers over the records of a history, in file order."""
    return check_run(RecordedRun(records))

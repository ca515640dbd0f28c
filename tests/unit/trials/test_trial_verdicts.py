"""The verdict of a run as the answer of a trial: what is a doubt about an overlay, and what is none."""

from lab.checkers.verdict import CheckResult, Validity
from lab.trials.playing import judged


def check(checker: str, verdict: Validity = "valid", *, found: bool = False) -> CheckResult:
    findings = ({"busy": True},) if found else ()
    return CheckResult(checker=checker, verdict=verdict, summary="", findings=findings)


ASKED = (check("steps"), check("expectations"), check("settled"))


def test_tries_that_nobody_could_judge_are_no_doubt() -> None:
    assert judged("unknown", [*ASKED, check("reachability", "unknown")]) == "valid"


def test_a_busy_machine_is_a_doubt() -> None:
    assert judged("unknown", [*ASKED, check("reachability", "unknown", found=True)]) == "unknown"
    assert judged("unknown", [*ASKED, check("reachability", "unknown"), check("schedule", "unknown")]) == "unknown"


def test_a_run_that_did_not_answer_stays_unknown() -> None:
    assert judged("unknown", []) == "unknown"
    assert judged("unknown", [*ASKED[:2], check("reachability", "unknown")]) == "unknown"
    assert judged("invalid", [*ASKED, check("reachability", "invalid")]) == "invalid"
    assert judged("valid", ASKED) == "valid"

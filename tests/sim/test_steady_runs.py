"""Scenarios with a steady state, played on the simulator: verdicts, exit codes, `abort`, summary, page and API."""

import pytest

import lab
from lab.scenario.load import ScenarioError


def scenario(**more):
    steady = {"from": "client", "to": "web", "success": "99%", "p99": "50ms", "window": "2s", **more}
    return {
        "version": 1,
        "name": "steady",
        "underlay": {"hosts": {"a": {}, "b": {}}},
        "services": {
            "web": {"image": "ksahnine/dummy-http", "args": ["web"], "host": "a"},
            "client": {"image": "ksahnine/dummy-http", "args": ["client"], "host": "b"},
        },
        "probes": [{"kind": "http", "from": "client", "to": "web", "every": "20ms", "timeout": "500ms"}],
        "steady": {"shop": steady},
        "timeline": [
            {"launch": "all"},
            {"connect": "all"},
            {"run": "all"},
            {"wait": "3s"},
            {"partition": {"groups": [["a"], ["b"]]}, "for": "4s"},
            {"wait": "8s"},
            {"kill": "a", "for": "1s"},
        ],
    }


def test_a_steady_state_that_may_break_holds_again(tmp_path):
    run = lab.play(scenario(may_break="partition", again_within="3s"), backend="sim", out=tmp_path, figures=True)
    assert run.verdict == "valid", run.reason
    (row,) = run.steady
    assert (row.before, row.during, row.after) == ("held", "broken", "held")
    assert run.summary["steady"][0]["state"] == "held" and run.summary["steady"][0]["name"] == "shop"
    told = [event.detail["label"] for event in run.events if event.what == "steady"]
    assert len(told) == 2 and "as partition a | b may" in told[0] and "holds again" in told[1]
    assert "while it may break" in (run.folder / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("abort", [False, True])
def test_one_that_may_not_break_makes_the_run_invalid(tmp_path, abort):
    run = lab.play(scenario(abort=abort), backend="sim", out=tmp_path)
    assert run.verdict == "invalid" and "during partition a | b" in run.reason
    reached = {event.step for event in run.events}
    assert (6 in reached) is not abort, "with abort the run stops, so the kill is never reached"
    assert next(check for check in run.checks if check.checker == "steady").verdict == "invalid"


def test_what_does_not_hold_before_the_first_fault_stops_it(tmp_path):
    run = lab.play(scenario(p99="1us", abort=True), backend="sim", out=tmp_path)
    assert run.verdict == "invalid" and "did not hold before the first fault" in run.reason
    assert not run.faults, "nothing was broken"


def test_too_few_tries_are_refused_before_and_unknown_after(tmp_path):
    with pytest.raises(ScenarioError, match="at most 5 tries, expected at least 100 tries to judge it by"):
        lab.play(scenario(window="100ms"), backend="sim", out=tmp_path)
    asked = scenario(may_break="all")
    asked["timeline"] = [*asked["timeline"][:3], {"partition": {"groups": [["a"], ["b"]]}, "for": "1s"}]
    run = lab.play(asked, backend="sim", out=tmp_path)
    assert run.verdict == "unknown" and "no try was made before the first fault" in run.reason

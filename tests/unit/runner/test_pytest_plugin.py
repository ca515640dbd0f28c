"""What the plugin collects, what it leaves alone, and how it explains a failure."""

import json
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from lab.child import summary_in
from lab.pytest_plugin.scenarios import _explain
from lab.scenario.load import parse
from lab.scenario.resolve import resolve

pytest_plugins = ["pytester"]
# Where the distribution is installed pytest has loaded the plugin already, and refuses to do so twice.
PLUGIN = (
    () if any(point.name == "overlay_lab" for point in entry_points(group="pytest11")) else ("-p", "lab.pytest_plugin")
)
GOOD = "# Does it work?\nversion: 1\nunderlay: {hosts: {a: {}}}\ntimeline:\n  - wait: 1s\n"


def test_scenarios_are_collected_by_their_question_and_other_yaml_is_not(pytester: pytest.Pytester) -> None:
    pytester.makefile(
        ".yaml", good=GOOD, other="version: 1\nservices: {}\n", broken="a: [", words="timeline: of a story"
    )
    result = pytester.runpytest_inprocess(*PLUGIN, "--collect-only", "-q")
    result.stdout.fnmatch_lines(["good.yaml::Does it work?"])
    assert "1 test collected" in result.stdout.str()


def test_scenarios_in_json_are_collected_too(pytester: pytest.Pytester) -> None:
    tree = {"version": 1, "underlay": {"hosts": {"a": {}}}, "timeline": [{"wait": "1s"}]}
    pytester.makefile(".yaml", line=json.dumps(tree), block="# Is it?\n" + json.dumps(tree, indent=2))
    pytester.makefile(".yaml", marked="\ufeff" + GOOD, quoted=GOOD.replace("version", '"version"'))
    resolved = json.dumps(resolve(parse(json.dumps(tree))).to_json())
    pytester.makefile(".json", scenario=json.dumps(tree), resolved=resolved, other='{"version": 1}')
    result = pytester.runpytest_inprocess(*PLUGIN, "--collect-only", "-q")
    result.stdout.fnmatch_lines_random(
        [
            "line.yaml::line",
            "block.yaml::Is it?",
            "marked.yaml::Does it work?",
            "quoted.yaml::Does it work?",
            "scenario.json::scenario",
        ]
    )
    assert "5 tests collected" in result.stdout.str()


def test_what_runs_write_is_collected_only_where_it_is_named(pytester: pytest.Pytester) -> None:
    pytester.makefile(".yaml", good=GOOD)
    pytester.mkdir("reports").joinpath("kept.yaml").write_text(GOOD)
    for word, wanted in ((".", "good"), ("reports", "kept"), ("reports/kept.yaml", "kept")):
        result = pytester.runpytest_inprocess(*PLUGIN, "--collect-only", "-q", word)
        assert f"{wanted}.yaml::" in result.stdout.str() and "1 test collected" in result.stdout.str()


def test_a_bad_scenario_fails_collection_with_its_place(pytester: pytest.Pytester) -> None:
    pytester.makefile(".yaml", bad=GOOD.replace("- wait: 1s", "- wiat: 1s"))
    result = pytester.runpytest_inprocess(*PLUGIN)
    result.stdout.fnmatch_lines(["*bad.yaml:5:5: timeline*found the key 'wiat'*did you mean 'wait'?"])
    result.assert_outcomes(errors=1)


def test_a_failure_shows_expectation_samples_and_the_command_that_reruns_it() -> None:
    sample = {"t": 1_500_000_000, "probe": "http", "source": "one", "target": "two", "ok": False, "error": "timeout"}
    text = _explain(
        {
            "verdict": "invalid",
            "reason": "step 3",
            "expectations": [
                {"ok": False, "text": "reachable all", "error": "one → two: timeout", "samples": [sample]}
            ],
            "checks": [{"checker": "dns", "verdict": "invalid", "summary": "Stale."}],
            "run_dir": "reports/x/1",
            "replay": "lab run x.yaml --seed 3",
        },
        "",
    )
    for words in ("reachable all", "1.50s http one → two: failed (timeout)", "dns: Stale.", "lab run x.yaml --seed 3"):
        assert words in text


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (["valid"], 0),
        (["valid", "unknown"], 3),
        (["unknown", "invalid"], 1),
        (["unknown", "fails"], 1),
        (["unwritten"], 3),
    ],
)
def test_1_means_that_something_failed_and_3_that_it_is_not_known(
    verdicts: list[str], code: int, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What plays the scenario is a stand-in: it ends at once as the file's name says."""
    for verdict in verdicts:
        if verdict == "fails":
            pytester.makepyfile(test_other="def test_fails():\n    assert False\n")
        else:
            pytester.makefile(".yaml", **{verdict: GOOD})

    class Ended:
        def __init__(self, words: list[str]) -> None:
            self.verdict = Path(words[1]).stem
            self.returncode = {"valid": 0, "invalid": 1}.get(self.verdict, 3)

    def finish(ended: Ended) -> tuple[str, str]:
        told = "valid" if ended.verdict == "unwritten" else ended.verdict
        return json.dumps({"verdict": told, "run_dir": "x", "replay": "lab run x"}), ""

    monkeypatch.setattr("lab.child.start", Ended)
    monkeypatch.setattr("lab.child.finish", finish)
    assert pytester.runpytest_inprocess(*PLUGIN).ret == code


def test_only_a_last_line_with_a_verdict_is_asummary_in() -> None:
    assert summary_in('text\n{"verdict": "valid"}\n') == {"verdict": "valid"}
    assert summary_in("Traceback\n") is None and summary_in("[1]") is None and summary_in("") is None

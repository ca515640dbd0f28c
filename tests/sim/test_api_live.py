"""A lab that a program holds, in virtual time: steps, their failures, and what its run leaves behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lab
from lab.pytest_plugin.live import unasked

pytest_plugins = ["pytester"]
PLUGIN = () if "lab.pytest_plugin" in sys.modules else ("-p", "lab.pytest_plugin")
SCENARIO = """\
# Who is still there?
version: 1
name: live
underlay: {hosts: {a: {}, b: {}}}
services: {web: {image: ksahnine/dummy-http, args: [web], replicas: 2}}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {converged: all}
  - kill: a
"""


@pytest.fixture
def live(tmp_path: Path) -> Iterator[lab.LiveLab]:
    """Up."""
    with lab.LiveLab(backend="sim", seed=5, out=tmp_path) as found:
        found.up(SCENARIO)
        yield found


def command(*words: str, out: int = subprocess.PIPE, text: str = "") -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-m", "lab.cli", *words]
    return subprocess.run(argv, input=text, stdout=out, stderr=subprocess.PIPE, text=True)


def test_a_run_of_steps_is_a_run_like_any_other(live: lab.LiveLab, tmp_path: Path) -> None:
    """It is replayed to the byte from its history, and is the run of the scenario that is written beside it."""
    assert [step.what for step in live.so_far().steps] == ["up", "launch", "connect", "run"]
    live.expect(converged="all", within="10s")
    begun = live.partition(groups=[["a"], ["b"]], for_="3s").t
    live.expect(unreachable={"from": "web-1", "to": "web-2"}, within="2s")
    live.wait("4s")
    assert live.exec(host="a", command="hostname").detail["stdout"] == "a\n"
    live.scale(service="web", to=3)
    settled = live.expect(converged="all", within="10s")
    assert settled.ok and settled.t >= begun + 3_000_000_000
    run = live.down()
    assert run.verdict == "valid", run.reason
    assert [step["verb"] for step in run.scenario["timeline"]][3:6] == ["expect", "partition", "expect"]
    replayed = command("replay", str(run.folder))
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    file = run.folder / "scenario.yaml"
    played = lab.play(file, backend="sim", seed=5, out=tmp_path / "again")
    assert played.history.read_bytes() == run.history.read_bytes()
    told = json.loads((run.folder / "summary.json").read_text())
    assert told["verdict"] == "valid" and told["file"] == str(file) and "replay" in told["replay"]
    with pytest.raises(lab.LabError, match="there is no lab: it was taken down"):
        live.heal()


def test_an_expectation_fails_with_the_sentence_of_the_command(live: lab.LiveLab, tmp_path: Path) -> None:
    live.partition(groups=[["a"], ["b"]])
    with pytest.raises(lab.StepFailed) as caught:
        live.expect(reachable="all", within="3s")
    sentence, *samples = str(caught.value).splitlines()
    assert sentence.startswith("step 5: expected reachable all within 3s; http web-1 → web-2: ")
    assert samples and "http web-1 → web-2: failed (" in samples[0]
    with pytest.raises(lab.StepFailed, match=r"step 6 failed: exec a: false: .*exit code 1, expected 0"):
        live.exec(host="a", command="false")
    live.heal()
    live.expect(reachable="all", within="10s")  # the lab goes on
    run = live.down()
    assert run.verdict == "invalid" and run.reason.startswith("step 5: reachable all within 3s")
    assert [found.ok for found in run.expectations] == [False, True]
    file = tmp_path / "the-same.yaml"
    file.write_text((run.folder / "scenario.yaml").read_text().replace("on_failure: continue", "on_failure: abort"))
    assert sentence in lab.play(file, backend="sim", seed=5, out=tmp_path).reason
    assert unasked(live.summary or {}) == []


def test_what_is_no_step_is_refused_and_changes_nothing(live: lab.LiveLab) -> None:
    before = len(live.so_far().events)
    with pytest.raises(lab.StepRefused, match=r"kill.daemon: found 'c', expected a host: a, b"):
        live.kill("c")
    with pytest.raises(lab.StepRefused, match=r"sim refuses: exec: .*tcpdump"):
        live.exec(host="a", command="tcpdump")
    with pytest.raises(lab.StepRefused, match="this is no step"):
        live.kill({1, 2})
    assert len(live.so_far().events) == before
    live.kill("a", for_="1s")
    assert live.down().verdict == "valid"


def test_after_a_step_in_no_known_state_there_is_no_lab(live: lab.LiveLab) -> None:
    with pytest.raises(lab.StepFailed, match="step 4 failed: run web: web-1 was started already"):
        live.run("web")
    with pytest.raises(lab.LabError, match="there is no lab: step 4 failed"):
        live.wait("1s")
    assert live.down().verdict == "invalid"


def test_a_first_step_that_fails_is_told(tmp_path: Path) -> None:
    text = SCENARIO.replace("  - run: all", "  - run: all\n  - run: web")
    with (
        lab.LiveLab(backend="sim", out=tmp_path) as live,
        pytest.raises(lab.StepFailed, match="step 4 failed: run web"),
    ):
        live.up(text)
    with lab.LiveLab(backend="sim", out=tmp_path) as live:
        with pytest.raises(lab.ScenarioError, match="scenario:4:20: "):
            live.up(SCENARIO.replace("hosts: {a", "hosts: {a b"))
        live.up(SCENARIO)
        with pytest.raises(lab.LabError, match="brought up already"):
            live.up(SCENARIO)


def test_a_lab_that_is_killed_says_so(live: lab.LiveLab) -> None:
    assert live._process is not None
    os.kill(live._process.pid, signal.SIGKILL)
    with pytest.raises(lab.LabError, match="`lab drive` ended with -9 and said nothing"):
        live.wait("1s")
    assert live.down().verdict == "unknown"


def test_the_protocol_of_other_languages(tmp_path: Path) -> None:
    file = tmp_path / "live.yaml"
    file.write_text(SCENARIO)
    words = ("drive", str(file), "--backend", "sim", "--out", str(tmp_path))
    asked = ["news", "[]", '{"step": 3}', "[" * 5000, '{"step": {"wait": "1s"}}', ""]
    done = command(*words, text="\n".join(asked) + "\n")
    up, *answers, ended = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 0 and up["up"]["backend"] == "sim", done.stderr
    assert [next(iter(answer)) for answer in answers] == ["refused"] * 4 + ["done"]
    assert "found no step, expected one JSON object a line" in answers[0]["refused"]
    assert ended["ended"]["verdict"] == "valid"
    done = command(*words, text='{"step": {"wait": "1s"}}\n')
    summary = json.loads(done.stdout.splitlines()[-1])["ended"]
    assert (done.returncode, summary["verdict"]) == (3, "unknown")
    assert summary["reason"] == "the program that drove the lab went away"


@pytest.mark.parametrize(
    ("summary", "lines"),
    [
        ({"verdict": "valid", "checks": [{"checker": "dns", "verdict": "valid", "summary": ""}]}, []),
        ({"verdict": "invalid", "reason": "step 3: reachable all", "checks": []}, []),
        ({"verdict": "invalid", "reason": "invariant: x", "checks": []}, ["invariant: x"]),
        (
            {"verdict": "invalid", "checks": [{"checker": "dns", "verdict": "invalid", "summary": "Stale."}]},
            ["dns: Stale."],
        ),
    ],
)
def test_what_a_test_did_not_ask_about(summary: dict[str, Any], lines: list[str]) -> None:
    assert unasked(summary) == lines


def test_the_fixture(pytester: pytest.Pytester) -> None:
    """A test that holds, one that does not, one that is at fault itself, and one whose daemon goes away unasked."""
    pytester.mkdir("inner").joinpath("live.yaml").write_text(SCENARIO)
    pytester.makepyfile(
        **{
            "inner/test_inner": """
            import pytest
            from lab import LiveLab, StepFailed, StepRefused

            def test_holds(lab: LiveLab) -> None:
                lab.up("live.yaml")
                lab.kill(host="b")
                lab.expect(unreachable={"from": "web-1", "to": "web-2"}, within="5s")
                lab.restart(host="b")
                lab.expect(reachable="all", within="20s")

            def test_does_not_hold(lab: LiveLab) -> None:
                lab.up("live.yaml")
                lab.partition(groups=[["a"], ["b"]])
                lab.expect(reachable="all", within="3s")

            def test_at_fault(lab: LiveLab) -> None:
                lab.up("live.yaml")
                assert lab.wait("1s").detail == 3

            def test_never_up(lab: LiveLab) -> None:
                pass
            """
        }
    )
    result = pytester.runpytest_inprocess(
        *PLUGIN, "-q", "--lab-backend", "sim", "--lab-seed", "9", "inner/test_inner.py"
    )
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(
        [
            '>*lab.expect(reachable="all", within="3s")',
            "E*StepFailed: step 5: expected reachable all within 3s; http web-1 → web-2: *",
            "*test_inner.py:*: StepFailed",
            "run:    *reports/live/*",
            "replay: lab replay *",
            "E*assert *",
        ]
    )
    assert "live.py" not in result.stdout.str().replace("test_api_live.py", ""), "no traceback through the API"
    runs = sorted(path for path in pytester.path.glob("reports/live/*") if not path.is_symlink())
    assert [lab.load(run).seed for run in runs] == [9, 9, 9]
    assert sorted(lab.load(run).verdict for run in runs) == ["invalid", "valid", "valid"]

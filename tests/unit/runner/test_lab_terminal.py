"""What the lab prints on a terminal: words of scenarios, containers and engines drive nothing there."""

from typing import Any

import pytest

from lab.cli.progress import ProgressPrinter, samples_table
from lab.errors import LabError, Violation
from lab.runner.runner import Progress
from lab.scenario.load import ScenarioError, parse

HOSTILE = "name\x1b]0;owned\x07\u202egnp\x9b31m\r"


def harmless(text: str) -> bool:
    return all(char.isprintable() or char == "\n" for char in text)


def test_a_step_its_note_and_its_samples(capsys: pytest.CaptureFixture[str]) -> None:
    sample = {"t": 1, "probe": "dns", "source": HOSTILE, "target": HOSTILE, "ok": False, "error": HOSTILE}
    samples = ({**sample, "answers": [HOSTILE]},)
    step = Progress(t=1, step=1, label=HOSTILE, ok=False, took=5, note=f"first {HOSTILE}\nsecond", samples=samples)
    ProgressPrinter().progress(step)
    said = capsys.readouterr().out
    assert harmless(said) and "first name\\x1b]0;owned" in said
    assert len(said.splitlines()) == 4
    samples_table([sample])
    assert harmless(capsys.readouterr().out)


def test_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    check = {"checker": "dns", "verdict": "invalid", "summary": HOSTILE}
    change = {"t": 1, "label": HOSTILE, "topology": 5}
    summary: dict[str, Any] = {"verdict": "invalid", "reason": f"{HOSTILE}\nmore", "replay": "lab run x"}
    ProgressPrinter().end({**summary, "checks": [check], "convergence": [change]}, "index.html")
    said = capsys.readouterr().out
    assert harmless(said) and "\n  more\n" in said


def test_errors() -> None:
    for error in (LabError(f"{HOSTILE}\nsecond line"), Violation("what", HOSTILE)):
        assert harmless(str(error))
    assert "\nsecond line" in str(LabError("first\nsecond line"))
    with pytest.raises(ScenarioError) as found:
        parse('hosts: 2\nnetworks: "\\e]0;owned\\a\\u202e"\n"\\e[31m": 1\n')
    assert harmless(str(found.value)) and "\\x1b[31m" in str(found.value)

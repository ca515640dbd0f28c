"""A standing lab that died: a command for it says what died and what to do; one that was taken down is forgotten."""

import json
from pathlib import Path

import pytest

from lab.cli import ended
from lab.errors import LabError
from lab.records.store import SUMMARY

NAME = "a lab that nobody has"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def told(verdict: str, reason: str, run: Path) -> str:
    run.mkdir(exist_ok=True)
    (run / SUMMARY).write_text(json.dumps({"verdict": verdict, "reason": reason}))
    ended.remember(NAME, run, Path("my lab.yaml"))
    with pytest.raises(LabError) as caught:
        ended.find_running(NAME)
    return str(caught.value)


def test_what_died_and_what_to_do(tmp_path: Path) -> None:
    first, *rest = told("unknown", "the lab's relay has ended by itself", tmp_path / "a run").splitlines()
    assert first.startswith(f"no lab named {NAME} runs; running: ")
    assert rest[0].startswith(f"what became of {NAME}: it ended at ")
    assert "the lab's relay has ended by itself. Its hosts, containers and faults ended with it" in rest[0]
    assert rest[1].endswith(f"report '{tmp_path / 'a run'}'")
    assert rest[2].endswith(f"save FILE --run '{tmp_path / 'a run'}'")
    assert rest[3].endswith(f"up '{Path('my lab.yaml').absolute()}' --name '{NAME}'")
    assert "its runner or its supervisor was killed" in told("unknown", "the run was killed", tmp_path / "a run")


def test_a_lab_that_was_taken_down_or_of_which_nothing_can_be_read(tmp_path: Path, cache: Path) -> None:
    assert "\n" not in told("valid", "", tmp_path / "run")
    assert "\n" in told("invalid", "step 4: expect", tmp_path / "run")
    ended.forget(NAME)
    with pytest.raises(LabError, match=r"^no lab named [^\n]*$"):
        ended.find_running(NAME)
    ended.remember(NAME, tmp_path / "gone", Path("x"))
    (note,) = cache.rglob("*.json")
    for text in ("", "[]", '{"run_dir": 4}'):
        note.write_text(text)
        with pytest.raises(LabError, match=r"^no lab named [^\n]*$"):
            ended.find_running(NAME)


def test_notes_are_few(tmp_path: Path, cache: Path) -> None:
    for number in range(70):
        ended.remember(f"lab {number}", tmp_path, Path("x"))
    assert len(list(cache.rglob("*.json"))) == 64

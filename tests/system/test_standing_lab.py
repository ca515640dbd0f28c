"""Hands on a standing lab, over its control socket: steps, leases, undoing, two at a time, and what its run says."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from standing_labs import ask, lab, standing
from waiting import eventually

from lab.errors import LabError
from lab.records.history import Event, Meta, read

SECOND = 1_000_000_000


def test_steps_by_hand_are_in_the_history_with_who_and_when(tmp_path: Path) -> None:
    with standing(tmp_path) as name:
        (row,) = json.loads(lab("runs", "--json", cwd=tmp_path).stdout)
        assert row["verdict"] == "running" and row["reason"] == ""
        state = ask(name, "state")
        assert state["faults"] == [] and Path(state["run_dir"]) == tmp_path / "reports" / row["run"]
        assert list(state["scenario"]["underlay"]["hosts"]) == ["a", "b", "c"]

        cut = {"partition": {"groups": [["a"], ["b"]]}}
        done = ask(name, "step", step=cut, by="ada (pts/1)")
        assert done["index"] == 3 and done["event"]["ok"]
        assert ask(name, "inspect")["cut"]
        (fault,) = ask(name, "state")["faults"]
        assert (fault["step"], fault["by"], fault["until"]) == (3, "ada (pts/1)", None)
        assert fault["since"] == done["event"]["t"] and fault["label"] == "partition a | b | c"

        leased = ask(name, "step", step={"kill": "b"}, by="bob", lease=SECOND // 10)
        eventually(lambda: len(ask(name, "state")["faults"]) == 1)
        undone = ask(name, "undo", by="eve")
        assert undone["index"] == 3 and undone["event"]["detail"]["by"] == "eve"
        assert not ask(name, "inspect")["cut"] and ask(name, "state")["faults"] == []
        asked = ask(name, "step", step={"expect": {"reachable": "all", "within": "60s"}}, by="bob")
        assert asked["event"]["ok"]
        lab("down", "--name", name, cwd=tmp_path)

    run_dir = Path(state["run_dir"])
    summary = json.loads((run_dir / "summary.json").read_text())
    assert summary["verdict"] == "valid" and summary["reason"] == "", summary
    (row,) = json.loads(lab("runs", "--json", cwd=tmp_path).stdout)
    assert row["verdict"] == "valid"
    meta, *records = read(run_dir / "history.jsonl")
    assert isinstance(meta, Meta)
    assert [step["verb"] for step in meta.scenario["timeline"]][3:] == ["partition", "kill", "expect"]
    told = [one.detail for one in records if isinstance(one, Event) and one.phase == "start" and one.step > 2]
    assert [(one["by"], one["asked"]) for one in told] == [
        ("ada (pts/1)", cut),
        ("bob", {"kill": "b", "for": "100ms"}),
        ("bob", {"expect": {"reachable": "all", "within": "60s"}, "on_failure": "continue"}),
    ]
    assert leased["index"] == 4


def test_what_makes_no_sense_now_is_refused_and_touches_nothing(tmp_path: Path) -> None:
    with standing(tmp_path) as name:
        run_dir = Path(ask(name, "state")["run_dir"])

        def events() -> list[Event]:
            return [one for one in read(run_dir / "history.jsonl") if isinstance(one, Event)]

        ask(name, "step", step={"kill": {"host": "c"}}, by="ada")
        before = events()
        for request, says in (
            ({"step": {"kill": "bb"}}, "found 'bb', expected a host: a, b, c; did you mean 'b'"),
            (
                {"step": {"heal": "all"}},
                r"nothing to heal: no partition, and no change of a link; in force: kill host c \(step 4\)",
            ),
            ({"step": {"kill": "a", "at": "3s"}}, "found `at` in a step by hand"),
            ({"step": {"kill": "a"}, "lease": 0}, "the lease 0, expected nanoseconds above 0"),
            ({"step": {"heal": "all"}, "lease": SECOND}, "`for` with"),
            ({"step": ["kill"]}, "found no step, expected one as a scenario has it"),
            ({"step": {"klil": "a"}}, "did you mean 'kill'"),
        ):
            with pytest.raises(LabError, match=says):
                ask(name, "step", **request)
        with pytest.raises(LabError, match=r"step 9 cannot be undone: .*; in force: kill host c \(step 4\)"):
            ask(name, "undo", index=8)
        assert events() == before
        # What is tried and fails is told, and is no failure of the run.
        failed = ask(name, "step", step={"run": "web"}, by="bob")["event"]
        assert not failed["ok"] and "web-1 was started already" in failed["detail"]["error"]
        ask(name, "undo")
        with pytest.raises(LabError, match=r"there is no move to undo: .*; nothing is in force"):
            ask(name, "undo")
        lab("down", "--name", name, cwd=tmp_path)
    assert lab("check", str(run_dir), cwd=tmp_path).returncode == 0


def test_two_hands_take_turns_and_the_second_is_told(tmp_path: Path) -> None:
    with standing(tmp_path) as name:
        answers: dict[str, dict[str, Any]] = {}
        refused: dict[str, str] = {}

        def hand(who: str) -> None:
            try:
                answers[who] = ask(name, "step", step={"heal": "all"}, by=who, seen=1)
            except LabError as error:
                refused[who] = str(error)

        ask(name, "step", step={"partition": {"isolate": "a"}}, by="ada")
        both = [threading.Thread(target=hand, args=(who,)) for who in ("bob", "eve")]
        for one in both:
            one.start()
        for one in both:
            one.join()
        (first,), (second,) = answers, refused
        assert {first, second} == {"bob", "eve"}
        assert "nothing to heal" in refused[second] and f"; meanwhile {first} did `heal all`" in refused[second]
        told = ask(name, "step", step={"kill": "a"}, by="eve", seen=1, lease=SECOND // 100)["meanwhile"]
        assert [(one["by"], one["label"]) for one in told] == [(first, "heal all")]

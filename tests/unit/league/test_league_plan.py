"""Which overlays words mean, which runs a league has, what they are known by, and how long they take."""

from pathlib import Path

import msgspec
import pytest

from lab.errors import LabError
from lab.league.plan import LeagueRun, estimate, matches, pairings, questions_of, repeats_of
from lab.league.play import open_ledger
from lab.scenario.load import read
from lab.trials.entries import entries_of, entry_of
from lab.trials.questions import QUESTIONS
from lab.trials.trial import Entry, OverlayFacts


def test_words_of_entries() -> None:
    assert entry_of("weave") == Entry(label="weave", kind="weave")
    assert entry_of("weave:sleeve").options == {"fastdp": False}
    assert entry_of("vxlan:mtu=1300").options == {"mtu": 1300}
    assert [entry.label for entry in entries_of(["none,vxlan", "none"])] == ["none", "vxlan"]


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("weev", "no overlay named 'weev'"),
        ("weave:slaeve", "no such variant; expected one of weave's own \\(sleeve, encrypted\\)"),
        ("vxlan:mut=1", "found the option 'mut'"),
        ("vxlan@2", "vxlan takes no version: say what differs as options"),
        ("swim", "a protocol for simulated hosts"),
        ("exec", "give its path"),
        ("./none-here", "no such program"),
    ],
)
def test_words_that_mean_no_entry(word: str, told: str) -> None:
    with pytest.raises(LabError, match=told):
        entry_of(word)


def test_programs_and_their_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("v1", "v2"):
        Path(folder).mkdir()
        Path(folder, "mine").write_text(f"#!/bin/sh\n# {folder}\n")
    one, two = entries_of(["./v1/mine,./v2/mine"])
    assert (one.label, two.label) == ("mine", "v2/mine") and one.stamp != two.stamp
    old, new = entries_of(["./v1/mine@1", "./v1/mine@2"])
    assert (old.label, new.label) == ("mine@1", "mine@2") and old.options["version"] == "1"


def planned(entry: Entry, version: str = "1", repeats: int | None = 1) -> dict[str, str]:
    facts = {entry.label: OverlayFacts(name="x", version=version)}
    found = matches(pairings([entry], QUESTIONS, facts, {}), facts, repeats)
    return {f"{match.pairing.question.name}{match.repeat}": match.key for match in found}


def test_keys_change_with_all_that_decides() -> None:
    entry = Entry(label="vxlan", kind="vxlan")
    keys = planned(entry)
    assert len(set(keys.values())) == len(keys) == len(QUESTIONS) and planned(entry) == keys
    for other in (
        planned(entry, "2"),
        planned(Entry(label="vxlan", kind="vxlan", options={"mtu": 1300})),
        planned(Entry(label="vxlan", kind="vxlan", stamp="other")),
    ):
        assert not set(other.values()) & set(keys.values())
    assert planned(Entry(label="of another name", kind="vxlan")) == keys


def test_all_entries_play_in_turn_and_what_is_not_promised_is_not_played() -> None:
    players = [Entry(label="a", kind="vxlan"), Entry(label="b", kind="weave"), Entry(label="c", kind="weave")]
    facts = {"a": OverlayFacts(name="a", daemon=False), "b": OverlayFacts(name="b")}
    found = pairings(players, questions_of(["killed,path"]), facts, {"c": "no"})
    assert [(one.pairing.question.name, one.repeat, one.pairing.entry.label) for one in matches(found, facts, 2)] == [
        ("killed", 1, "b"), ("killed", 2, "b"), ("path", 1, "a"), ("path", 1, "b"), ("path", 2, "a"), ("path", 2, "b"),
    ]  # fmt: skip


def test_short_questions_are_played_more_often() -> None:
    found = {question.name: repeats_of(question, None) for question in QUESTIONS}
    assert found["cut-5"] == 20 and found["cut-70"] == 5
    assert repeats_of(QUESTIONS[0], 3) == 3
    with pytest.raises(LabError, match="no question named 'cut-6', expected some of: cold-2"):
        questions_of(["cut-6"])


def test_an_estimate_is_of_measured_times_where_there_are_some() -> None:
    entry = Entry(label="vxlan", kind="vxlan")
    facts = {"vxlan": OverlayFacts(name="x")}
    todo = matches(pairings([entry], questions_of(["cut-5"]), facts, {}), facts, 2)
    assert estimate(todo, []) == 2 * (13 + 4)
    done = LeagueRun(key="k", entry="other", question="cut-5", repeat=1, verdict="valid", wall=10.0)
    assert estimate(todo, [done]) == 20.0
    assert estimate(todo, [done, msgspec.structs.replace(done, entry="vxlan", wall=3.0)]) == 6.0


def test_a_ledger_keeps_runs_but_those_that_said_nothing(tmp_path: Path) -> None:
    run = LeagueRun(key="k", entry="a", question="cut-5", repeat=1, verdict="valid")
    with open_ledger(tmp_path) as ledger:
        ledger.add(run)
        ledger.add(msgspec.structs.replace(run, key="l", failed=True))
        with pytest.raises(LabError, match="writes to"):
            open_ledger(tmp_path)
    path = tmp_path / "league.jsonl"
    path.write_bytes(path.read_bytes() + b'{"key": "tor')  # as kill -9 leaves it
    with open_ledger(tmp_path) as ledger:
        assert ledger.points == {"k": run}


@pytest.mark.parametrize("kind", ["weave", "vxlan", "none", "tinc"])
def test_every_question_is_a_scenario(kind: str) -> None:
    facts = OverlayFacts(name=kind, daemon=kind in ("weave", "tinc"), routed=kind != "none")
    for question in QUESTIONS:
        if not question.not_for(facts):
            text = msgspec.json.encode(question.scenario(Entry(label=kind, kind=kind), facts)).decode()
            found = read(Path("q.yaml"), 1, text=text)
            assert not found.problems, (question.name, found.problems)

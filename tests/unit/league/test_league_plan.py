"""Which overlays words mean, which runs a league has, what they are known by, and how long they take."""

import json
import time
from pathlib import Path

import msgspec
import pytest

from lab.cli.league import list_league
from lab.errors import LabError
from lab.league.again import part_of, part_words
from lab.league.measures import RunReading
from lab.league.plan import LeagueMatch, LeagueRun, estimate, matches, pairings, questions_of, repeats_of
from lab.league.play import done_of, not_done, open_ledger, play_all, skipped
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


def test_the_list_has_who_plays_on_the_backend(capsys: pytest.CaptureFixture[str]) -> None:
    list_league("dind", as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert {*told["entries"], *told["absent"]} == {"weave", "swarm"}
    list_league(as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert {"vxlan", "weave:sleeve"} <= {*told["entries"]} and "swarm" not in {*told["entries"], *told["absent"]}


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
    return {f"{match.pairing.question.name}{match.repeats}": match.key for match in found}


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
    (nat,) = (question for question in QUESTIONS if question.name == "nat")
    hosts = dict(reversed(nat.underlay["hosts"].items()))
    turned = msgspec.structs.replace(nat, underlay={**nat.underlay, "hosts": hosts})
    facts = {entry.label: OverlayFacts(name="x", version="1")}
    one, two = (matches(pairings([entry], [each], facts, {}), facts, 1)[0].key for each in (nat, turned))
    assert one != two, "which host comes first decides"


def test_all_entries_play_in_turn_and_what_is_not_promised_is_not_played() -> None:
    players = [Entry(label="a", kind="vxlan"), Entry(label="b", kind="weave"), Entry(label="c", kind="weave")]
    facts = {"a": OverlayFacts(name="a", daemon=False), "b": OverlayFacts(name="b")}
    found = pairings(players, questions_of(["killed,path"]), facts, {"c": "no"})
    assert [(one.pairing.question.name, one.repeats, one.pairing.entry.label) for one in matches(found, facts, 7)] == [
        ("killed", (1, 2, 3, 4, 5), "b"), ("killed", (6, 7), "b"),
        ("path", (1, 2, 3, 4, 5), "a"), ("path", (1, 2, 3, 4, 5), "b"), ("path", (6, 7), "a"), ("path", (6, 7), "b"),
    ]  # fmt: skip
    for match in matches(found, facts, 7):
        facts_, entry = facts[match.pairing.entry.label], match.pairing.entry
        alone = match.pairing.question.scenario(entry, facts_)["timeline"]
        once = len(match.pairing.question.once(0))
        assert len(match.scenario["timeline"]) == len(alone) + once * (len(match.repeats) - 1)
        assert len(set(match.keys.values())) == len(match.repeats)


def test_more_repeats_are_only_for_what_is_short() -> None:
    entry, facts = Entry(label="a", kind="vxlan"), {"a": OverlayFacts(name="a")}
    planned = matches(pairings([entry], questions_of(["moved"]), facts, {}), facts, None)
    assert [match.repeats[0] for match in planned] == [1, 6, 11, 16]
    assert [match.spare for match in planned] == [False, True, True, True]
    quick = [LeagueRun(key=str(n), entry="a", question="moved", repeat=n, verdict="valid", wall=3.0) for n in (1, 2)]
    slow = [*quick, LeagueRun(key="3", entry="a", question="moved", repeat=3, verdict="valid", wall=50.0)]
    assert [skipped(match, quick) for match in planned] == [False] * 4
    assert [skipped(match, slow) for match in planned] == [False, True, True, True]
    assert not any(match.spare for match in matches(pairings([entry], questions_of(["moved"]), facts, {}), facts, 20))


def test_who_waits_in_vain_three_times_is_not_asked_again() -> None:
    entry, facts = Entry(label="a", kind="vxlan"), {"a": OverlayFacts(name="a")}
    planned = matches(pairings([entry], questions_of(["nat"]), facts, {}), facts, 5)

    def tries(*reached: bool, wall: float = 65.0) -> list[LeagueRun]:
        readings = [{"first": RunReading(value=60.0, reached=each)} for each in reached]
        return [
            LeagueRun(key=f"{n}", entry="a", question="nat", repeat=n, verdict="invalid", wall=wall, readings=read)
            for n, read in enumerate(readings, 1)
        ]

    def wanted(done: list[LeagueRun]) -> list[int]:
        return [match.repeats[0] for match in planned if not skipped(match, done)]

    assert wanted(tries(False, False, False)) == [1, 2, 3]
    for done in (tries(False, False), tries(False, True, False), tries(False, False, False, wall=8.0)):
        assert wanted(done) == [1, 2, 3, 4, 5]


def test_what_other_versions_did_skips_nothing(tmp_path: Path) -> None:
    entry, facts = Entry(label="a", kind="vxlan"), {"a": OverlayFacts(name="a")}
    planned = matches(pairings([entry], questions_of(["nat"]), facts, {}), facts, 5)
    other = LeagueRun(key="of another version", entry="a", question="nat", repeat=1, verdict="invalid")
    mine = LeagueRun(key=planned[0].keys[1], entry="a", question="nat", repeat=1, verdict="invalid")
    with open_ledger(tmp_path) as ledger:
        ledger.add(other)
        ledger.add(mine)
        assert done_of(planned, ledger) == [mine]


def test_a_part_of_the_cells_is_played_again() -> None:
    players = [Entry(label=name, kind="vxlan") for name in "abcdef"]
    facts = {one.label: OverlayFacts(name=one.label, daemon=False) for one in players}
    found = pairings(players, QUESTIONS, facts, {"f": "no"})
    third = part_of(found, part_words("1/3"))
    playable = [one for one in found if not one.why_not and not one.broken]
    assert len(third) == round(len(playable) / 3) and all(one in playable for one in third)
    assert third == part_of(found, part_words("1/3")) and part_of(found, part_words("all")) == playable
    assert len({one.question.name for one in third}) > 6 and len({one.entry.label for one in third}) == 5
    first, second = (matches(third, facts, 1, salt=salt) for salt in (0, 1000))
    assert not {match.key for match in first} & {match.key for match in second}
    for word in ("0", "4/3", "1/0", "some"):
        with pytest.raises(LabError, match="expected a part of all cells as 1/3"):
            part_words(word)


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
    assert estimate(todo, []) == 2 + 9 + 7
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
            text = msgspec.json.encode(question.scenario(Entry(label=kind, kind=kind), facts, question.rounds)).decode()
            found = read(Path("q.yaml"), 1, text=text)
            assert not found.problems, (question.name, found.problems)


def test_where_a_fault_leaves_another_way_no_repeat_begins_with_what_an_earlier_one_has_learnt() -> None:
    named = {question.name: question for question in QUESTIONS}
    assert named["one-way"].rounds == named["flapping"].rounds == 1
    assert named["cut-5"].rounds > 1


def test_after_the_time_is_up_no_spare_lab_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry, facts = Entry(label="a", kind="vxlan"), {"a": OverlayFacts(name="a")}
    planned = matches(pairings([entry], questions_of(["moved,path"]), facts, {}), facts, None)

    def at_once(match: LeagueMatch, folder: Path) -> list[LeagueRun]:
        question = match.pairing.question.name
        return [
            LeagueRun(key=match.keys[n], entry="a", question=question, repeat=n, verdict="valid") for n in match.repeats
        ]

    monkeypatch.setattr("lab.league.play._played", at_once)
    with open_ledger(tmp_path) as ledger:
        for side_by_side in (1, 3):
            play_all(planned, ledger, tmp_path, lambda told: None, side_by_side=side_by_side, until=time.monotonic())
            assert sorted(run.repeat for run in ledger.points.values()) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
        play_all(planned, ledger, tmp_path, lambda told: None, side_by_side=3)
        assert len(ledger.points) == 40 and not not_done(planned, ledger)

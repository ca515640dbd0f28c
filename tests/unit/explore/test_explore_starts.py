"""How cases begin, what limits are learned for them, and how what is found is sorted."""

from collections import Counter
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.explore.case import UNLIMITED, Case, first_case
from lab.explore.corpus import Corpus
from lab.explore.finds import cause_of, grouped, kind_of
from lab.explore.limits import Limits, learned, read_limits, write_limits
from lab.explore.lone import learning_case, lone_case, measured, shape_of
from lab.explore.smaller import plainer
from lab.explore.start import ground
from lab.kinds.verbs import verb_of
from lab.scenario.load import parse
from lab.scenario.resolve import resolve
from lab.scenario.values import UNITS
from lab.sweep.measure import Point

S = UNITS["s"]
BASE = """\
version: 1
underlay: {hosts: {a: {}, b: {}, c: {}, d: {}, e: {}}}
services:
  s1: {image: ksahnine/dummy-http, args: [s1], host: a}
  s2: {image: ksahnine/dummy-http, args: [s2], host: e}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {converged: all, within: 10s}
"""
RESOLVED = resolve(parse(BASE), name="base")
BLANK = first_case(BASE, "base", Path(), deadline=30 * S)
GROUND = ground(BLANK, RESOLVED, "base.yaml")
LIMITS = Limits({"kill daemon": 4 * S, "partition isolate": 8 * S}, {"kill daemon": 3 * S})


def kind_of_start(case: Case) -> str:
    if case.long or case.one_by_one:
        return "long" if case.long else "lone"
    if not case.start:
        return "settled"
    launched = [step["launch"] for step in case.setup if "launch" in step]
    return "cold" if launched == ["all"] else "islands" if isinstance(launched[0], dict) else "late"


def test_all_starts_come_about_and_are_scenarios() -> None:
    seen: Counter[str] = Counter()
    for seed in range(48):
        case = GROUND.draw(seed, 6, LIMITS)
        assert case == GROUND.draw(seed, 6, LIMITS)
        scenario = parse(case.text())
        seen[kind_of_start(case)] += 1
        seen["scarce"] += "iprange" in case.added
        seen["bold"] += case.bold and not case.start
        assert scenario.timeline[-1].verb in ("expect", "wait")
        estranged = [fault for fault in case.faults if verb_of(fault.verb).estranges]
        assert not estranged or not (case.start or case.long or "hold" in case.added)
        for other in plainer(case) if seed % 4 == 0 else ():
            assert parse(other.text())
    assert min(seen[kind] for kind in ("settled", "cold", "late", "islands", "lone", "scarce", "bold")) > 0, seen


def test_a_first_agreement_can_come_about_without_those_who_join_late() -> None:
    for seed in range(60):
        case = GROUND.draw(seed, 6, None)
        if kind_of_start(case) == "late":
            assert len(case.setup[0]["launch"]) >= 3


def test_membership_changes_lead_some_cases_and_in_some_nothing_breaks() -> None:
    seen: Counter[str] = Counter()
    for seed in range(200):
        case = GROUND.draw(seed, 6, LIMITS)
        if case.one_by_one or case.start or not case.faults:
            continue
        seen["membership"] += any(verb_of(fault.verb).estranges for fault in case.faults)
        seen["busy"] += len(case.faults) > 1 and not any(verb_of(fault.verb).lasts for fault in case.faults)
        seen["two crowds"] += {"crowd", "pair"} <= set(case.tree["services"])
    assert seen["membership"] >= 15 and seen["busy"] >= 8 and seen["two crowds"] >= 30, seen


def test_some_faults_begin_in_the_middle_of_the_first_agreement() -> None:
    found: set[str] = set()
    for seed in range(300):
        case = GROUND.draw(seed, 6, LIMITS)
        steps = case.timeline()
        at = next((index for index, step in enumerate(steps) if step.get("exec", {}).get("expect")), None)
        if at is None:
            continue
        assert parse(case.text()) and case.slow, "what is under way for a millisecond cannot be hit"
        assert steps[at]["exec"]["timeout"].endswith("ms") or steps[at]["exec"]["timeout"].endswith("s")
        following = [key for step in steps[at + 1 : at + 3] for key in step]
        found |= {key for key in following if key != "wait" and verb_of(key).lasts}
    assert {"kill", "partition", "pause"} <= found, found


def test_of_two_networks_one_has_containers_until_they_have_met() -> None:
    for seed in range(80):
        case = GROUND.draw(seed, 6, None)
        if kind_of_start(case) != "islands":
            continue
        runs = [(at, step["run"]) for at, step in case.start if "run" in step]
        there = [step["launch"]["hosts"] for step in case.setup if "launch" in step]
        home = {"s1": "a", "s2": "e", "crowd": "e", "pair": "a"}
        first = [name for at, names in runs if at == 0 for name in names]
        assert {home[name] for name in first} <= set(there[0])
        assert all(at >= 45 * S for at, names in runs if not set(names) <= set(first))


def test_limits_are_learned_kept_and_asked_for(tmp_path: Path) -> None:
    few: dict[str, list[int | None]] = {"partition isolate": [S, S]}
    found = learned({"kill daemon": [2 * S, S, S], "churn every": [S, S, None], **few}, {"kill daemon": [0, 0, 0]})
    assert found == Limits({"kill daemon": 5 * S}, {"kill daemon": 2 * S})
    write_limits(tmp_path / "out" / "limits.json", found)
    assert read_limits(tmp_path / "out" / "limits.json") == found
    (tmp_path / "no.json").write_text("[1")
    with pytest.raises(LabError, match="--learn"):
        read_limits(tmp_path / "no.json")
    with pytest.raises(LabError, match="No such file"):
        read_limits(tmp_path / "none.json")


def test_faults_one_by_one_are_held_against_the_limits_of_their_sort() -> None:
    cases = [lone_case(BLANK, RESOLVED, seed, LIMITS) for seed in range(12)]
    assert {shape_of(fault) for case in cases for fault in case.faults} == {*LIMITS.notice, *LIMITS.recover}
    case = next(case for case in cases if case.faults[0].noticed_within)
    first, steps = case.faults[0], case.timeline()
    assert parse(case.text())
    place = steps.index(first.step())
    assert [next(iter(step)) for step in steps[place + 1 : place + 4]] == ["expect", "wait", "expect"]
    assert steps[place + 1]["expect"]["within"] in ("4s", "8s")
    assert first.lasts > first.noticed_within, "it is still in force when the time to notice it is over"
    late = Point(key="", parameters={}, seed=1, verdict="invalid", reason=f"step {place + 2}: expected converged")
    assert kind_of(late, case) == "noticed too late"
    slow = Point(key="", parameters={}, seed=1, verdict="invalid", reason=f"step {place + 4}: expected converged")
    assert kind_of(slow, case) == "expectation"


def test_what_is_learned_tells_protocols_and_ports_apart() -> None:
    cases = [learning_case(BLANK, RESOLVED, seed) for seed in range(60)]
    shapes = Counter(shape_of(fault) for case in cases for fault in case.faults)
    assert {"block udp 6784", "block udp 6783", "block tcp 6783", "kill daemon", "link loss"} <= shapes.keys()
    timed = {shape_of(fault) for case in cases for fault in case.faults if fault.noticed_within}
    assert "link delay jitter" in timed and "link loss" not in timed, "chance has no moment at which it is noticed"
    case = next(case for case in cases if case.faults[0].noticed_within and not case.faults[1].noticed_within)
    noticed, over = case.faults[0].noticed_within, case.faults[0].over_within
    assert noticed == over == UNLIMITED and "on_failure: continue" in case.text() and parse(case.text())
    took = list(measured(case, (0, 7 * S, 2, 9 * S, *[None] * 6)))
    assert took[0] == (shape_of(case.faults[0]), True, S), "the time to converge at first is no such time"
    assert took[1][1:] == (False, 3 * S), "nor is that from noticing a fault on to its end"


def test_causes_do_not_depend_on_names_and_numbers() -> None:
    one = "step 8: expected converged all within 30s; a: its peer knows 4 of 5 peers"
    other = "step 12: expected converged all within 30s; b: its peer knows 3 of 5 peers"
    assert cause_of("expectation", one, "abcde") == cause_of("expectation", other, "abcde")
    causes = grouped(
        [(5, "expectation", other), (1, "expectation", one), (3, "invariant", "range twice: a and b")], "abcde"
    )
    assert [(cause.kind, cause.seeds) for cause in causes] == [("expectation", (1, 5)), ("invariant", (3,))]


def test_what_reached_something_new_is_varied() -> None:
    corpus = Corpus()
    first = GROUND.draw(1, 6, None)
    assert corpus.add(first, frozenset({1, 2})) == 2 and corpus.add(first, frozenset({2})) == 0 and len(corpus) == 1
    made = [corpus.next(seed, 6, lambda: BLANK) for seed in range(40)]
    assert BLANK in made, "some are fresh"
    varied = [case for case in made if case != BLANK]
    assert varied and all(case.tree == first.tree and case.setup == first.setup for case in varied)
    assert len({repr(case.faults) for case in varied}) > 5 and all(parse(case.text()) for case in varied[:8])

"""Fault schedules, the scenario files made of them, and how they get smaller."""

import io
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from ruamel.yaml import YAML

from lab.errors import LabError
from lab.explore.case import Case, first_case, with_faults
from lab.explore.schedule import ScheduledFault, draw, hindered
from lab.explore.search import kind_of
from lab.explore.shrink import shrink
from lab.explore.smaller import shorter, simpler_faults, without_hosts, without_services
from lab.scenario.load import parse
from lab.scenario.resolve import resolve
from lab.scenario.values import UNITS
from lab.sweep.measure import Point

S = UNITS["s"]
BASE = """\
version: 1
underlay: {hosts: {a: {}, b: {}, c: {}, d: {}, e: {}}}
overlay: weave
services:
  s1: {image: ksahnine/dummy-http, args: [s1], host: a}
  s2: {image: ksahnine/dummy-http, args: [s2], host: e}
probes: [{kind: http, from: all, to: all, every: 1s}]
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {converged: all, within: 10s}
  - partition: {isolate: [a], for: 5s}
"""
BLANK = first_case(BASE, "base", Path(), deadline=30 * S)
RESOLVED = resolve(parse(BASE), name="base")
HOSTS = ("a", "b", "c", "d", "e")
seeds = st.integers(0, 10**6)
CHANGING: dict[str, Any] = {
    "elastic": {"s1": 1, "web": 3}, "attachable": ("s1",), "policed": ("s1", "web"),
    "replaceable": {"a": ("s1",), "b": ()},
}  # fmt: skip


def drawn(seed: int) -> Case:
    return with_faults(BLANK, RESOLVED, seed, most=8)


def steps(case: Case) -> list[dict[str, object]]:
    found: list[dict[str, object]] = YAML(typ="safe").load(io.StringIO(case.text()))["timeline"]
    return found


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_every_case_is_a_scenario_and_a_function_of_its_seed(seed: int) -> None:
    case = drawn(seed)
    assert case == drawn(seed) and 0 < len(case.faults) <= 8
    scenario = parse(case.text("Does it?", "", "Found."))
    assert scenario.seed == seed and case.text("Does it?").startswith("# Does it?\n")
    assert scenario.timeline[-1].verb == "expect" and scenario.timeline[-1].body.converged == "all"
    replaced = [fault for fault in case.faults if fault.host]
    lasting = [step for step in scenario.timeline if step.verb in ("partition", "kill", "churn", "clock")]
    assert sum(not step.duration for step in lasting) <= len(replaced), "only what a reset ends lasts for ever"


def test_faults_of_one_host_overlap_in_every_way() -> None:
    """A daemon and its host, one host twice, a host and an MTU that counts on it, a churn and a kill …"""
    seen = set()
    for seed in range(400):
        schedule = draw(HOSTS, {"s1": "a"}, seed, most=12)
        for one in schedule:
            for other in schedule:
                if one.at <= other.at < one.end and one is not other:
                    seen.add((hit(one), hit(other)))
    kinds = ("kill daemon", "kill host", "churn", "slow_disk", "clock", "mtu", "partition", "block")
    assert {(one, other) for one in kinds for other in kinds} <= seen


def hit(fault: ScheduledFault) -> str:
    return f"kill {next(iter(fault.body))}" if fault.verb == "kill" else fault.verb


@given(seeds)
def test_what_runs_of_a_service_is_changed_by_one_thing_at_a_time(seed: int) -> None:
    services: dict[str, list[ScheduledFault]] = {}
    for fault in draw(HOSTS, {"s1": "a"}, seed, most=12, **CHANGING):
        services.setdefault(fault.service, []).append(fault)
    services.pop("", None)
    for faults in services.values():
        for one, other in pairwise(faults):
            assert one.end < other.at or not (one.undo or other.undo)


@given(seeds)
def test_commands_are_given_while_nothing_is_broken(seed: int) -> None:
    schedule = draw(HOSTS, {"s1": "a"}, seed, most=12, **CHANGING)
    assert not hindered(schedule)
    changes = [fault for fault in schedule if fault.undo]
    for change in changes:
        others = [fault for fault in schedule if not fault.undo and fault.verb != "clock"]
        assert all(not fault.at <= time < fault.end for fault in others for time in (change.at, change.end))


def test_a_change_is_undone_when_it_ends_whatever_happens_meanwhile() -> None:
    change = ScheduledFault(
        at=S, verb="scale", body={"service": "s1", "to": 3}, lasts=4 * S, undo={"scale": {"service": "s1"}}
    )
    case = replace(BLANK, faults=(change, fault(2 * S, isolate=["b"])))
    assert [next(iter(step)) for step in case.timeline()[len(BLANK.setup) :]] == [
        "wait", "scale", "wait", "partition", "wait", "scale", "wait", "heal", "expect",
    ]  # fmt: skip
    assert hindered(case.faults)  # it ends while b is cut off


def test_all_shapes_and_verbs_are_drawn() -> None:
    faults = [fault for seed in range(300) for fault in draw(HOSTS, {"s1": "a"}, seed, **CHANGING)]
    assert {fault.verb for fault in faults} == {
        "partition", "kill", "slow_disk", "clock", "churn", "block", "mtu", "scale", "remove", "attach", "policy",
        "pause", "link", "flap", "connect", "forget", "reset", "rmpeer", "publish", "exec",
    }  # fmt: skip
    shapes = {key for fault in faults if fault.verb == "partition" for key in fault.body}
    assert shapes == {"groups", "one_way", "isolate", "bridge", "ring"}
    assert {key for fault in faults if fault.verb == "kill" for key in fault.body} == {"daemon", "host", "service"}
    assert any(fault.body.get("full") for fault in faults) and any(fault.body.get("drift_ppm") for fault in faults)
    assert {fault.verb for seed in range(50) for fault in draw(("a", "b"), {}, seed)} >= {"partition", "kill"}


def test_the_setup_ends_where_something_is_disturbed() -> None:
    assert [next(iter(step)) for step in BLANK.setup] == ["launch", "connect", "run", "expect"]
    with pytest.raises(LabError, match="launches nothing"):
        first_case("version: 1\nunderlay: {hosts: {a: {}}}\ntimeline: [{wait: 1s}]\n", "x", Path(), deadline=S)
    bare = first_case("version: 1\nunderlay: {hosts: {a: {}}}\ntimeline: [{launch: all}]\n", "x", Path(), deadline=S)
    assert list(bare.setup[-1]) == ["expect"]


@settings(max_examples=8, deadline=None)
@given(seeds)
def test_smaller_cases_are_scenarios_too_or_refused(seed: int) -> None:
    from lab.explore.search import _is_scenario

    case = drawn(seed)
    for smaller in (*without_services(case), *simpler_faults(case), *shorter(case)):
        assert _is_scenario(smaller.text(), "x"), smaller.text()
    sound = [smaller for smaller in without_hosts(case) if _is_scenario(smaller.text(), "x")]
    assert (sound or "ring" in case.text()) and all(len(smaller.tree["underlay"]["hosts"]) == 4 for smaller in sound)


def fault(at: int, verb: str = "partition", **body: object) -> ScheduledFault:
    return ScheduledFault(at=at, verb=verb, body=dict(body) or {"isolate": ["b"]}, lasts=5 * S)


def test_shrinking_finds_the_two_that_matter() -> None:
    """It fails as soon as a is isolated for at least 2 s and then d's daemon is killed."""
    noise = [fault(at * S, isolate=["b"]) for at in range(5)]
    case = replace(
        BLANK, seed=1, faults=(*noise, fault(6 * S, isolate=["a", "b"]), fault(7 * S, isolate=["c"]),
                               fault(9 * S, "kill", daemon="d"), fault(12 * S, isolate=["e"]))
    )  # fmt: skip

    def bad(case: Case) -> bool:
        cut = [f for f in case.faults if "a" in f.body.get("isolate", ()) and f.lasts >= 2 * S]
        return bool(cut) and any(f.verb == "kill" and f.at >= cut[0].at for f in case.faults)

    played: list[int] = []

    def fails(cases: list[Case]) -> list[bool]:
        played.append(len(cases))
        return [bad(one) for one in cases]

    small, runs = shrink(case, fails, width=3)  # type: ignore[arg-type]
    assert [(f.verb, f.body, f.lasts) for f in small.faults] == [
        ("partition", {"isolate": ["a"]}, 2 * S),
        ("kill", {"daemon": "d"}, 100 * UNITS["ms"]),
    ]
    assert small.faults[1].at == 0, "nothing waits that need not"
    assert set(small.tree["underlay"]["hosts"]) == {"a", "d"} and not small.tree["services"]
    assert runs == sum(played) < 300


def test_shrinking_ends_when_its_runs_are_spent() -> None:
    case = drawn(7)
    small, runs = shrink(case, lambda cases: [False] * len(cases), runs=5)
    assert small == case and runs <= 6


def test_what_counts_as_a_violation() -> None:
    def point(reason: str, verdict: str = "invalid", failed: bool = False) -> Point:
        return Point(key="", parameters={}, seed=1, verdict=verdict, reason=reason, failed=failed)

    relays = replace(BLANK, faults=(fault(0, bridge="a"),))
    assert kind_of(point("", "valid"), BLANK) == ""
    assert kind_of(point("step 4: expected converged"), BLANK) == "fails before anything is broken"
    assert kind_of(point("step 8: expected converged"), BLANK) == "expectation"
    assert kind_of(point("AssertionError: x (a.py:3)", "unknown", failed=True), BLANK) == "crash: AssertionError"
    failed = "step 5 failed: scale s1 to 3: no address"
    assert kind_of(point(failed), BLANK) == "command"
    change = ScheduledFault(at=0, verb="scale", body={}, lasts=S, undo={"scale": {}})
    assert kind_of(point(failed), replace(BLANK, faults=(fault(0), change))) == ""
    outage = point("2 outages and 0 leaks across cuts outside of transitions.")
    assert kind_of(outage, BLANK) == "outage" and kind_of(outage, relays) == ""
    assert kind_of(point("a and b both own addresses from offset 3 on"), BLANK) == "invariant"


def test_overlapping_partitions_need_relays() -> None:
    assert replace(BLANK, faults=(fault(0), fault(3 * S))).needs_relays
    assert not replace(BLANK, faults=(fault(0), fault(6 * S))).needs_relays


def test_a_bad_scenario_or_option_exits_with_2(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from lab.cli import lab

    (tmp_path / "base.yaml").write_text(BASE)
    for words in (["--deadline", "soon"], ["--seeds", "0"], ["--backend", "netns"]):
        result = CliRunner().invoke(lab, ["explore", str(tmp_path / "base.yaml"), "--out", str(tmp_path / "o"), *words])
        assert result.exit_code == 2 and words[0] in result.output
    assert CliRunner().invoke(lab, ["explore", str(tmp_path / "none.yaml")]).exit_code == 2
    assert not (tmp_path / "o").exists()

"""A session by hand as a scenario: which steps are kept, in which order, with which times. From events alone."""

import io
from typing import Any, Literal

from lab.records.history import Event
from lab.scenario.load import parse
from lab.scenario.saved import SavedSession, own_steps, saved
from lab.scenario.yaml import editor

MS = 1_000_000
SECOND = 1000 * MS
TEXT = """\
# What can be done by hand?
version: 1
name: mine
underlay: {hosts: {a: {}, b: {}}}
services: {web: {image: ksahnine/dummy-http, args: [web], replicas: 2}}
timeline:
- {launch: all}
- {connect: all}
- {run: all}
"""


def event(
    t: int, step: int, what: str, phase: Literal["start", "end", "point"], ok: bool | None = True, **detail: Any
) -> Event:
    return Event(t=t, step=step, what=what, phase=phase, ok=ok, detail=detail)


UP = event(SECOND, -1, "up", "end")


def session(*events: Event, text: str = TEXT, now: int = 60 * SECOND, pace: int = 1) -> SavedSession:
    tree = editor(4096).load(io.StringIO(text))
    first = [event(SECOND + 1, number, what, "end") for number, what in enumerate(("launch", "connect", "run"))]
    found = saved(tree, own_steps(text), [UP, *(first if text == TEXT else ()), *events], pace=pace, now=now)
    parse(found.text)
    return found


def steps(found: SavedSession) -> list[dict[str, Any]]:
    return [dict(step) for step in editor(4096).load(io.StringIO(found.text))["timeline"]]


def by(asked: dict[str, Any], who: str = "ada (pts/1)") -> dict[str, Any]:
    return {"by": who, "asked": asked}


def test_changes_stand_at_their_time_and_say_who() -> None:
    cut = {"partition": {"groups": [["a"], ["b"]]}, "for": "5s"}
    found = session(
        event(3 * SECOND + 1, 3, "partition", "start", **by(cut)),
        event(8 * SECOND, 3, "partition", "end"),
        event(9 * SECOND, 4, "scale", "start", None, **by({"scale": {"service": "web", "to": 3}}, "bob\n- kill: b")),
        event(10 * SECOND, 4, "scale", "end"),
    )
    assert steps(found) == [
        {"launch": "all"}, {"connect": "all"}, {"run": "all"},
        {"at": "2s", **cut},
        {"at": "8s", "scale": {"service": "web", "to": 3}},
        {"at": "59s", "wait": "0s"},
    ]  # fmt: skip
    assert found.moves == 2 and found.left_out == 0
    lines = found.text.splitlines()
    assert lines[0] == "# What can be done by hand?" and lines[1].startswith("# Saved from a running lab after 59s: 2")
    assert "# ada (pts/1)" in found.text and "kill" not in [key for step in steps(found) for key in step]


def test_a_fault_that_somebody_undid_is_ended_by_a_step_where_one_ends_just_it() -> None:
    cut = {"partition": {"isolate": "a"}, "for": "1h"}
    found = session(
        event(2 * SECOND, 3, "kill", "start", **by({"kill": {"daemon": "a", "for": "1h"}})),
        event(4 * SECOND + 250 * MS, 3, "kill", "end", by="eve"),
        event(5 * SECOND, 4, "kill", "start", **by({"kill": {"host": "b"}})),
        event(6 * SECOND, 4, "kill", "end"),  # by a restart, say, which is a step of its own
        event(7 * SECOND, 5, "partition", "start", **by(cut)),
        event(9 * SECOND, 5, "partition", "end", by="eve"),
    )
    assert steps(found)[3:8] == [
        {"at": "1s", "kill": {"daemon": "a"}},
        {"at": "3250ms", "restart": {"daemon": "a"}},
        {"at": "4s", "kill": {"host": "b"}},
        {"at": "6s", "partition": {"isolate": "a"}},
        {"at": "8s", "heal": "all"},
    ]
    assert "# eve" in found.text


def test_where_no_step_ends_just_a_fault_it_lasts_as_long_as_it_did() -> None:
    found = session(
        event(2 * SECOND, 3, "partition", "start", **by({"partition": {"isolate": "a"}})),
        event(3 * SECOND, 4, "partition", "start", **by({"partition": {"isolate": "b"}})),
        event(4 * SECOND, 3, "partition", "end", by="eve"),
        event(5 * SECOND, 5, "mtu", "start", **by({"mtu": {"to": 1200}, "for": "1h"})),
        event(7 * SECOND, 5, "mtu", "end", by="eve"),
    )
    assert steps(found)[3:6] == [
        {"at": "1s", "partition": {"isolate": "a"}, "for": "2s"},
        {"at": "2s", "partition": {"isolate": "b"}},
        {"at": "4s", "mtu": {"to": 1200}, "for": "2s"},
    ]


def test_questions_stand_where_they_were_answered_and_what_failed_is_left_out() -> None:
    asked = {"expect": {"reachable": "all", "within": "30s"}, "on_failure": "continue"}
    found = session(
        event(2 * SECOND, 3, "partition", "start", **by({"partition": {"isolate": "a"}})),
        event(3 * SECOND, 4, "expect", "start", None, **by(asked)),
        event(5 * SECOND, 5, "heal", "start", None, **by({"heal": "all"})),
        event(5 * SECOND, 3, "partition", "end"),
        event(5 * SECOND, 5, "heal", "end"),
        event(7 * SECOND, 4, "expect", "end"),
        event(8 * SECOND, 6, "run", "start", None, **by({"run": "web"})),
        event(8 * SECOND, 6, "run", "end", False),
        event(9 * SECOND, 7, "expect", "start", None, **by(asked)),
        event(10 * SECOND, 7, "expect", "end", False),
    )
    assert [next(key for key in step if key not in ("at", "for")) for step in steps(found)[3:]] == [
        "partition", "heal", "expect", "wait",
    ]  # fmt: skip
    assert steps(found)[5] == {"expect": {"reachable": "all", "within": "30s"}}
    assert found.moves == 3 and found.left_out == 2


def test_a_scenario_that_was_played_meanwhile_keeps_its_steps_at_their_times() -> None:
    text = TEXT.replace("- {run: all}\n", "- {run: all}\n- {wait: 10s}\n- {kill: a, for: 2s}\n")
    found = session(
        event(SECOND, 0, "launch", "start"),
        event(SECOND, 1, "connect", "start"),
        event(SECOND + 500 * MS, 2, "run", "start"),
        event(2 * SECOND, 3, "wait", "start", None),
        event(12 * SECOND, 3, "wait", "end"),
        event(12 * SECOND, 4, "kill", "start"),
        event(14 * SECOND, 4, "kill", "end"),
        event(5 * SECOND, 5, "partition", "start", **by({"partition": {"isolate": "b"}})),
        text=text,
    )
    assert steps(found)[:5] == [
        {"at": "0s", "launch": "all"}, {"at": "0s", "connect": "all"}, {"at": "500ms", "run": "all"},
        {"at": "4s", "partition": {"isolate": "b"}},
        {"at": "11s", "kill": "a", "for": "2s"},
    ]  # fmt: skip


def test_at_a_pace_times_are_those_of_the_file() -> None:
    found = session(
        event(9 * SECOND, 3, "kill", "start", **by({"kill": "a"})),
        event(17 * SECOND, 3, "kill", "end", by="eve"),
        pace=4,
    )
    assert steps(found)[3:5] == [{"at": "2s", "kill": "a"}, {"at": "4s", "restart": "a"}]

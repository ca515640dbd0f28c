"""Between which bounds times to settle lie, what half of the disturbed pairs is, and how both are said."""

import pytest
import synthetic_history
from synthetic_history import MS, S, Story

from lab.checkers.convergence import EventConvergence, convergence
from lab.checkers.floors import bounded, floors, limit


def story() -> Story:
    made = Story(services={"x": synthetic_history.ORION, "y": synthetic_history.MACBOOK}, kind="vxlan")
    made.meta.scenario["probes"] = [{"kind": "icmp", "sources": ["x", "y"], "targets": ["x", "y"], "every": 100 * MS}]
    hosts = made.hosts
    made.took(0, 10 * MS, "run", label="run", groups=(hosts,), **made.place({"x": hosts[0], "y": hosts[1]}))
    return made


def tries(made: Story, source: str, target: str, begin: int, good: int, end: int = 8 * S) -> None:
    """Every 100 ms from `begin`; good ones from `good` on."""
    for t in range(begin, end, 100 * MS):
        made.sample(t, "icmp", source, target, t >= good)


def only(made: Story) -> EventConvergence:
    (change,) = convergence(made.finish())
    return change


def test_a_time_lies_between_the_last_bad_try_and_the_first_good_answer() -> None:
    made = story()
    tries(made, "x", "y", 60 * MS, 500 * MS)
    change = only(made)
    after, took = change.after["reachability"], change.metrics["reachability"]
    assert (after, change.floor["reachability"]) == (460 * MS - change.t, 100 * MS)
    assert took is not None and 560 * MS - change.t <= took < 562 * MS - change.t
    assert (change.after["overall"], change.overall) == (after, took)
    assert bounded(took, after, 100 * MS).endswith(" ms") and "–" in bounded(took, after, 100 * MS)


def test_of_a_first_try_that_is_good_only_the_interval_is_known() -> None:
    made = story()
    tries(made, "x", "y", 60 * MS, 0)
    change = only(made)
    assert change.after["reachability"] == 0
    assert bounded(change.metrics["reachability"], 0, change.floor["reachability"]) == "≤ 100 ms"


def test_what_is_not_reached_took_longer_than_the_last_bad_try() -> None:
    made = story()
    tries(made, "x", "y", 60 * MS, 9 * S)
    change = only(made)
    assert change.metrics["reachability"] is None and change.half is None
    assert change.after["reachability"] == change.after["half"] == 7960 * MS - change.t
    assert bounded(None, change.after["reachability"], 100 * MS) == "not reached"
    # What holds at the end, but not for long enough, was bad until a moment that is known.
    made = story()
    tries(made, "x", "y", 60 * MS, 7 * S)
    change = only(made)
    assert change.metrics["reachability"] is None
    assert change.after["reachability"] == 6960 * MS - change.t


def test_half_of_the_disturbed_pairs_is_not_the_latest() -> None:
    services = {name: synthetic_history.ORION if name < "m" else synthetic_history.MACBOOK for name in "abxyz"}
    made = Story(services=services, kind="vxlan")
    made.meta.scenario["probes"] = [
        {"kind": "icmp", "sources": list(services), "targets": list(services), "every": 100 * MS}
    ]
    made.took(0, 10 * MS, "run", label="run", groups=(made.hosts,), **made.place(services))
    for place, source in enumerate("abxyz"):
        tries(made, source, "a" if source != "a" else "b", 20 * MS + place * MS, place * S)
    change = only(made)
    assert change.half is not None and change.metrics["reachability"] is not None
    assert 1900 * MS < change.after["half"] < change.half < 2100 * MS, "the third of five"
    assert change.metrics["reachability"] > 3900 * MS


def test_floors_are_those_of_the_probes_that_are_asked() -> None:
    plans = [{"kind": "icmp", "every": 50 * MS}, {"kind": "http", "every": S}, {"kind": "dns", "every": 2 * S}]
    assert floors(plans, ["icmp", "icmp"]) == {"reachability": 50 * MS, "half": 50 * MS, "overall": 50 * MS}
    assert floors(plans, ["icmp", "http", "dns"])["overall"] == 2 * S
    assert floors([{"kind": "udp", "rate": 10 * MS, "every": 1}], ["udp"] * 6)["reachability"] == 60 * MS
    assert floors(plans, []) == {}


@pytest.mark.parametrize(
    ("took", "after", "floor", "said"),
    [
        (3_470 * MS, 3_470 * MS, 200 * MS, "3.47 s"),
        (193 * MS, 0, 200 * MS, "≤ 200 ms"),
        (205 * MS, 0, 200 * MS, "≤ 205 ms"),
        (499 * MS, 49 * MS, 500 * MS, "49–499 ms"),
        (1_100 * MS, 900 * MS, 200 * MS, "900 ms–1.10 s"),
        (0, 0, 200 * MS, "0 s"),
        (5 * MS, None, 0, "5.0 ms"),
    ],
)
def test_times_are_said_with_their_bounds(took: int, after: int | None, floor: int, said: str) -> None:
    assert bounded(took, after, floor) == said


def test_within_is_no_less_than_the_floor() -> None:
    assert limit(193 * MS, 0, 200 * MS) == 200 * MS
    assert limit(193 * MS, 100 * MS, 200 * MS) == 193 * MS


def test_a_step_that_waits_for_convergence_is_told_from_one_that_has_a_time() -> None:
    for timed in (False, True):
        made = story()
        made.meta.scenario["timeline"] = [{}, {}, {}, {"at": 5 * S} if timed else {"at": None}]
        tries(made, "x", "y", 60 * MS, 500 * MS, 4 * S)
        made.took(1 * S, 2 * S, "expect", expect="converged all", within=10 * S)
        one, other = made.hosts
        made.event(5 * S, "partition", "start", step=3, label="cut", groups=((one,), (other,)))
        assert convergence(made.finish())[0].waited is not timed

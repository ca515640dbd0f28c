"""The convergence tracker against a slow reading of its definition, and on histories that need care."""

from typing import Any

import pytest
import synthetic_history
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_history import MS, S, Story

from lab.checkers.convergence import HOLD, METRICS, ConvergenceTracker, convergence
from lab.checkers.losses import ExpectedLoss
from lab.checkers.reachability import check_reachability
from lab.checkers.run import RecordedRun
from lab.checkers.settled import check_settled
from lab.checkers.world import ExpectedState, is_change, series_of
from lab.records.history import AnyRecord, Event, Meta, PeerGone, Sample, View

HOSTS = ("a", "b", "c")
REPLICAS = {"x": "a", "y": "b", "z": "c"}
META = Meta(
    t=0,
    scenario={"underlay": {"hosts": {host: {} for host in HOSTS}}, "overlay": {"kind": "weave"}},
    backend="sim",
    seed=0,
    version="",
    started="",
)


def agreement(world: ExpectedState, name: str) -> bool:
    """All groups with peers agree on `name` and know exactly each other."""
    found = False
    for group in world.groups:
        members = world.members(group)
        views = [world.views.get(host) for host in members]
        found = found or bool(members)
        if any(view is None or view.reachable != len(members) for view in views):
            return False
        if len({getattr(view, name) for view in views}) > 1:
            return False
    return found


def slowly(records: list[AnyRecord]) -> dict[str, int | None]:
    """Metric -> since when it has held, read from the whole prefix at once; empty while no change is in force."""
    return {name: since for name, (since, _) in bounds(records, 0).items()}


def bounds(records: list[AnyRecord], now: int) -> dict[str, tuple[int | None, int]]:
    """Metric -> (since when it has held, when it was last known not to), read from the whole prefix at once."""
    world = ExpectedState()
    change: Event | None = None
    agreed: dict[str, int | None] = {}
    should: dict[Any, bool | None] = {}
    tries: dict[Any, list[tuple[int, int, bool]]] = {}
    for record in records:
        world.feed(record)
        if isinstance(record, Event) and is_change(record):
            change, agreed = record, {}
            tries = {key: [] for key in tries}
        if isinstance(record, Sample):
            tries.setdefault(series_of(record), [])
            should.setdefault(series_of(record), world.demands(series_of(record)))
        for key in tries:
            if world.demands(key) != should[key]:
                should[key], tries[key] = world.demands(key), []
        if change is None:
            continue
        if isinstance(record, Sample) and record.t >= change.t and (good := world.good(record)) is not None:
            done = record.t + record.late + (record.latency or 0)
            tries[series_of(record)].append((record.t, done, good))
        if not isinstance(record, Sample):
            for name in METRICS[:3]:
                holds = agreement(world, name)
                agreed[name] = (record.t if agreed.get(name) is None else agreed[name]) if holds else None
    if change is None:
        return {}
    parts: dict[str, list[tuple[int | None, int]]] = {
        name: [(agreed[name], now if (since := agreed[name]) is None else since)] for name in METRICS[:3]
    }
    for key, made in tries.items():
        if should[key] is None:
            continue
        bad = max((due for due, _, good in made if not good), default=-1)
        since = min((done for due, done, good in made if good and due > bad), default=None)
        parts.setdefault("dns" if key[0] == "dns" else "reachability", []).append((since, bad))
    found: dict[str, tuple[int | None, int]] = {}
    for name, times in parts.items():
        held = [since for since, _ in times if since is not None]
        since = max(change.t, *held) if len(held) == len(times) else None
        found[name] = since, max(change.t, *(bad for _, bad in times))
    return found


@st.composite
def histories(draw: st.DrawFn) -> list[AnyRecord]:
    """Launch, then anything in any order; shorter than HOLD, so that nothing is called settled yet."""
    records: list[AnyRecord] = [META]
    t = 1
    records.append(Event(t=t, step=0, what="launch", phase="end", ok=True, detail={"hosts": list(HOSTS)}))
    records.append(Event(t=t, step=1, what="run", phase="end", ok=True, detail={"replicas": REPLICAS}))
    for _ in range(draw(st.integers(0, 40))):
        t += draw(st.integers(0, HOLD // 50))
        kind = draw(
            st.sampled_from(("view", "view", "sample", "sample", "sample", "sample", "gone", "cut", "heal", "begin"))
        )
        host = draw(st.sampled_from(HOSTS))
        if kind == "view":
            digests: dict[str, Any] = {name: draw(st.sampled_from("pq")) for name in ("topology", "ring", "dns")}
            reachable = draw(st.integers(1, 3))
            records.append(View(t=t, host=host, peer=host, endpoints="", reachable=reachable, **digests))
        elif kind == "sample":
            ok = draw(st.booleans())
            records.append(
                Sample(
                    t=max(0, t - draw(st.integers(0, S))),
                    probe="icmp",
                    source="x",
                    target=draw(st.sampled_from("xy")),
                    ok=ok,
                    latency=draw(st.integers(0, 9)) if ok else None,
                    error="" if ok else draw(st.sampled_from(("timeout", "timeout", "late"))),
                )
            )
        elif kind == "begin":
            records.append(Event(t=t, step=8, what="scale", phase="start"))
        elif kind == "gone":
            records.append(PeerGone(t=t, host=host))
        else:
            groups = (("a",), ("b", "c")) if kind == "cut" else (HOSTS,)
            phase = "start" if kind == "cut" else "end"
            # Heals that repeat each other are one change; that rule has a test of its own.
            what = "partition" if kind == "cut" else "restart"
            records.append(Event(t=t, step=9, what=what, phase=phase, groups=groups, detail={"hosts": []}))  # type: ignore[arg-type]
    return records


@settings(max_examples=200, deadline=None)
@given(histories())
def test_feeding_record_by_record_is_reading_the_definition_at_once(records: list[AnyRecord]) -> None:
    tracker = ConvergenceTracker()
    for index, record in enumerate(records, 1):
        tracker.feed(record)
        expected = slowly(records[:index])
        assert tracker.state().metrics == {name: since is not None for name, since in expected.items()}
    # Cut short by one more change, what holds is reached.
    tracker.feed(Event(t=max(record.t for record in records) + 60 * S, step=99, what="connect", phase="end", ok=True))
    last = tracker.results()[-2]
    if any(isinstance(record, Event) and record.what == "scale" for record in records):
        return  # what a step under way undoes stays reached; the last state does not show that
    expected_bounds = bounds(records, last.until)
    assert last.metrics == {
        name: None if since is None else since - last.t for name, (since, _) in expected_bounds.items()
    }
    after = {name: bad - last.t for name, (_, bad) in expected_bounds.items()}
    assert {name: last.after[name] for name in after} == after
    assert "overall" not in last.after or last.after["overall"] == max(after.values())


def test_a_partition_and_its_heal() -> None:
    changes = {change.label: change for change in convergence(synthetic_history.partition())}
    cut, heal = changes["partition orion.local | macbook.local"], changes["heal"]
    assert (cut.metrics["topology"], heal.metrics["topology"]) == (1140 * MS, 90 * MS)
    assert heal.metrics["ring"] == 90 * MS
    reachability = heal.metrics["reachability"]
    assert reachability is not None and 20 * MS < reachability < 220 * MS
    assert heal.overall == max(value for value in heal.metrics.values() if value is not None)
    assert changes["launch all"].metrics["topology"] is None and changes["launch all"].ended_by == "connect all"


def settled_story() -> Story:
    story = Story(services={"x": synthetic_history.ORION, "y": synthetic_history.MACBOOK}, kind="vxlan")
    hosts = story.hosts
    story.took(0, 10 * MS, "run", label="run", groups=(hosts,), **story.place({"x": hosts[0], "y": hosts[1]}))
    return story


def test_what_fails_after_it_held_is_a_lapse_and_not_slow_convergence() -> None:
    story = settled_story()
    for t in range(100 * MS, 10 * S, 100 * MS):
        story.sample(t, "icmp", "x", "y", not 6 * S <= t < 7 * S)
    (change,) = convergence(story.finish())
    assert change.metrics == {"reachability": change.overall}
    assert change.overall is not None and change.overall < 95 * MS + 2 * MS
    assert change.lapses == {"reachability": 1}


def test_a_failure_reported_late_counts_where_it_was_due() -> None:
    story = settled_story()
    for t in range(100 * MS, 2 * S, 100 * MS):
        # The try of 0.9 s is reported failed at 1.9 s, after nine later ones have succeeded.
        story.sample(t, "icmp", "x", "y", t != 900 * MS)
    story.sample(5 * S, "icmp", "x", "y", True)
    (change,) = convergence(story.finish())
    assert change.overall is not None and change.overall > 1000 * MS - 10 * MS


def test_what_has_not_held_for_long_enough_at_the_end_is_not_known_to_have_settled() -> None:
    for end, reached in ((100 * MS + HOLD // 2, False), (100 * MS + HOLD, True)):
        story = settled_story()
        for t in range(100 * MS, end + 1, 100 * MS):
            story.sample(t, "icmp", "x", "y", True)
        (change,) = convergence(story.finish())
        assert (change.overall is not None) is reached


@pytest.mark.parametrize("links", [[{"from": "*", "to": "*", "loss": 0.2}], "changed"])
def test_on_links_that_lose_packets_single_failures_are_expected(links: Any) -> None:
    """Every fourth try fails, and later one after the other for 3 s."""
    story = settled_story()
    one, other = story.hosts
    if links == "changed":
        pairs = [[one, other], [other, one]]
        # As a verb of somebody else's package; while our `link` is in force nothing is judged.
        story.event(20 * MS, "weather", "start", label="rain", ok=True, links=pairs, change={"loss": 0.2})
    else:
        story.meta.scenario["underlay"]["links"] = links
    for t in range(100 * MS, 30 * S, 100 * MS):
        story.sample(t, "icmp", "x", "y", t // (100 * MS) % 4 != 0 and not 20 * S < t < 23 * S)
    run = RecordedRun(story.finish())
    (change,) = run.convergence
    assert change.overall is not None and change.overall < 100 * MS
    assert change.lapses == {"reachability": 1}
    (finding,) = check_reachability(run).findings
    assert 20 * S <= finding["start"] < finding["end"] < 24 * S and finding["tries"] > 25


def test_without_loss_the_same_failures_are_an_outage_of_their_own() -> None:
    story = settled_story()
    for t in range(100 * MS, 30 * S, 100 * MS):
        story.sample(t, "icmp", "x", "y", t // (100 * MS) % 4 != 0)
    run = RecordedRun(story.finish())
    assert run.convergence[0].overall is None
    assert check_reachability(run).verdict == "unknown", "it never held for three seconds, so nothing can be judged"
    assert check_settled(run).verdict == "invalid"


def test_how_many_failures_in_a_row_say_something() -> None:
    expected = ExpectedLoss()
    expected.meta({"underlay": {"regions": {"a": "eu", "b": "us"}, "links": [
        {"from": "*", "to": "*", "loss": 0.1}, {"from": "region:eu", "to": "region:us"},
        {"from": "region:us", "to": "region:eu"}, {"from": "c", "to": "d", "loss": 1.0},
        {"from": "e", "to": "f", "burst": {"enter": 0.01, "leave": 0.5}}, {"from": "f", "to": "e"},
    ]}})  # fmt: skip
    assert expected.row("icmp", "a", "b") == expected.row("icmp", "x", "x") == 1
    # 0.19 of the tries fail: 0.19 ** 7 is the first below 1e-5. TCP needs twice as many packets.
    assert (expected.row("icmp", "x", "y"), expected.row("http", "x", "y")) == (7, 11)
    assert expected.row("icmp", "c", "d") is None
    assert expected.row("icmp", "e", "f") == 17, "in a burst every second packet is lost"
    change = Event(t=1, step=4, what="link", phase="start", ok=True,
                   detail={"links": [["a", "b"]], "change": {"loss": 0.5}})  # fmt: skip
    expected.event(change)
    assert expected.row("icmp", "a", "b") == 17
    expected.event(Event(t=2, step=4, what="link", phase="end", ok=True, detail=change.detail))
    assert expected.row("icmp", "a", "b") == 1


def test_what_comes_back_only_later_than_the_scenario_waits_is_not_settled() -> None:
    story = settled_story()
    for t in range(100 * MS, 40 * S, 100 * MS):
        story.sample(t, "icmp", "x", "y", t > 20 * S)
    assert "only within 20" in check_settled(RecordedRun(story.finish())).summary
    story.event(39 * S, "expect", "end", ok=True, label="expect", expect="converged all within 30s", within=30 * S)
    assert check_settled(RecordedRun(story.finish())).verdict == "valid", "the scenario itself allows for more"


def test_healing_said_twice_is_one_change() -> None:
    story = settled_story()
    one, other = story.hosts
    cut = story.event(S, "partition", "start", label="cut", groups=((one,), (other,)))
    step = story.event(3 * S, "heal", "start", label="heal all")
    story.event(3 * S + MS, "partition", "end", step=cut, groups=((one, other),))
    story.event(3 * S + 2 * MS, "heal", "end", step=step, ok=True, groups=((one, other),))
    story.sample(4 * S, "icmp", "x", "y", True)
    assert [change.label for change in convergence(story.finish())] == ["run", "cut", "heal"]


def test_what_the_next_step_undoes_while_it_is_under_way_was_reached() -> None:
    story = settled_story()
    story.sample(100 * MS, "icmp", "x", "y", True)
    step = story.event(S, "scale", "start", label="scale")
    story.sample(1100 * MS, "icmp", "x", "y", False, timeout=10 * MS)
    story.event(2 * S, "scale", "end", step=step, ok=True, label="scale", **story.place(story.replicas))
    story.sample(2100 * MS, "icmp", "x", "y", True)
    story.sample(6 * S, "icmp", "x", "y", True)
    first, second = convergence(story.finish())
    assert first.overall is not None and first.overall < 95 * MS and not first.lapses
    assert first.until == 2 * S and second.overall is not None


def test_what_is_probed_no_more_is_not_waited_for() -> None:
    story = settled_story()
    hosts = story.hosts
    story.sample(100 * MS, "icmp", "x", "y", True)
    story.sample(120 * MS, "icmp", "y", "x", True)
    story.event(S, "scale", label="scale", **story.place({"x": hosts[0], "z": hosts[1]}))
    story.sample(1100 * MS, "icmp", "x", "z", True)
    # An expectation asked for a name for a while; no plan of the scenario does.
    story.sample(1200 * MS, "dns", "x", "z.weave.local", True, answers=(story.addresses["z"],))
    story.sample(5 * S, "icmp", "x", "z", True)
    assert [change.overall is not None for change in convergence(story.finish())] == [True, True]


def test_an_event_that_was_written_late_counts_from_when_it_took_effect() -> None:
    story = settled_story()
    one, other = story.hosts
    cut = story.event(S, "partition", "start", label="cut", groups=((one,), (other,)))
    for t in (1100 * MS, 1200 * MS, 2100 * MS, 6 * S):
        story.sample(t, "icmp", "x", "y", t > 2 * S, timeout=50 * MS)
    records = story.finish()
    healed = Event(t=2 * S, step=cut, what="partition", phase="end", groups=((one, other),))
    changes = RecordedRun([*records, healed]).convergence
    assert [(change.label, change.overall is not None, change.lapses) for change in changes[1:]] == [
        ("cut", True, {}),
        ("heal", True, {}),
    ]

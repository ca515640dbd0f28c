"""Each checker on histories that are right, and on the same ones with one thing wrong."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import synthetic_history
from synthetic_history import MACBOOK, MS, ORION, S, Story

from lab.checkers import RecordedRun, check, merge
from lab.checkers.dns import check_dns, staleness
from lab.checkers.reachability import check_reachability
from lab.checkers.schedule import check_schedule
from lab.checkers.settled import check_settled
from lab.records.history import AnyRecord, Load, PeerGone, Sample


def changed(records: list[AnyRecord], which: Callable[[Sample], bool], **fields: object) -> list[AnyRecord]:
    """The same history with some samples changed."""
    return [
        msgspec.structs.replace(record, **fields) if isinstance(record, Sample) and which(record) else record
        for record in records
    ]


def pair(source: str, target: str, start: int, end: int) -> Callable[[Sample], bool]:
    return lambda sample: (sample.source, sample.target) == (source, target) and start <= sample.t < end


def test_worst_first() -> None:
    assert merge(["valid", "unknown", "invalid"]) == "invalid"
    assert merge(["valid", "unknown"]) == "unknown"
    assert merge(["valid"]) == "valid"
    assert merge([]) == "unknown"


@pytest.mark.parametrize("story", [synthetic_history.partition, synthetic_history.scale])
def test_sound_runs_are_valid(story: Callable[[], list[AnyRecord]]) -> None:
    verdict = check(story())
    assert {result.checker: result.verdict for result in verdict.results if result.verdict != "valid"} == {}


def test_a_failed_expectation_is_invalid_and_nothing_else_is() -> None:
    results = {result.checker: result.verdict for result in check(synthetic_history.crash()).results}
    assert [name for name, verdict in results.items() if verdict != "valid"] == ["expectations"]
    assert results["expectations"] == "invalid"


@pytest.mark.parametrize("kept", [0, 1, 5, 900])
def test_runs_that_were_cut_short_are_unknown(kept: int) -> None:
    assert check(synthetic_history.partition(healed=False)[:kept]).verdict == "unknown"


def test_an_outage_that_nobody_caused_is_found() -> None:
    lost = changed(synthetic_history.partition(), pair("svc1", "svc2", 8 * S, 10 * S), ok=False, latency=None)
    result = check_reachability(RecordedRun(lost))
    assert result.verdict == "invalid"
    assert {(finding["series"], finding["should"]) for finding in result.findings} == {
        ("http svc1 → svc2", True),
        ("icmp svc1 → svc2", True),
    }


def test_a_single_lost_try_is_no_outage() -> None:
    lost = changed(synthetic_history.partition(), pair("svc1", "svc2", 8 * S, 8200 * MS), ok=False, latency=None)
    result = check_reachability(RecordedRun(lost))
    assert result.verdict == "valid" and "2 of 1740 tries went wrong, none after another" in result.summary


def test_an_outage_of_a_busy_machine_is_unknown() -> None:
    lost = changed(synthetic_history.partition(), pair("svc1", "svc2", 8 * S, 10 * S), ok=False, latency=None)
    busy = [msgspec.structs.replace(record, cpu=1.0) if isinstance(record, Load) else record for record in lost]
    assert check_reachability(RecordedRun(busy)).verdict == "unknown"


def test_traffic_across_a_cut_is_found() -> None:
    leaky = changed(synthetic_history.partition(), pair("svc1", "svc3", 20 * S, 21 * S), ok=True, latency=MS, error="")
    result = check_reachability(RecordedRun(leaky))
    assert result.verdict == "invalid" and not result.findings[0]["should"]


def test_an_answer_that_came_after_the_heal_is_no_traffic_across_the_cut() -> None:
    """A request is repeated until its timeout: what was asked during the cut is answered once that is healed."""
    heal = 25 * S
    early = pair("svc1", "svc3", heal - S, heal)
    for took, verdict in ((1100 * MS, "valid"), (100 * MS, "invalid")):
        answered = changed(synthetic_history.partition(), early, ok=True, latency=took, error="")
        assert check_reachability(RecordedRun(answered)).verdict == verdict


def test_holes_and_drift_make_the_measurement_doubtful() -> None:
    records = synthetic_history.partition()
    inside = pair("svc1", "svc2", 8 * S, 9 * S)
    holed = [record for record in records if not (isinstance(record, Sample) and inside(record))]
    result = check_schedule(RecordedRun(holed))
    assert result.verdict == "unknown" and result.findings[0]["kind"] == "hole" and result.findings[0]["tries"] == 5
    later = pair("svc1", "svc2", 8 * S, 99 * S)
    drifted = [
        msgspec.structs.replace(record, t=record.t + 30 * MS)
        if isinstance(record, Sample) and later(record)
        else record
        for record in records
    ]
    assert check_schedule(RecordedRun(drifted)).findings[0]["kind"] == "drift"


def test_how_long_a_name_stays_stale() -> None:
    story = Story(services={"web": ORION, "client": MACBOOK})
    both = story.hosts
    alive = story.place({"web-1": ORION, "web-2": MACBOOK, "client": MACBOOK})
    one, two = story.addresses["web-1"], story.addresses["web-2"]
    story.took(0, 100 * MS, "run", label="run all", groups=(both,), **alive)
    dead = story.place({"web-1": ORION, "client": MACBOOK})
    story.event(5 * S, "kill", label="kill service web-2", **dead)
    for t in range(S, 20 * S, 250 * MS):
        answers = (one, two) if t < 6600 * MS else (one,)
        story.sample(t, "dns", "client", "web.weave.local", True, answers=answers)
    story.event(20 * S, "down")
    (finding,) = staleness(RecordedRun(story.finish()))
    assert (finding["what"], finding["replica"], finding["lasted"]) == ("stale", "web-2", 1500 * MS)
    assert finding["tries"] == 7 and finding["cleared"]


def test_a_host_that_comes_back_answers_before_its_step_has_ended() -> None:
    """Its names are right again at once; that is no answer that has been stale since it went."""
    story = Story(services={"web": ORION, "client": MACBOOK})
    story.took(0, 100 * MS, "run", label="run", groups=(story.hosts,), **story.place({"web": ORION, "client": MACBOOK}))
    gone = story.place({"client": MACBOOK})
    story.event(3 * S, "kill", "start", label="kill host", hosts=[ORION], step=50, groups=((MACBOOK,),), **gone)
    back = story.place({"web": ORION, "client": MACBOOK})
    story.event(15 * S, "kill", "end", label="kill host", hosts=[ORION], step=50, groups=(story.hosts,), **back)
    for t in range(S, 20 * S, 250 * MS):
        there = t < 5 * S or t >= 14800 * MS - 50 * MS
        answers = (story.addresses["web"],) if there else ()
        story.sample(t, "dns", "client", "web.weave.local", there, answers=answers, error="" if there else "NXDOMAIN")
    story.event(20 * S, "down")
    run = RecordedRun(story.finish())
    stale = next(finding for finding in staleness(run) if finding["what"] == "stale")
    assert stale["lasted"] > 10 * S and stale["streak"] < 3 * S and check_dns(run).verdict == "valid"


@pytest.mark.parametrize(("took", "verdict"), [(900 * MS, "valid"), (0, "invalid")])
def test_containers_of_a_host_that_comes_back_answer_while_the_others_still_start(took: int, verdict: str) -> None:
    services, rest = {"web": ORION, "client": MACBOOK, "other": MACBOOK}, {"client": MACBOOK, "other": MACBOOK}
    story = Story(services=services)
    hosts = list(story.hosts)
    story.took(0, 100 * MS, "run", label="run", hosts=hosts, groups=(story.hosts,), **story.place(services))
    for host in hosts:
        story.view(150 * MS, host, story.hosts)
    kill: dict[str, Any] = {"label": "kill host", "hosts": [ORION], "step": 50}
    story.event(3 * S, "kill", "start", **kill, groups=((MACBOOK,),), **story.place(rest))
    story.add(PeerGone(t=3 * S + MS, host=ORION))
    story.view(3 * S + 10 * MS, MACBOOK, (MACBOOK,))
    story.event(15 * S, "kill", "end", **kill, groups=(story.hosts,), took=took, **story.place(services))
    for t in range(S, 20 * S, 200 * MS):
        story.sample(t, "http", "client", "web", t < 3 * S or t >= 14300 * MS)
        story.sample(t, "http", "client", "other", True)
    story.event(20 * S, "down")
    assert check_reachability(RecordedRun(story.finish())).verdict == verdict


def test_a_killed_daemon_takes_its_names_along() -> None:
    """While it is down nobody is to answer with them; that they are missing then is not a late start of theirs."""
    story = Story(services={"web": ORION, "client": MACBOOK})
    everything = story.place({"web": ORION, "client": MACBOOK})
    story.took(0, 100 * MS, "run", label="run all", groups=(story.hosts,), **everything)
    for host in story.hosts:
        story.view(150 * MS, host, story.hosts)
    story.event(3 * S, "kill", "start", label="kill daemon", hosts=[ORION], step=50)
    story.add(PeerGone(t=3 * S, host=ORION))
    story.event(25 * S, "kill", "end", label="kill daemon", hosts=[ORION], step=50, ok=True)
    for t in range(S, 30 * S, 250 * MS):
        there = not 3 * S <= t < 25 * S
        answers = (story.addresses["web"],) if there else ()
        story.sample(t, "dns", "client", "web.weave.local", there, answers=answers, error="" if there else "NXDOMAIN")
    story.event(30 * S, "down")
    records = story.finish()
    assert check_dns(RecordedRun(records)).verdict == "valid"
    stubborn = changed(
        records,
        lambda s: s.probe == "dns" and not s.ok,
        ok=True,
        error="",
        answers=(story.addresses["web"],),
        latency=MS,
    )
    assert check_dns(RecordedRun(stubborn)).verdict == "invalid", "an answer with the names of a dead peer is stale"


def test_what_never_came_back_is_invalid_once_it_had_its_time() -> None:
    records = synthetic_history.partition()
    gone = changed(records, pair("svc3", "svc1", 25 * S, 99 * S), ok=False, latency=None)
    assert check_settled(RecordedRun(gone)).verdict == "valid", "seven seconds are too few to judge"
    early = changed(
        synthetic_history.partition(cut=5 * S), pair("svc3", "svc1", 20 * S, 99 * S), ok=False, latency=None
    )
    result = check_settled(RecordedRun(early))
    assert result.verdict == "invalid" and "svc3 → svc1" in result.findings[0]["waiting"][0]


def test_an_overlay_without_peers_is_judged_by_reachability_alone() -> None:
    story = Story(services={"x": ORION, "y": MACBOOK}, kind="none")
    story.took(0, 10 * MS, "run", label="run", groups=(story.hosts,), **story.place({"x": ORION, "y": MACBOOK}))
    for t in range(100 * MS, 3 * S, 100 * MS):
        story.sample(t, "http", "x", "y", True)
    story.event(3 * S, "down")
    run = RecordedRun(story.finish())
    assert list(run.convergence[0].metrics) == ["reachability"]
    assert check(run.records).verdict == "valid"

"""Churn: its rhythm and its draw as pure functions, and a whole run of it against a lab in memory."""

import io
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_lab import MS, MemoryBackend, run_virtual

from lab.checkers import RecordedRun
from lab.records.history import Event, Writer, decode
from lab.runner.runner import Runner
from lab.scenario.load import ScenarioError, parse
from lab.scenario.resolve import resolve
from lab.verbs.churn import Churn, Draw, gaps
from overlay.env import Random

S = 1000 * MS
HEAD = """
version: 1
seed: 7
underlay:
  hosts: {a: {}, b: {}, c: {}, d: {}}
services:
  web: {image: ksahnine/dummy-http, args: [web], replicas: 4}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {converged: all, within: 5s}
"""
HOSTS = ("a", "b", "c", "d")


def play(steps: str) -> tuple[str, RecordedRun]:
    scenario = resolve(parse(HEAD + steps), name="test")
    file = io.BytesIO()
    outcome = run_virtual(Runner(scenario, MemoryBackend(), Writer(file), version="1").run())
    return outcome.verdict + outcome.reason, RecordedRun(decode(line) for line in file.getvalue().splitlines())


def test_gaps_have_the_mean_that_was_asked_for() -> None:
    assert list(islice(gaps(5, "fixed", Random(1)), 3)) == [5, 5, 5]
    drawn = list(islice(gaps(S, "poisson", Random(1)), 3000))
    assert abs(sum(drawn) / len(drawn) / S - 1) < 0.06
    assert abs(sum(gap > S for gap in drawn) / len(drawn) - 0.368) < 0.03, "not exponential"


@given(seed=st.integers(), keep=st.integers(0, 3), crash=st.sampled_from(["0%", "50%", "100%"]), back=st.booleans())
def test_a_draw_keeps_enough_peers_and_brings_back_only_who_left(seed: int, keep: int, crash: str, back: bool) -> None:
    said = {"every": "1s", "for": "1s", "keep": keep, "crash": crash} | ({"downtime": "1s"} if back else {})
    draw = Draw(Churn.model_validate(said), HOSTS, Random(seed))
    up = dict.fromkeys(HOSTS)
    for _ in range(60):
        turn = draw.turn(tuple(up))
        if turn is None:
            assert len(up) == keep and back
            break
        if turn.what == "join":
            assert turn.host not in up and not back
            up[turn.host] = None
        else:
            assert {"0%": turn.what == "leave", "100%": turn.what == "crash"}.get(crash, True)
            del up[turn.host]
        assert len(up) >= keep and set(draw.away) == set(HOSTS) - set(up)


def test_a_churn_is_played_written_down_and_ends_with_everybody_back() -> None:
    steps = "  - churn: {rate: 2/s, for: 10s}\n  - expect: {converged: all, within: 20s}\n"
    said, run = play(steps)
    assert said == "valid"
    turns = [event for event in run.events if event.what in ("leave", "join")]
    assert len(turns) > 10 and {event.detail["mark"] for event in turns} >= {"churn", "daemon killed"}
    ends = {event.phase: event.t for event in run.events if event.what == "churn"}
    assert ends["end"] - ends["start"] >= 10 * S
    up = dict.fromkeys(HOSTS)
    for event in turns:
        (host,) = event.detail["hosts"]
        assert (host in up) == (event.what == "leave")
        up.pop(host) if event.what == "leave" else up.update({host: None})
        assert len(up) >= 2
    assert set(up) == set(HOSTS)
    # One change, at its end; an expectation that is asked meanwhile waits for it.
    assert [change.phase for change in run.convergence if change.what == "churn"] == ["end"]
    judged = next(event for event in run.events if event.what == "expect" and event.phase == "end" and event.step == 5)
    assert judged.t >= ends["end"]
    (band,) = [band for band in run.bands if band.what == "churn"]
    assert band.healed and (band.start, band.end) == (ends["start"], ends["end"])


def test_the_same_seed_gives_the_same_churn() -> None:
    steps = "  - churn: {every: 300ms, crash: 30%, for: 6s}\n"
    first, second = (play(steps)[1].records for _ in range(2))
    assert [r for r in first if isinstance(r, Event)] == [r for r in second if isinstance(r, Event)]


def test_hosts_that_churn_lose_power_and_come_back_with_their_containers() -> None:
    steps = "  - churn: {every: 1s, kind: fixed, target: host, downtime: 700ms, hosts: [b, c], for: 6s}\n"
    said, run = play(steps + "  - expect: {converged: all, within: 20s}\n  - expect: {reachable: all, within: 3s}\n")
    assert said == "valid"
    left = [event for event in run.events if event.what == "leave"]
    assert left and {event.detail["hosts"][0] for event in left} <= {"b", "c"}
    assert all(event.detail["hosts"][0] not in sum(event.groups, ()) for event in left)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("churn: {rate: 2/s}", "expected `for`: how long the churn lasts"),
        ("churn: {for: 2s}", "expected either `rate` (2/s) or `every` (500ms)"),
        ("churn: {rate: 2, for: 2s}", "expected a rate as 2/s or 30/m"),
        ("churn: {rate: 2/s, for: 2s, hosts: [aa]}", "expected a host: a, b, c, d"),
        ("churn: {rate: 2/s, for: 2s, kind: fixd}", "did you mean 'fixed'?"),
        ("churn: {rate: 2/s, for: 2s, hosts: [a], keep: 1}", "or nobody may leave"),
        ("slow_disk: {host: e}", "expected a host: a, b, c, d"),
        ("clock: {host: a, drift: 3}", "did you mean 'drift_ppm'?"),
    ],
)
def test_what_is_wrong_is_said(step: str, message: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        parse(HEAD + f"  - {step}\n")
    assert message in str(raised.value)


def test_devices_are_refused_where_they_cannot_be_disturbed() -> None:
    from lab.kinds.backends import backend

    scenario = resolve(parse(HEAD + "  - slow_disk: {host: a}\n  - clock: {host: b, drift_ppm: 100}\n"), name="x")
    absent = backend("vagrant").refuse(resolve(parse(HEAD), name="x"))  # what this machine lacks for any scenario
    reasons = [reason for reason in backend("vagrant").refuse(scenario) if reason not in absent]
    assert [reason.partition(":")[0] for reason in reasons] == ["timeline[4].slow_disk"]
    assert not backend("netns").refuse(scenario)

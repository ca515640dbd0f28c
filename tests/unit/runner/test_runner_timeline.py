"""The runner against a lab in memory and in virtual time: schedule, faults, expectations, verdicts, history."""

import asyncio
import io
from collections.abc import Callable
from typing import Any

import pytest
from memory_lab import MS, MemoryBackend, run_virtual

from lab.contracts.lab import CommandResult
from lab.records.history import AnyRecord, Event, Meta, PeerGone, Sample, View, Writer, decode
from lab.runner.runner import Runner, RunOutcome
from lab.scenario.load import parse
from lab.scenario.resolve import resolve

S = 1000 * MS
HEAD = """
version: 1
underlay:
  hosts: {a: {}, b: {}, c: {}}
services:
  one: {image: ksahnine/dummy-http, args: [one], host: a, address: 10.0.1.1/24}
  two: {image: ksahnine/dummy-http, args: [two], host: b, address: 10.0.1.2/24}
  web: {image: ksahnine/dummy-http, args: [web], replicas: 1}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {reachable: all, within: 5s}
"""


class Played:
    """A run that is over."""

    def __init__(self, outcome: RunOutcome, records: list[AnyRecord], backend: MemoryBackend) -> None:
        self.outcome, self.records, self.lab = outcome, records, backend.lab

    def events(self, what: str, phase: str = "") -> list[Event]:
        found = [record for record in self.records if isinstance(record, Event) and record.what == what]
        return [event for event in found if phase in ("", event.phase)]

    def samples(self, source: str, target: str) -> list[Sample]:
        found = [record for record in self.records if isinstance(record, Sample)]
        return [sample for sample in found if (sample.source, sample.target) == (source, target)]


def play(
    steps: str,
    *,
    head: str = HEAD,
    commands: Callable[[str, str, tuple[str, ...]], CommandResult] | None = None,
    meddle: Callable[[MemoryBackend, "asyncio.Task[Any]"], Any] | None = None,
) -> Played:
    scenario = resolve(parse(head + steps), name="test")
    backend, file = MemoryBackend(commands), io.BytesIO()

    async def run() -> RunOutcome:
        task = asyncio.create_task(Runner(scenario, backend, Writer(file), version="1").run())
        if meddle is not None:
            await meddle(backend, task)
        return await task

    outcome = run_virtual(run())
    return Played(outcome, [decode(line) for line in file.getvalue().splitlines()], backend)


def test_a_good_run_is_valid_and_its_history_complete() -> None:
    played = play("  - expect: {converged: all, within: 5s}\n")
    assert (played.outcome.verdict, played.outcome.reason) == ("valid", "")
    assert isinstance(played.records[0], Meta) and played.records[0].backend == "memory"
    assert played.records[0].started == ""
    assert [event.what for event in played.records if isinstance(event, Event) and event.phase == "end"][:3] == [
        "up",
        "launch",
        "connect",
    ]
    assert played.events("down") and played.lab.is_down
    assert {view.host for view in played.records if isinstance(view, View)} == {"a", "b", "c"}
    ran = played.events("run", "end")[0]
    assert ran.detail["replicas"] == {"one": "a", "two": "b", "web-1": "a"}
    assert ran.detail["addresses"]["one"] == "10.0.1.1"


def test_the_first_agreement_is_among_all_hosts_unless_said_otherwise() -> None:
    launched = [argv for _, argv in play("").lab.calls if argv[:2] == ("weave", "launch")]
    assert launched == [("weave", "launch", "--ipalloc-init", "consensus=3")] * 3


def test_pairs_of_different_subnets_are_not_probed() -> None:
    played = play("")
    assert played.samples("one", "two") and not played.samples("one", "web-1")


def test_at_counts_from_the_first_step() -> None:
    played = play("  - {at: 10s, partition: {isolate: a}}\n  - {at: 12s, heal: all}\n")
    origin = played.events("launch", "start")[0].t
    assert played.events("partition", "start")[0].t == origin + 10 * S
    assert played.events("partition", "end")[0].t == origin + 12 * S


def test_a_partition_heals_by_itself_and_says_who_reaches_whom() -> None:
    played = play("  - partition: {groups: [[a]], for: 3s}\n  - expect: {unreachable: {from: one, to: two}}\n")
    start, end = played.events("partition")
    assert (start.phase, start.groups) == ("start", (("a",), ("b", "c")))
    assert (end.phase, end.groups, end.t - start.t) == ("end", (("a", "b", "c"),), 3 * S)
    assert played.outcome.verdict == "valid"


def test_overlapping_partitions_heal_on_their_own_time() -> None:
    played = play(
        "  - {at: 10s, partition: {isolate: a, for: 4s}}\n"
        "  - {at: 12s, partition: {one_way: {from: [b], to: [c]}, for: 4s}}\n"
    )
    cuts = [pairs for _, pairs in played.lab.cuts[1:]]
    isolated = {("a", "b"), ("b", "a"), ("a", "c"), ("c", "a")}
    assert cuts == [isolated, isolated | {("b", "c")}, {("b", "c")}, set()]


def test_heal_ends_partitions_before_their_time_once() -> None:
    played = play("  - partition: {isolate: a, for: 60s}\n  - heal: all\n")
    assert len(played.events("partition", "end")) == 1
    assert played.outcome.took < 20 * S


def test_expectations_look_at_fresh_samples_only() -> None:
    # When the cut begins every latest sample is good, so only a sample that was due later can show it.
    played = play(
        "  - partition: {isolate: a}\n  - expect: {unreachable: {from: one, to: two}, within: 3s}\n"
        "  - heal: all\n  - expect: {reachable: {from: one, to: two}, within: 3s}\n"
    )
    cut, healed = played.outcome.expectations[1:]
    assert cut.ok and cut.took >= 1 * S  # a failure is known after the probe's timeout
    assert healed.ok and healed.took <= 300 * MS
    assert played.outcome.verdict == "valid"


def test_a_failed_expectation_ends_the_run_and_shows_the_samples() -> None:
    played = play("  - partition: {isolate: a}\n  - expect: {reachable: all, within: 3s}\n  - heal: all\n")
    assert played.outcome.verdict == "invalid"
    failed = played.outcome.expectations[-1]
    assert failed.took >= 3 * S and "one → two: timeout" in failed.error
    assert failed.samples and not failed.samples[0]["ok"]
    assert played.events("expect", "end")[-1].detail["samples"] == list(failed.samples)
    assert not played.events("heal")
    assert played.events("down")


def test_a_failed_expectation_may_let_the_run_go_on() -> None:
    played = play(
        "  - partition: {isolate: a}\n  - {expect: {reachable: all, within: 1s}, on_failure: continue}\n  - heal: all\n"
    )
    assert played.outcome.verdict == "invalid" and played.events("heal", "end")


def test_an_expectation_must_hold_as_long_as_it_says() -> None:
    played = play("  - {at: 10s, wait: 0s}\n  - {at: 11s, partition: {isolate: a, for: 3s}}\n", head=HEAD)
    assert played.outcome.verdict == "valid"
    held = play("  - expect: {reachable: all, within: 2s, for: 4s}\n")
    assert 4 * S <= held.outcome.expectations[-1].took <= 5 * S


def test_holding_starts_anew_when_it_breaks() -> None:
    played = play("  - partition: {isolate: a, for: 1s}\n  - expect: {reachable: all, within: 9s, for: 3s}\n")
    assert played.outcome.verdict == "valid" and played.outcome.expectations[-1].took >= 4 * S


def test_a_daemon_that_stops_unasked_is_a_crash() -> None:
    async def crash(backend: MemoryBackend, task: "asyncio.Task[Any]") -> None:
        await asyncio.sleep(8)
        await backend.lab.machines["b"].kill_daemon()

    log = CommandResult(0, "starting\nassert broken\n", "")
    played = play("  - wait: 30s\n", commands=lambda host, container, argv: log, meddle=crash)
    assert played.outcome.verdict == "invalid"
    assert "daemon on b stopped" in played.outcome.reason and "assert broken" in played.outcome.reason
    assert played.outcome.took < 10 * S
    assert played.events("crash")[0].ok is False


def test_a_killed_daemon_comes_back_and_probes_go_on() -> None:
    played = play(
        "  - expect: {converged: all}\n  - kill: {daemon: b}\n  - expect: {reachable: all, within: 2s, for: 2s}\n"
        "  - restart: {daemon: b}\n  - expect: {converged: all, within: 5s}\n"
    )
    assert played.outcome.verdict == "valid"
    assert [record.host for record in played.records if isinstance(record, PeerGone)] == ["b"]
    assert played.events("kill", "start")[0].detail["hosts"] == ["b"]
    assert not played.events("kill", "end")  # the restart is its end
    assert played.lab.calls.count(("b", ("weave", "launch", "--ipalloc-init", "consensus=3"))) == 2


def test_a_killed_host_is_in_no_group_until_it_is_started() -> None:
    played = play(
        "  - kill: {host: b, for: 4s}\n  - expect: {unreachable: {from: one, to: two}, within: 3s}\n"
        "  - {at: 20s, expect: {reachable: all, within: 5s}}\n  - expect: {converged: all, within: 5s}\n"
    )
    assert played.outcome.verdict == "valid"
    start, end = played.events("kill")
    assert start.groups == (("a", "c"),) and end.groups == (("a", "b", "c"),)
    assert "two" not in start.detail["replicas"] and end.detail["replicas"]["two"] == "b"


def test_a_killed_service_answers_again_after_its_restart() -> None:
    played = play(
        "  - kill: {service: two}\n  - expect: {unreachable: {from: one, to: two}, within: 3s}\n"
        "  - restart: {service: two}\n  - expect: {reachable: {from: one, to: two}, within: 3s}\n"
    )
    assert played.outcome.verdict == "valid"
    assert ("b", ("weave", "attach", "10.0.1.2/24", "two")) in played.lab.calls


def test_replicas_join_the_probes_and_leave_them() -> None:
    played = play(
        "  - scale: {service: web, to: 4}\n"
        "  - expect: {dns: {name: web.weave.local, answers: 4}, within: 5s}\n"
        "  - expect: {reachable: {from: web-1, to: web-4}, within: 5s}\n"
        "  - scale: {service: web, to: 1}\n  - wait: 3s\n"
        "  - expect: {dns: {name: web.weave.local, answers: [10.32.0.2], from: one}, within: 5s}\n"
    )
    assert played.outcome.verdict == "valid"
    assert list(played.events("scale", "end")[0].detail["replicas"])[2:] == [
        "web-1",
        "web-2",
        "web-3",
        "web-4",
    ]
    shrunk = played.events("scale", "end")[1]
    assert max(sample.t for sample in played.samples("web-1", "web-4")) <= shrunk.t
    # The name is asked for only as long as somebody wants to know.
    asked = [sample.t for sample in played.samples("web-1", "web.weave.local")]
    expected = played.outcome.expectations[1]
    assert max(asked) <= played.events("expect", "start")[1].t + expected.took


def test_the_schedule_of_a_series_is_not_shifted_by_others() -> None:
    played = play("  - scale: {service: web, to: 3}\n  - scale: {service: web, to: 1}\n  - wait: 2s\n")
    due = [sample.t for sample in played.samples("one", "two")]
    assert {t % (200 * MS) for t in due} == {0} and due == sorted(set(due))


def test_commands_are_judged_by_code_and_output() -> None:
    def answer(host: str, container: str, argv: tuple[str, ...]) -> CommandResult:
        return CommandResult(3, "hello\nworld\n", "no such thing\n")

    good = "  - exec: {service: one, command: echo, expect: {code: 3, stdout: ^world$}}\n"
    assert play(good, commands=answer).outcome.verdict == "valid"
    bad = play("  - exec: {host: a, command: [ls, x]}\n  - wait: 1s\n", commands=answer)
    assert bad.outcome.verdict == "invalid"
    assert "exit code 3, expected 0: no such thing" in bad.outcome.reason
    assert not bad.events("wait")


def test_a_power_cut_while_a_disk_is_mended_is_no_error() -> None:
    steps = """
  - {at: 20s, slow_disk: {host: a, latency: 1s, for: 5s}}
  - {at: 20s, slow_disk: {host: a, latency: 0s, torn: true}}
  - {at: 25500ms, kill: {host: a}}
  - {at: 30s, restart: {host: a}}
"""
    played = play(steps)
    assert (played.outcome.verdict, played.outcome.reason) == ("valid", "")
    assert played.lab.machines["a"].disk == (0, False, True)


def test_an_interrupt_stops_cleanly_and_keeps_the_history() -> None:
    async def interrupt(backend: MemoryBackend, task: "asyncio.Task[Any]") -> None:
        await asyncio.sleep(5)
        task.cancel()

    played = play("  - wait: 60s\n", meddle=interrupt)
    assert (played.outcome.verdict, played.outcome.reason) == ("unknown", "interrupted")
    assert played.lab.is_down and not played.events("down")
    assert played.samples("one", "two")


def test_the_same_run_twice_is_the_same_history() -> None:
    steps = "  - partition: {isolate: a, for: 2s}\n  - scale: {service: web, to: 3}\n  - expect: {converged: all}\n"
    assert play(steps).records == play(steps).records


def test_what_runs_beside_ends_the_run_when_it_ends() -> None:
    scenario = resolve(parse(HEAD + "  - wait: 60s\n"), name="test")

    async def run() -> RunOutcome:
        async def beside(stage: Any) -> None:
            await stage.lab.sleep_until(5 * S)

        return await Runner(scenario, MemoryBackend(), Writer(io.BytesIO()), beside=beside).run()

    outcome = run_virtual(run())
    assert outcome.verdict == "unknown" and "another command" in outcome.reason


@pytest.mark.parametrize("verdict", ["valid", "invalid"])
def test_a_kept_lab_is_up_when_its_outcome_is_told(verdict: str) -> None:
    steps = "" if verdict == "valid" else "  - expect: {unreachable: all, within: 1s}\n"
    scenario = resolve(parse(HEAD + steps), name="test")
    backend, told = MemoryBackend(), []

    async def keep(outcome: RunOutcome) -> None:
        told.append((outcome.verdict, backend.lab.is_down))

    run_virtual(Runner(scenario, backend, Writer(io.BytesIO()), keep=keep).run())
    assert told == [(verdict, False)] and backend.lab.is_down

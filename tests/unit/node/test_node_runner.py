"""The runner of cores: the order of effects, full and slow disks, timers, requests, watchers."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from overlay.effects import Effect, Log, Persist, RemoveForwarding, Reply
from overlay.env import MILLISECOND, SECOND
from overlay.errors import EnvironmentProblem
from overlay.inputs import CancelRequest, Input, Prime, Wake
from overlay.runtime.loop_clock import LoopClock
from overlay.runtime.node_runner import AFTER_FAULT, COALESCE, DISK_RETRY, NodeRunner

SENT = RemoveForwarding("02:00:00:00:00:01")
LATER = RemoveForwarding("02:00:00:00:00:02")


class World:
    """A core by script, a clock, a store, and what happened in order."""

    def __init__(self, **options: Any) -> None:
        self.time = 0
        self.latency = 0
        self.full = False
        self.due: int | None = None
        self.script: list[list[Effect]] = []
        self.inputs: list[Input] = []
        self.happened: list[object] = []
        self.timers: list[tuple[int, int, Callable[[], None]]] = []
        self.changed = False
        self.breaks = False
        self.runner = NodeRunner(self, self, self, {}, other=self.one, **options)

    # the core

    def handle(self, input: Input, now: int) -> list[Effect]:
        self.inputs.append(input)
        if type(input) is Wake:
            self.due = None
            if self.breaks:
                raise ZeroDivisionError
        return self.script.pop(0) if self.script else []

    def deadline(self) -> int | None:
        return self.due

    def view(self, now: int) -> str:
        self.changed = False
        return f"view at {now}"

    def view_changed(self) -> bool:
        return self.changed

    # clock and store

    def now(self) -> int:
        return self.time

    def call_at(self, due: int, action: Callable[..., None], *arguments: Any) -> None:
        self.timers.append((max(due, self.time), len(self.timers), lambda: action(*arguments)))

    def call_after(self, delay: int, action: Callable[..., None], *arguments: Any) -> None:
        self.call_at(self.time + delay, action, *arguments)

    def persist(self, items: list[tuple[str, bytes]]) -> None:
        if self.full:
            raise EnvironmentProblem("the disk is full")
        self.happened += [key for key, _ in items]

    # the world

    def one(self, effect: Effect) -> None:
        self.happened.append(effect)

    def give(self, *effects: Effect) -> None:
        self.script.append(list(effects))
        self.runner.feed(Prime(0))

    def run(self, duration: int) -> None:
        end = self.time + duration
        while due := [timer for timer in self.timers if timer[0] <= end]:
            timer = min(due)
            self.timers.remove(timer)
            self.time = timer[0]
            timer[2]()
        self.time = end


def test_what_must_be_durable_is_written_before_anything_is_done() -> None:
    world = World()
    world.give(SENT, Persist("a", b"1"), LATER, Persist("b", b"2"))
    assert world.happened == ["a", "b", SENT, LATER]


def test_a_full_disk_holds_everything_behind_and_before_the_write_in_order() -> None:
    world = World()
    world.full = True
    world.give(SENT, Persist("a", b"1"))
    world.give(LATER)
    assert world.runner.blocked
    assert [type(effect) for effect in world.happened] == [Log]
    world.run(3 * DISK_RETRY)
    assert len(world.happened) == 1, "said once"
    world.full = False
    world.run(DISK_RETRY)
    assert not world.runner.blocked
    assert [effect for effect in world.happened if type(effect) is not Log] == ["a", SENT, LATER]
    world.give(SENT)
    assert world.happened[-1] == SENT


def test_a_slow_disk_delays_and_does_not_reorder() -> None:
    world = World()
    world.latency = 200 * MILLISECOND
    world.give(Persist("a", b"1"), SENT)
    world.give(LATER)
    world.run(199 * MILLISECOND)
    assert world.happened == []
    world.run(MILLISECOND)
    assert world.happened == ["a", SENT, LATER]
    world.give(Persist("b", b"1"), SENT)
    assert world.happened == ["a", SENT, LATER], "the next write takes its time too"


def test_effects_that_come_while_others_are_done_wait_their_turn() -> None:
    world = World()
    plain = world.one

    def one(effect: Effect) -> None:
        plain(effect)
        if effect == SENT and world.happened.count(SENT) == 1:
            world.give(Persist("nested", b""), Log("info", "nested"))

    world.runner = NodeRunner(world, world, world, {}, other=one)
    world.give(SENT, LATER)
    assert world.happened == [SENT, LATER, "nested", Log("info", "nested")]


def test_one_wake_at_the_earliest_deadline() -> None:
    world = World()
    world.due = 3 * SECOND
    world.give()
    world.due = SECOND
    world.give()
    world.run(SECOND)
    assert [type(item) for item in world.inputs] == [Prime, Prime, Wake]
    world.run(5 * SECOND)
    assert len(world.inputs) == 3, "the timer that an earlier one replaced wakes nobody"


def test_a_deadline_that_moved_away_is_waited_for() -> None:
    world = World()
    world.due = SECOND
    world.give()
    world.due = 2 * SECOND
    world.give()
    world.run(2 * SECOND - 1)
    assert Wake() not in world.inputs
    world.run(1)
    assert Wake() in world.inputs


def test_a_clock_that_was_set_ahead_wakes_at_once() -> None:
    world = World()
    world.due = 10 * SECOND
    world.give()
    world.time = 20 * SECOND
    world.runner.clock_was_set()
    world.run(0)
    assert Wake() in world.inputs


def test_a_core_that_fails_when_woken_does_not_stop_its_clock() -> None:
    failures: list[Exception] = []
    world = World(failed=failures.append)
    world.breaks = True
    world.due = SECOND
    world.give()
    world.run(SECOND)
    assert [type(error) for error in failures] == [ZeroDivisionError]
    world.breaks = False
    world.due = SECOND
    world.run(AFTER_FAULT)
    assert world.inputs.count(Wake()) == 2


def test_without_anybody_to_tell_the_failure_passes() -> None:
    world = World()
    world.breaks = True
    world.due = SECOND
    world.give()
    with pytest.raises(ZeroDivisionError):
        world.run(SECOND)


def test_each_request_is_answered_once_or_cancelled() -> None:
    world = World()
    answers: list[Reply] = []
    world.runner = NodeRunner(world, world, world, {Reply: lambda effect: world.runner.reply(effect)}, other=world.one)
    world.script.append([Reply(1, "yes")])
    assert world.runner.request(Prime, answers.append) == 1
    assert [answer.value for answer in answers] == ["yes"]
    world.runner.cancel(1)
    assert CancelRequest(1) not in world.inputs, "it was answered"
    assert world.runner.request(Prime, answers.append) == 2
    world.runner.cancel(2)
    assert world.inputs[-1] == CancelRequest(2)
    world.give(Reply(2, "late"))
    assert len(answers) == 1


def test_watchers_hear_at_once_and_then_a_burst_as_one_change() -> None:
    world = World()
    heard: list[tuple[int, str]] = []

    def watcher(t: int, view: str) -> None:
        heard.append((t, view))

    world.runner.watch(watcher)
    for _ in range(3):
        world.changed = True
        world.give()
    world.run(COALESCE)
    assert heard == [(0, "view at 0"), (COALESCE, f"view at {COALESCE}")]
    world.runner.unwatch(watcher)
    world.changed = True
    world.give()
    world.run(SECOND)
    assert len(heard) == 2


def test_nothing_happens_after_the_stop() -> None:
    world = World()
    world.full = True
    world.due = SECOND
    world.give(Persist("a", b""), SENT)
    world.runner.stop()
    world.full = False
    done, handled = list(world.happened), len(world.inputs)
    world.give(SENT)
    world.run(5 * SECOND)
    assert (world.happened, len(world.inputs)) == (done, handled)


def test_a_far_deadline_that_is_asked_for_again_and_again_is_one_timer_of_the_loop() -> None:
    async def work() -> None:
        clock = LoopClock(time.monotonic_ns)
        called = asyncio.Event()
        times: list[int] = []

        def action(due: int) -> None:
            times.append(due)
            called.set()

        due = clock.now() + 20 * MILLISECOND
        for _ in range(100):
            clock.call_at(due, action, due)
        assert len(clock._pending) == 1
        await called.wait()
        assert times == [due] and not clock._pending
        called.clear()
        clock.call_at(due, action, due)  # past by now: at once, and again
        await called.wait()
        assert times == [due, due]

    asyncio.run(work())

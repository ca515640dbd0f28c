"""The machine that simulated hosts share: cores, one message at a time for each peer, and the waits of a true queue."""

import random
from collections import deque
from math import factorial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.sim.machine import CpuModel
from lab.sim.scheduler import Scheduler

Arrival = tuple[int, str, int]
"""(time, peer, bytes)."""


def played(cores: int, arrivals: list[Arrival], per_message: int = 0, per_byte: int = 1) -> tuple[list[int], int]:
    """When each message was read, and the time that cores took."""
    scheduler = Scheduler()
    machine = CpuModel(scheduler, cores, per_message, per_byte)
    read = [0] * len(arrivals)

    def note(number: int) -> None:
        read[number] = scheduler.now

    for number, (t, who, size) in enumerate(arrivals):
        scheduler.at(t, machine.work, who, size, note, number)
    scheduler.run(10**15)
    return read, machine.used


def test_costs_are_per_message_and_per_byte() -> None:
    read, used = played(1, [(1000, "a", 0), (1000, "a", 50), (5000, "a", 0)], 100, 2)
    assert (read, used) == ([1100, 1300, 5100], 400)


def test_two_peers_share_a_core_and_not_two() -> None:
    for cores, done in ((1, [10, 20, 30]), (2, [10, 10, 20]), (3, [10, 10, 10])):
        assert played(cores, [(0, who, 10) for who in "abc"])[0] == done


def test_a_backlog_of_one_peer_leaves_the_other_core_to_others() -> None:
    read, _ = played(2, [*[(0, "a", 1000)] * 4, (0, "b", 1000)])
    assert read == [1000, 2000, 3000, 4000, 1000]


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 20), st.sampled_from("abcd"), st.integers(1, 9)), max_size=40),
)
def test_it_is_the_queue_that_a_clock_of_single_ticks_plays(cores: int, gaps: list[Arrival]) -> None:
    """The same queue without events: at each tick the cores go to those who waited longest."""
    arrivals, now = list[Arrival](), 0
    for gap, who, size in gaps:
        now += gap
        arrivals.append((now, who, size))
    left = [size for _, _, size in arrivals]
    read = [0] * len(arrivals)
    backlog: dict[str, deque[int]] = {who: deque() for who in "abcd"}
    waiting, running = deque[str](), list[str]()
    for tick in range(now + sum(left) + 2):
        for number, (t, who, _) in enumerate(arrivals):
            if t == tick:  # before the ends of this tick: its event was scheduled first
                backlog[who].append(number)
                if len(backlog[who]) == 1:
                    waiting.append(who)
        while len(running) < cores and waiting:
            running.append(waiting.popleft())
        for who in list(running):
            if left[backlog[who][0]] == 0:
                read[backlog[who].popleft()] = tick
                running.remove(who)
                if backlog[who]:
                    waiting.append(who)
                while len(running) < cores and waiting:
                    running.append(waiting.popleft())
        for who in running:
            left[backlog[who][0]] -= 1
    assert played(cores, arrivals)[0] == read


@pytest.mark.parametrize("cores", [1, 2, 4, 8])
def test_waits_are_those_of_a_queue_with_so_many_servers(cores: int) -> None:
    """M/M/c (Erlang 1917): a Poisson stream of messages, each of a peer of its own, exponential service times."""
    rng, mean, load, number = random.Random(cores), 1_000_000, 0.6, 100_000
    now, arrivals = 0.0, list[Arrival]()
    for count in range(number):
        now += rng.expovariate(load * cores / mean)
        arrivals.append((int(now), str(count), round(rng.expovariate(1 / mean))))
    read, _ = played(cores, arrivals)
    waited = sum(done - t - size for done, (t, _, size) in zip(read, arrivals, strict=True)) / number
    offered = load * cores
    all_busy = offered**cores / factorial(cores) / (1 - load)
    queued = all_busy / (sum(offered**k / factorial(k) for k in range(cores)) + all_busy)
    assert waited == pytest.approx(queued * mean / (cores * (1 - load)), rel=0.1)


def test_a_host_under_stress_waits_for_its_turn_and_keeps_its_order() -> None:
    scheduler = Scheduler()
    model = CpuModel(scheduler, 1, 10, 0)
    done: list[tuple[str, int]] = []
    model.change(30, 0, 100)
    for name in ("first", "second"):
        model.work("peer", 0, lambda name=name: done.append((name, scheduler.now)))
    model.change(0, 0, 0)
    model.work("peer", 0, lambda: done.append(("third", scheduler.now)))
    scheduler.run(1000)
    assert done == [("first", 130), ("second", 160), ("third", 160)]

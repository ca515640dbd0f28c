"""The machine that simulated hosts share: cores, and one message at a time for each peer."""

from hypothesis import given
from hypothesis import strategies as st

from lab.sim.machine import CpuModel


class Worker:
    def __init__(self) -> None:
        self.busy_until = 0


def test_costs_are_per_message_and_per_byte() -> None:
    machine, peer = CpuModel(1, 100, 2), Worker()
    assert machine.work(peer, 1000, 0) == 1100
    assert machine.work(peer, 1000, 50) == 1300, "it waits for the one before"
    assert machine.work(peer, 5000, 0) == 5100
    assert machine.used == 400


def test_two_peers_share_a_core_and_not_two() -> None:
    for cores, done in ((1, [10, 20, 30]), (2, [10, 10, 20]), (3, [10, 10, 10])):
        machine = CpuModel(cores, 10, 0)
        assert [machine.work(Worker(), 0, 0) for _ in range(3)] == done


@given(st.integers(1, 4), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 100), st.integers(0, 9)), max_size=60))
def test_no_core_does_two_things_at_once_and_no_peer_overtakes_itself(
    cores: int, arrivals: list[tuple[int, int, int]]
) -> None:
    machine, peers = CpuModel(cores, 7, 3), [Worker() for _ in range(4)]
    now, spans = 0, list[tuple[int, int, int]]()
    for who, gap, size in arrivals:
        now += gap
        done = machine.work(peers[who], now, size)
        spans.append((done - 7 - 3 * size, done, who))
        assert done - 7 - 3 * size >= now
    for begin, _, who in spans:
        at_once = [span for span in spans if span[0] <= begin < span[1]]
        assert len(at_once) <= cores and len([span for span in at_once if span[2] == who]) == 1

"""Batches of a cluster: tasks are grouped by the time they take, and each keeps its own result."""

from concurrent.futures import Future, wait
from pathlib import Path

import pytest
from sweep_players import fail_at_three, make_up, tasks

from lab.sweep.batches import MOST, SECONDS, Batches, Played, play_batch
from lab.sweep.play import Task


class Sender:
    """A cluster in this process. A batch with seed `deadly` ends its worker; others take `each` seconds a task."""

    def __init__(self, each: float, deadly: int = -1) -> None:
        self.sent: list[list[int]] = []
        self._each, self._deadly = each, deadly

    def __call__(self, batch: list[Task]) -> Future[Played]:
        self.sent.append([task.seed for task in batch])
        future: Future[Played] = Future()
        if self._deadly in self.sent[-1]:
            future.set_exception(RuntimeError("the worker died"))
        else:
            future.set_result((self._each * len(batch), play_batch(fail_at_three, batch)[1]))
        return future


def test_short_tasks_go_by_the_dozen_and_long_ones_alone(tmp_path: Path) -> None:
    short, long = Batches(short_sender := Sender(0.001)), Batches(long_sender := Sender(5 * SECONDS))
    made = tasks(range(10, 500), tmp_path)
    futures = [short.submit(task) for task in made]
    short.flush()
    assert [future.result(60).seed for future in futures] == list(range(10, 500))
    assert len(short_sender.sent[0]) == 1 and max(map(len, short_sender.sent)) == MOST == short.size
    futures = [long.submit(task) for task in made[:5]]
    long.flush()
    wait(futures, 60)
    assert [len(batch) for batch in long_sender.sent] == [1] * 5


def test_tasks_that_do_not_fill_a_batch_are_sent_all_the_same(tmp_path: Path) -> None:
    batches = Batches(Sender(0.001))
    batches.submit(tasks(range(1), tmp_path)[0]).result(60)
    assert batches.size == MOST
    futures = [batches.submit(task) for task in tasks(range(10, 15), tmp_path)]
    assert [future.result(60).seed for future in futures] == list(range(10, 15))


def test_an_error_is_that_of_its_own_task(tmp_path: Path) -> None:
    batches = Batches(sender := Sender(0.1))
    batches.size = 8
    futures = [batches.submit(task) for task in tasks(range(8), tmp_path)]
    assert sender.sent == [list(range(8))]
    with pytest.raises(ValueError, match="no such luck"):
        futures[3].result(60)
    assert [future.result(60).seed for index, future in enumerate(futures) if index != 3] == [0, 1, 2, 4, 5, 6, 7]


def test_a_worker_that_dies_costs_the_task_that_did_it(tmp_path: Path) -> None:
    batches = Batches(sender := Sender(0.1, deadly=6))
    batches.size = 4
    futures = [batches.submit(task) for task in tasks(range(4, 8), tmp_path)]
    with pytest.raises(RuntimeError, match="the worker died"):
        futures[2].result(60)
    assert [future.result(60).seed for index, future in enumerate(futures) if index != 2] == [4, 5, 7]
    assert sender.sent == [[4, 5, 6, 7], [4], [5], [6], [7]]


def test_nothing_is_sent_after_the_end(tmp_path: Path) -> None:
    batches = Batches(sender := Sender(0.1))
    batches.size = 4
    batches.submit(tasks(range(1), tmp_path)[0])
    batches.stop()
    batches.flush()
    assert sender.sent == []
    assert play_batch(make_up, ())[1] == []

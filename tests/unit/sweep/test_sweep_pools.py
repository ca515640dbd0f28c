"""Worker processes: what becomes of a sweep when they die, fail, are interrupted, or lose their parent."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import BrokenExecutor, Future
from pathlib import Path

import pytest
from sweep_players import die_at_three, fail_at_three, hang, make_up, planned
from waiting import eventually

from lab.sweep.measure import Point
from lab.sweep.play import Task
from lab.sweep.pools import Processes
from lab.sweep.run import sweep

SUPPORT = Path(__file__).parents[2] / "support"


def test_a_sweep_goes_on_where_it_ended(tmp_path: Path) -> None:
    first = sweep(planned(range(3), tmp_path), lambda: Processes(1, make_up))
    second = sweep(planned(range(5), tmp_path), lambda: Processes(2, make_up))
    assert first.complete and second.complete and second.reused == 3
    assert sorted((tmp_path / "played").read_text().split()) == ["0", "1", "2", "3", "4"]
    assert [point.seed for point in second.points] == [0, 1, 2, 3, 4]
    no_pool = sweep(planned(range(5), tmp_path), lambda: pytest.fail("there is nothing to play"))
    assert no_pool.points == second.points


def test_a_worker_that_dies_costs_its_own_run_only(tmp_path: Path) -> None:
    swept = sweep(planned(range(8), tmp_path), lambda: Processes(2, die_at_three))
    assert [point.seed for point in swept.points if point.failed] == [3]
    assert not swept.complete and "died twice" in next(p.reason for p in swept.points if p.failed)
    # What failed is tried again.
    assert sweep(planned(range(8), tmp_path), lambda: Processes(1, make_up)).complete


class Breaking:
    """Plays at once; from the third task on it is broken, as a pool is whose worker died idle, until it is renewed."""

    width, ahead, where = 2, 4, "here"

    def __init__(self) -> None:
        self.taken = 0
        self.renewed = 0

    def submit(self, task: Task) -> Future[Point]:
        self.taken += 1
        if self.taken >= 3 and not self.renewed:
            raise BrokenExecutor("a worker died")
        future: Future[Point] = Future()
        future.set_result(make_up(task))
        return future

    def renew(self) -> None:
        self.renewed += 1

    def close(self) -> None:
        pass


def test_a_pool_that_breaks_while_tasks_are_handed_out_is_renewed(tmp_path: Path) -> None:
    pool = Breaking()
    assert sweep(planned(range(8), tmp_path), lambda: pool).complete
    assert pool.renewed == 1
    assert sorted((tmp_path / "played").read_text().split()) == [str(seed) for seed in range(8)]


def test_an_error_in_a_run_is_its_result(tmp_path: Path) -> None:
    swept = sweep(planned(range(5), tmp_path), lambda: Processes(1, fail_at_three))
    assert [(p.seed, p.reason) for p in swept.points if p.failed] == [(3, "ValueError: no such luck")]


def test_an_interrupt_keeps_what_is_done(tmp_path: Path) -> None:
    told: list[int] = []

    def interrupt(point: object) -> None:
        told.append(1)
        if len(told) == 2:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    swept = sweep(planned(range(100), tmp_path), lambda: Processes(1, make_up), interrupt)
    assert swept.interrupted and 2 <= len(swept.points) < 100
    assert threading.current_thread() is threading.main_thread()
    assert signal.getsignal(signal.SIGINT) is before
    assert sweep(planned(range(100), tmp_path), lambda: Processes(1, make_up)).reused == len(swept.points)


def test_kill_9_leaves_no_workers(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(SUPPORT)!r})\n"
        "from pathlib import Path\n"
        "from sweep_players import hang, planned\n"
        "from lab.sweep.pools import Processes\n"
        "from lab.sweep.run import sweep\n"
        "if __name__ == '__main__':\n"
        f"    sweep(planned(range(4), Path({str(tmp_path)!r})), lambda: Processes(2, hang))\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    process = subprocess.Popen([sys.executable, str(script)])
    eventually(lambda: len(list(tmp_path.glob("worker-*"))) == 2)
    workers = [int(path.name.partition("-")[2]) for path in tmp_path.glob("worker-*")]
    process.kill()
    process.wait()

    def gone(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        # Nobody may have taken note of its death: in a container process 1 need not.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"

    eventually(lambda: all(gone(pid) for pid in workers))


def test_closing_a_pool_ends_what_it_was_at(tmp_path: Path) -> None:
    pool = Processes(1, hang)
    pool.submit(planned(range(1), tmp_path).tasks[0])
    eventually(lambda: list(tmp_path.glob("worker-*")))
    pid = int(next(tmp_path.glob("worker-*")).name.partition("-")[2])
    pool.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)

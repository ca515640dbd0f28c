"""Where the runs of a sweep are played: processes of this machine, one `lab run` after the other, or a Dask cluster.

Each is a `WorkerPool` of futures; none knows what a task means. Workers end with the sweep, also when it is killed.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import connection
from typing import Any, Protocol

from lab.errors import LabError
from lab.sweep.batches import Batches, Played, play_batch
from lab.sweep.ledger import code_version
from lab.sweep.measure import Point
from lab.sweep.play import CommandPlayer, Task, play_here

__all__ = ["Cluster", "OneByOne", "Processes", "WorkerPool", "begin_worker", "cores"]

Player = Callable[[Task], Point]
_AHEAD = 2
"""Tasks submitted per slot of a pool, so that no worker waits for this process."""
_CONNECT = 10
"""Seconds to wait for a scheduler."""


class WorkerPool(Protocol):
    """Plays tasks."""

    width: int
    """Number of tasks that it plays at once."""
    where: str
    """Description in words."""

    @property
    def ahead(self) -> int:
        """Number of tasks to submit at once, so that no worker waits."""
        ...

    def submit(self, task: Task) -> "Future[Point]":
        """Play the task as soon as a worker is free. The future fails with `BrokenExecutor` when a worker died."""
        ...

    def renew(self) -> None:
        """Replace the workers after one died."""
        ...

    def close(self) -> None:
        """End all workers at once; their current tasks are lost."""
        ...


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


class Processes:
    """New processes of this machine, each with its own interpreter."""

    def __init__(self, jobs: int, player: Player = play_here) -> None:
        self.width = jobs
        self.ahead = _AHEAD * jobs
        self.where = f"{jobs} process{'es' if jobs > 1 else ''}"
        self._player = player
        self._executor: Executor | None = None
        self._earlier = {child.pid for child in multiprocessing.active_children()}

    def submit(self, task: Task) -> "Future[Point]":
        """See `WorkerPool`."""
        if self._executor is None:
            context = multiprocessing.get_context("spawn")  # a fork would copy locks of other threads
            self._executor = ProcessPoolExecutor(self.width, mp_context=context, initializer=begin_worker)
        return self._executor.submit(self._player, task)

    def renew(self) -> None:
        """See `WorkerPool`."""
        self.close()

    def close(self) -> None:
        """See `WorkerPool`."""
        executor, self._executor = self._executor, None
        if executor is None:
            return
        executor.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            if child.pid not in self._earlier:
                child.kill()
                child.join()


class OneByOne:
    """Plays each task as a separate `lab run`, one after the other, because a lab of real packets needs the whole
    machine."""

    def __init__(self) -> None:
        self.width = 1
        self.ahead = _AHEAD
        self.where = "one run after the other"
        self._command = CommandPlayer()
        self._executor = ThreadPoolExecutor(1)

    def submit(self, task: Task) -> "Future[Point]":
        """See `WorkerPool`."""
        return self._executor.submit(self._command, task)

    def renew(self) -> None:
        """See `WorkerPool`; there are no workers to replace."""

    def close(self) -> None:
        """See `WorkerPool`; returns when the current lab is down."""
        self._command.stop()
        self._executor.shutdown(wait=True, cancel_futures=True)


class Cluster:
    """The workers of a Dask scheduler. They must have the lab installed, with exactly the same code."""

    def __init__(self, address: str, player: Player = play_here) -> None:
        """Raises `LabError` with advice when the scheduler cannot be used."""
        try:
            from distributed import Client
        except ImportError:
            raise LabError(
                "--scheduler needs Dask, which is not installed: pip install 'overlay-lab[sweep]'; "
                "without --scheduler a sweep runs in processes of this machine"
            ) from None
        self._player = player
        connect: Any = Client
        try:
            self._client: Any = connect(address, timeout=_CONNECT, set_as_default=False)
        except (OSError, ValueError) as error:
            raise LabError(
                f"no Dask scheduler answers at {address} ({str(error) or type(error).__name__}): "
                "start one by `dask scheduler`, and workers by `dask worker ADDRESS --nthreads 1`"
            ) from None
        try:
            self._compare()
        except BaseException:
            self._client.close()
            raise
        self._executor: Any = self._client.get_executor(pure=False, retries=1)
        self._batches = Batches(self._send)

    @property
    def ahead(self) -> int:
        """See `WorkerPool`; grows with the batches."""
        ahead: int = _AHEAD * self.width * self._batches.size
        return ahead

    def submit(self, task: Task) -> "Future[Point]":
        """See `WorkerPool`."""
        return self._batches.submit(task)

    def _send(self, tasks: list[Task]) -> "Future[Played]":
        future: Future[Played] = self._executor.submit(play_batch, self._player, tasks)
        return future

    def renew(self) -> None:
        """See `WorkerPool`; the scheduler does that itself."""

    def close(self) -> None:
        """See `WorkerPool`; the cluster stays, its workers drop the tasks of this sweep."""
        self._batches.stop()
        self._executor.shutdown(wait=False)
        self._client.close(timeout=_CONNECT)

    def _compare(self) -> None:
        """Check that the workers run the same code, because one table must not mix two versions."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        if not workers:
            raise LabError("the Dask scheduler has no workers; start some by `dask worker ADDRESS --nthreads 1`")
        try:
            versions = self._client.run(code_version)
        except ModuleNotFoundError as error:
            raise LabError(
                f"a Dask worker lacks the module {error.name}: install overlay-lab[lab,sweep] there"
            ) from None
        for worker, version in sorted(versions.items()):
            if version != code_version():
                raise LabError(f"the worker {worker} has other code ({version}) than this machine ({code_version()})")
        self.width = sum(worker["nthreads"] for worker in workers.values())
        self.where = f"{len(workers)} Dask workers with {self.width} threads"


def begin_worker() -> None:
    """Initializer of each worker process: ignore Ctrl-C, which the sweep handles, and exit with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()

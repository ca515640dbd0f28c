"""Groups the tasks of a sweep into batches, because a cluster's scheduler spends milliseconds on each of its own tasks.

A batch is as large as takes about a second, by the time that earlier tasks took: a run of minutes goes alone, runs of
milliseconds by the dozen. Owns the futures of single tasks; must not know what carries a batch to its worker.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from lab.sweep.measure import Point
from lab.sweep.play import Task

__all__ = ["Batches", "Played", "play_batch"]

Player = Callable[[Task], Point]
Played = tuple[float, list[Point | Exception]]
"""Seconds for the whole batch, and the result of each task."""
SECONDS = 1.0
"""How long a batch should take: what an interrupt or the death of a worker may cost."""
MOST = 64
_GATHER = 0.02
"""Seconds until tasks that do not fill a batch are sent."""


def play_batch(player: Player, tasks: Sequence[Task]) -> Played:
    """On a worker: play these tasks, one after the other."""
    begun = time.perf_counter()
    results: list[Point | Exception] = []
    for task in tasks:
        try:
            results.append(player(task))
        except Exception as error:
            results.append(error)
    return time.perf_counter() - begun, results


class Batches:
    """Futures of tasks that `send` plays in batches; `size` adapts to the time that tasks take."""

    def __init__(self, send: Callable[[list[Task]], "Future[Played]"]) -> None:
        self.size = 1
        self._send = send
        self._each = 0.0
        """Seconds of a task, of the last batches."""
        self._waiting: list[tuple[Task, Future[Point]]] = []
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def submit(self, task: Task) -> "Future[Point]":
        """The future of one task."""
        future: Future[Point] = Future()
        with self._lock:
            self._waiting.append((task, future))
            full = len(self._waiting) >= self.size
            if not full and self._timer is None:
                self._timer = threading.Timer(_GATHER, self.flush)
                self._timer.daemon = True
                self._timer.start()
        if full:
            self.flush()
        return future

    def flush(self) -> None:
        """Send what waits."""
        with self._lock:
            batch, self._waiting = self._waiting, []
            if self._timer is not None:
                self._timer.cancel()
            self._timer = None
        if batch:
            self._go(batch)

    def stop(self) -> None:
        """Send nothing more."""
        with self._lock:
            self._waiting = []
            if self._timer is not None:
                self._timer.cancel()

    def _go(self, batch: list[tuple[Task, "Future[Point]"]]) -> None:
        self._send([task for task, _ in batch]).add_done_callback(lambda sent: self._done(batch, sent))

    def _done(self, batch: list[tuple[Task, "Future[Point]"]], sent: "Future[Played]") -> None:
        error = sent.exception() if not sent.cancelled() else None
        if sent.cancelled():
            for _, future in batch:
                future.cancel()
        elif error is None:
            seconds, results = sent.result()
            self._learn(seconds / len(batch))
            for (_, future), result in zip(batch, results, strict=True):
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)
        elif len(batch) == 1:
            batch[0][1].set_exception(error)
        else:  # one of them ended its worker: find out which
            for one in batch:
                self._go([one])

    def _learn(self, each: float) -> None:
        with self._lock:
            self._each = each if not self._each else 0.7 * self._each + 0.3 * each
            self.size = min(MOST, max(1, int(SECONDS / max(self._each, SECONDS / MOST))))

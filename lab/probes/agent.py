"""The probe agent: one process per host that runs all probes of the host's containers (`python -m lab.probes.agent`).

Owns the schedule, the deadlines and the event loop. Commands arrive as JSON lines (`lab.contracts.probe`), samples
leave as JSON lines (`lab.records.history.Sample`, whose `t` is CLOCK_MONOTONIC in nanoseconds when the try was *due*).
It knows nothing of scenarios or histories. It is forked once per host, so it imports little, and it has one thread,
because it moves through the containers' network namespaces.

The schedule is fixed: try k of a probe is due at its phase + k * every, independent of earlier tries, and each try ends
in exactly one sample, by its timeout at the latest. Tries overlap when the timeout is longer than the interval. A try
that could not start in time (the machine was stalled, or has too many tries to run) ends as `error="late"`: it says
nothing about the network. (In an open loop it is sent anyway: `lab.probes.kinds.load`.) The maximum lateness of a start
is shorter than the timeout, so that an overloaded machine runs some probes on time instead of all of them late. It
grows for a probe that was skipped, so that each gets its turn. A machine that is behind does not overlap tries either,
because an overloaded server answers all requests too late. A try whose container is gone ends as `error="gone"`.
`stop`, or the end of standard input, drops the tries in progress.

The agent also answers probes in the host's containers (`Probe.serves`), for kinds that need a responder. A sample
without a target says that it does, or why it cannot.
"""

import contextlib
import os
import resource
import select
import sys
import time
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import TypeVar, cast

import msgspec

from lab.contracts.lab import Probe
from lab.contracts.probe import AgentCommand, Attempt, Closable, Key, Poller, decode_command, first_due, key_of
from lab.kinds.probes import PROBES
from lab.probes.namespaces import NamespaceGone, Spaces, watch
from lab.probes.tries import error_text
from lab.records.history import Sample, encode
from lab.registry import KindError

__all__ = ["Agent", "main"]

_OUT_CHUNK = 1 << 16
_STARTS_AT_ONCE = 64
"""Tries started before the next check for answers."""
T = TypeVar("T", bound=Closable)
_KINDS = tuple(PROBES)
"""Imported here, once for all agents that are forked from a process with this module."""


class _Container:
    """One network namespace from which probes are sent."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.pidfd: int | None = None
        self.gone = False
        self.shared: dict[object, Closable] = {}
        """Resources that its tries share, such as raw sockets."""
        self.running: dict[int, Attempt] = {}
        """Number of a try in progress -> the try."""
        self.users = 0
        """Number of series sent from here."""


class _Shared:
    """Resources that the tries of one container share (`lab.contracts.probe.SharedByTries`)."""

    __slots__ = ("_agent", "_container")

    def __init__(self, agent: "Agent", container: _Container) -> None:
        self._agent, self._container = agent, container

    def once(self, key: object, make: Callable[[int, int, Poller], T]) -> T:
        """The object with this key, created now if there is none. The process is in the container's namespace."""
        found = self._container.shared.get(key)
        if found is None:
            found = self._container.shared[key] = make(*self._agent.shared_number(), self._agent)
        return cast(T, found)


class _ScheduledProbe:
    """One probe on its schedule."""

    __slots__ = ("active", "container", "due", "passed", "probe", "tried")

    def __init__(self, probe: Probe, container: _Container, due: int) -> None:
        self.probe = probe
        self.container = container
        self.due = due
        self.active = True
        self.passed = 1
        """Number of its consecutive late tries; starts as if one had been late."""
        self.tried: Attempt | None = None
        """The last try that was started."""

    def patience(self) -> int:
        """Nanoseconds after which its next try is late. On a busy machine all overdue tries are late by about the same
        time: with one limit for all, probes whose phase follows a crowd of others would never run."""
        every, timeout = self.probe.every, self.probe.timeout
        usual = min(timeout, max(every, timeout // 4))
        if self.tried is not None and not self.tried.over:
            return usual // 4
        return min(usual * (1 + self.passed) // 2, max(usual, timeout * 3 // 4))


class Agent:
    """Everything between standard input and standard output."""

    def __init__(self, fd_in: int = 0, fd_out: int = 1, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._in, self._out, self._clock = fd_in, fd_out, clock
        self._epoll = select.epoll()
        self._ready: dict[int, Callable[[], None]] = {}
        self._spaces = Spaces()
        self._series: dict[Key, _ScheduledProbe] = {}
        self._containers: dict[str, _Container] = {}
        self._due: list[tuple[int, int, _ScheduledProbe]] = []
        self._deadlines: list[tuple[int, int, Attempt, _Container]] = []
        self._calls: list[tuple[int, int, Callable[[], None]]] = []
        self._serving: dict[Key, tuple[_Container, Closable]] = {}
        """Probes that are answered here -> their container and responder."""
        self._count = int.from_bytes(os.urandom(2), "big")
        self._secret = int.from_bytes(os.urandom(8), "big")
        self._commands = bytearray()
        self._samples = bytearray()
        self._writing = False
        self._running = True

    def run(self) -> None:
        """Run until told to stop, or until the reader of the output is gone."""
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self.watch(self._in, select.EPOLLIN, self._read_commands)
        _allow_many_sockets()
        try:
            while self._running:
                patience = self._patience()
                if patience:
                    # Epoll's own timeout is in whole milliseconds, which is long for a load of 1,000 requests a second.
                    select.select([self._epoll], [], [], None if patience < 0 else patience)
                for fd, _ in self._epoll.poll(0):
                    ready = self._ready.get(fd)
                    if ready is not None:
                        ready()
                self._make_calls()
                self._expire()
                self._start_due()
                if self._samples and not self._writing:
                    self._flush()
        except BrokenPipeError:
            pass
        finally:
            for container in list(self._containers.values()):
                self._release(container)
            self._spaces.close()
            self._epoll.close()

    # Descriptors and their waiting callbacks (the `Poller` of tries)

    def watch(self, fd: int, mask: int, ready: Callable[[], None]) -> None:
        self._ready[fd] = ready
        self._epoll.register(fd, mask)

    def change(self, fd: int, mask: int) -> None:
        self._epoll.modify(fd, mask)

    def forget(self, fd: int) -> None:
        if self._ready.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def call_at(self, when: int, ready: Callable[[], None]) -> None:
        self._count += 1
        heappush(self._calls, (when, self._count, ready))

    def _make_calls(self) -> None:
        now = self._clock()
        while self._calls and self._calls[0][0] <= now:
            heappop(self._calls)[2]()

    def _patience(self) -> float:
        """Seconds until the next deadline; -1: none."""
        due = min(queue[0][0] if queue else sys.maxsize for queue in (self._due, self._deadlines, self._calls))
        return -1 if due == sys.maxsize else max(0, due - self._clock()) / 1e9

    # Commands

    def _read_commands(self) -> None:
        try:
            data = os.read(self._in, 1 << 20)
        except BlockingIOError:
            return
        if not data:
            self._running = False
            return
        self._commands += data
        *lines, rest = bytes(self._commands).split(b"\n")
        self._commands = bytearray(rest)
        for line in lines:
            try:
                command = decode_command(line)
            except msgspec.MsgspecError as error:
                print(f"probe agent: bad command: {error}", file=sys.stderr, flush=True)
                continue
            self._obey(command)

    def _obey(self, command: AgentCommand) -> None:
        for key in command.remove:
            self._remove(key)
        for probe in command.add:
            try:
                PROBES.get(probe.probe)
            except KindError as error:
                print(f"probe agent: {error}", file=sys.stderr, flush=True)
                continue
            if probe.every <= 0 or probe.timeout <= 0:
                print(f"probe agent: cannot run {probe}", file=sys.stderr, flush=True)
                continue
            self._add(probe)
        if command.stop:
            self._running = False

    def _remove(self, key: Key) -> None:
        if key in self._serving:
            container, answering = self._serving.pop(key)
            container.shared.pop(key, None)
            answering.close()
            self._leave(container)
        series = self._series.pop(key, None)
        if series is not None:
            series.active = False
            self._leave(series.container)

    def _add(self, probe: Probe) -> None:
        container = self._container(probe.netns)
        container.users += 1
        self._remove(key_of(probe))
        if probe.serves:
            self._serve(probe, container)
            return
        series = _ScheduledProbe(probe, container, first_due(probe, self._clock()))
        self._series[key_of(probe)] = series
        self._push(series)

    def _serve(self, probe: Probe, container: _Container) -> None:
        """Answer probes of a kind in a container, until the container is gone or no probe needs it."""
        serve, problem = PROBES.get(probe.probe).serve, ""
        try:
            if serve is None or container.gone:
                raise NamespaceGone(container.path)
            self._spaces.enter(container.path)
            answering = serve(probe, self)
        except NamespaceGone:
            problem = "gone"
        except OSError as error:
            problem = error_text(error)
        else:
            container.shared[key_of(probe)] = answering
            self._serving[key_of(probe)] = container, answering
        finally:
            self._spaces.home()
        if problem:
            self._leave(container)
        said = Sample(t=self._clock(), probe=probe.probe, source=probe.source, target="", ok=not problem, error=problem)
        self._samples += encode(said)

    def _push(self, series: _ScheduledProbe) -> None:
        self._count += 1
        heappush(self._due, (series.due, self._count, series))

    # Containers

    def _container(self, path: str) -> _Container:
        container = self._containers.get(path)
        if container is None or container.gone:
            container = self._containers[path] = _Container(path)
            try:
                container.pidfd = watch(path)
            except NamespaceGone:
                container.gone = True
            if container.pidfd is not None:
                self.watch(container.pidfd, select.EPOLLIN, lambda: self._died(container))
        return container

    def _leave(self, container: _Container) -> None:
        container.users -= 1
        if not container.users and not container.running:
            self._release(container)

    def _died(self, container: _Container) -> None:
        """Its process ended: close everything that would keep its network namespace alive."""
        container.gone = True
        for running in list(container.running.values()):
            self._finish(running, container, False, "gone")
        self._release(container)

    def _release(self, container: _Container) -> None:
        for running in container.running.values():
            running.over = True
            running.close()
        container.running.clear()
        for shared in container.shared.values():
            shared.close()
        container.shared.clear()
        if container.pidfd is not None:
            self.forget(container.pidfd)
            os.close(container.pidfd)
            container.pidfd = None
        if not container.users and self._containers.get(container.path) is container:
            del self._containers[container.path]

    # Tries

    def _start_due(self) -> None:
        now = self._clock()
        for _ in range(_STARTS_AT_ONCE):
            if not self._due or self._due[0][0] > now:
                break
            series = heappop(self._due)[2]
            if not series.active:
                continue
            due = series.due
            series.due += series.probe.every
            self._push(series)
            self._start(series, due)
        self._spaces.home()

    def _start(self, series: _ScheduledProbe, due: int) -> None:
        probe, container = series.probe, series.container
        self._count += 1
        kind = PROBES.get(probe.probe)
        attempt = kind.attempt(probe, due, self._count, _Shared(self, container))
        attempt.sent = now = self._clock()
        if kind.open_loop:
            if now >= due + probe.timeout:
                self._finish(attempt, container, False, "unsent")
                return
        elif now >= due + series.patience():
            series.passed += 1
            self._finish(attempt, container, False, "late")
            return
        series.passed, series.tried = 0, attempt
        if container.gone:
            self._finish(attempt, container, False, "gone")
            return
        container.running[attempt.number] = attempt
        try:
            self._spaces.enter(container.path)
            attempt.start(self, self._done_in(container))
        except NamespaceGone:
            self._died(container)
        except OSError as error:
            self._finish(attempt, container, False, error_text(error))
        else:
            if not attempt.over:
                heappush(self._deadlines, (due + probe.timeout, attempt.number, attempt, container))

    def shared_number(self) -> tuple[int, int]:
        """A running number and this agent's secret, for a shared resource."""
        self._count += 1
        return self._count, self._secret

    def _done_in(self, container: _Container) -> Callable[[Attempt, bool, str, tuple[str, ...]], None]:
        return lambda attempt, ok, error, answers: self._finish(attempt, container, ok, error, answers)

    def _expire(self) -> None:
        now = self._clock()
        while self._deadlines and (self._deadlines[0][0] <= now or self._deadlines[0][2].over):
            _, _, attempt, container = heappop(self._deadlines)
            self._finish(attempt, container, False, "timeout")

    def _finish(
        self, attempt: Attempt, container: _Container, ok: bool, error: str, answers: tuple[str, ...] = ()
    ) -> None:
        if attempt.over:
            return
        attempt.over = True
        now = self._clock()
        if ok and now > attempt.due + attempt.probe.timeout:
            ok, error, answers = (
                False,
                "timeout",
                (),
            )  # it arrived too late, but was read before its deadline was checked
        attempt.close()
        container.running.pop(attempt.number, None)
        if not container.users and not container.running:
            self._release(container)
        probe = attempt.probe
        took = getattr(attempt, "took", None)
        if took is None:
            took = now - (attempt.due if PROBES.get(probe.probe).open_loop else attempt.sent)
        self._samples += encode(
            Sample(
                t=attempt.due,
                probe=probe.probe,
                source=probe.source,
                target=probe.target,
                ok=ok,
                latency=took if ok else None,
                error=error,
                answers=answers,
                measured=getattr(attempt, "measured", {}),
                late=attempt.sent - attempt.due,
            )
        )

    # Samples

    def _flush(self) -> None:
        """Write as much as the pipe accepts; never block, because a slow reader must not delay the probes."""
        while self._samples:
            try:
                count = os.write(self._out, self._samples[:_OUT_CHUNK])
            except BlockingIOError:
                if not self._writing:
                    self._writing = True
                    self.watch(self._out, select.EPOLLOUT, self._flush)
                return
            del self._samples[:count]
        if self._writing:
            self._writing = False
            self.forget(self._out)


def _allow_many_sockets() -> None:
    """Raise the limit of descriptors to the maximum, because a load has one for each unanswered request."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main(argv: Sequence[str] = ()) -> int:
    """Serve standard input and output; returns the exit code. Also called in a process forked for this."""
    if argv:
        print("usage: python -m lab.probes.agent   (commands on standard input)", file=sys.stderr)
        return 2
    Agent().run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

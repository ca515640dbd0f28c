"""The probes of a simulated host: the schedule and the samples of `lab.probes.agent`, in virtual time.

Owns when a try is sent and what becomes of it. Every try walks its way through the hosts' forwarding as it is at that
moment (`reach` remembers it until it changes), takes what the links of that way take, and ends in exactly one sample,
by its timeout at the latest.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import cast

from dnslib import AAAA, RCODE, A, DNSRecord

from lab.backends.simulated.engine import SimContainer
from lab.backends.simulated.machine import SimMachine
from lab.backends.simulated.place import ANSWER, ECHO, REQUEST, SERVING
from lab.backends.simulated.reach import LOCAL, Route
from lab.contracts.lab import Probe
from lab.contracts.probe import first_due
from lab.records.history import Sample
from lab.sim.network import SYN_RETRY
from overlay.errors import UsageError

__all__ = ["Prober"]

_Answer = tuple[bool, str, tuple[str, ...]]
"""(ok, error, answers)."""
_REFUSED: _Answer = (False, "refused", ())
_GONE: _Answer = (False, "gone", ())
_OK: _Answer = (True, "", ())


class _Stream:
    """Some probes that began together, and whoever takes their samples."""

    def __init__(self) -> None:
        self.open = True
        self.samples: deque[Sample] = deque()
        self.waiter: asyncio.Future[None] | None = None

    def put(self, sample: Sample) -> None:
        self.samples.append(sample)
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class Prober:
    """All probes of one host."""

    def __init__(self, host: SimMachine) -> None:
        self._host = host
        self._scheduler = host.world.scheduler
        self._names: dict[tuple[object, ...], _Answer] = {}
        """What names resolve to here, as long as nothing that says so changes."""

    async def run(self, probes: Sequence[Probe]) -> AsyncIterator[Sample]:
        """Samples of these probes until the iterator is closed."""
        stream = _Stream()
        loop = asyncio.get_running_loop()
        scheduler = self._scheduler
        for probe in probes:
            scheduler.at(first_due(probe, scheduler.now), self._due, stream, probe)
        try:
            while True:
                while stream.samples:
                    yield stream.samples.popleft()
                stream.waiter = loop.create_future()
                await stream.waiter
        finally:
            stream.open = False

    def _due(self, stream: _Stream, probe: Probe) -> None:
        """A try is to be sent now; the next one is scheduled."""
        if not stream.open:
            return
        scheduler = self._scheduler
        now = scheduler.now
        scheduler.at(now + probe.every, self._due, stream, probe)
        container = self._container(probe.container)
        if container is None:
            if self._host.powered:
                self._end(stream, probe, now, _GONE)
            return  # on a host that is switched off nobody asks
        if probe.probe == "dns":
            scheduler.at(now + 2 * LOCAL, self._resolved, stream, probe, now)
        elif probe.probe == "icmp":
            self._echo(stream, probe, now, container)
        else:
            self._connect(stream, probe, now, container, SYN_RETRY)

    def _echo(self, stream: _Stream, probe: Probe, due: int, container: SimContainer) -> None:
        reach = self._host.reach
        route = reach.route(self._host.name, container.id, probe.address, 0)
        answered = reach.exchange(route, due, ECHO, ECHO) if route is not None else None
        if route is None or answered is None or answered > due + probe.timeout:
            self._scheduler.at(due + probe.timeout, self._timeout, stream, probe, due)
        else:
            self._scheduler.at(answered, self._answered, stream, probe, due, container, route)

    def _connect(self, stream: _Stream, probe: Probe, due: int, container: SimContainer, pause: int) -> None:
        """Open a connection, tried again after pauses that double, then ask."""
        reach, scheduler = self._host.reach, self._scheduler
        now, deadline = scheduler.now, due + probe.timeout
        route = reach.route(self._host.name, container.id, probe.address, probe.port or 80)
        opened = reach.exchange(route, now, 60, 60) if route is not None else None
        if route is None or opened is None:
            if now + pause < deadline:
                scheduler.at(now + pause, self._connect, stream, probe, due, container, 2 * pause)
            else:
                scheduler.at(deadline, self._timeout, stream, probe, due)
            return
        target = reach.target(route)
        if target is None or target.port != route.port:
            scheduler.at(min(opened, deadline), self._end, stream, probe, due, _REFUSED)
            return
        answered = reach.stream(route, opened, REQUEST, ANSWER)
        if answered is None or answered + SERVING > deadline:
            scheduler.at(deadline, self._timeout, stream, probe, due)
        else:
            scheduler.at(answered + SERVING, self._answered, stream, probe, due, container, route)

    def _answered(self, stream: _Stream, probe: Probe, due: int, container: SimContainer, route: Route) -> None:
        """The answer is in, if the way is still there."""
        port = 0 if probe.probe == "icmp" else probe.port or 80
        if not container.running:
            self._end(stream, probe, due, _GONE)
        elif self._host.reach.route(self._host.name, container.id, probe.address, port) == route:
            self._end(stream, probe, due, _OK)
        else:
            self._scheduler.at(due + probe.timeout, self._timeout, stream, probe, due)

    def _resolved(self, stream: _Stream, probe: Probe, due: int) -> None:
        daemon = self._host.daemon
        if daemon is None or not daemon.config.dns:
            self._end(stream, probe, due, _REFUSED)
            return
        node = daemon.router.node
        key = (node, node.registry.generation, probe.target)
        answer = self._names.get(key)
        if answer is None:
            if len(self._names) > 64:
                self._names.clear()
            answer = self._names[key] = _ask(daemon.router.query, probe.target)
        self._end(stream, probe, due, answer)

    def _timeout(self, stream: _Stream, probe: Probe, due: int) -> None:
        self._end(stream, probe, due, (False, "timeout", ()))

    def _end(self, stream: _Stream, probe: Probe, due: int, answer: _Answer) -> None:
        if not stream.open:
            return
        ok, error, answers = answer
        latency = self._scheduler.now - due if ok else None
        stream.put(
            Sample(
                t=due,
                probe=probe.probe,  # type: ignore[arg-type]  # the runner makes http, icmp and dns
                source=probe.source,
                target=probe.target,
                ok=ok,
                latency=latency,
                error=error,
                answers=answers,
            )
        )

    def _container(self, name: str) -> SimContainer | None:
        try:
            found = self._host.engine.find(name)
        except UsageError:
            return None
        return found if found.running else None


def _ask(query: Callable[[bytes], bytes | None], target: str) -> _Answer:
    """As `lab.probes.tries.DnsTry` judges an answer."""
    name, _, kind = target.partition("/")
    question = DNSRecord.question(name, kind or "A")  # type: ignore[no-untyped-call]
    question.header.id = 0
    payload = query(bytes(question.pack()))
    if payload is None:
        return (False, "SERVFAIL", ())
    answer = DNSRecord.parse(payload)  # type: ignore[no-untyped-call]
    found = tuple(sorted({str(record.rdata) for record in answer.rr if isinstance(record.rdata, A | AAAA)}))
    if answer.header.rcode:
        return (False, cast(str, RCODE.get(answer.header.rcode)), found)  # type: ignore[no-untyped-call]
    return (bool(found), "" if found else "no records", found)

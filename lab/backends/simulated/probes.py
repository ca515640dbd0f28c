"""The probes of a simulated host: the schedule and the samples of `lab.probes.agent`, in virtual time.

Owns when a try is sent and its result. Every try follows the hosts' forwarding at that moment (`reach` caches the path
until it changes), takes the time of the links on the path, and ends in exactly one sample, by its timeout at the
latest.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import cast

from dnslib import AAAA, RCODE, A, DNSRecord

from lab.backends.simulated.engine import SimContainer
from lab.backends.simulated.machine import SimMachine
from lab.backends.simulated.reach import Route
from lab.contracts.lab import Probe
from lab.contracts.probe import first_due
from lab.kinds.probes import PROBES
from lab.probes.train import PacketTrain
from lab.records.history import Sample
from lab.sim.tcp import TcpFlow
from overlay.compiled_policy import Protocol
from overlay.env import MICROSECOND
from overlay.errors import UsageError

__all__ = ["Prober"]

_COUNTED = 16
"""Bytes of a receiver's report (`lab.probes.kinds.throughput`)."""
_Answer = tuple[bool, str, tuple[str, ...]]
"""(ok, error, answers)."""
_REFUSED: _Answer = (False, "refused", ())
_GONE: _Answer = (False, "gone", ())
_OK: _Answer = (True, "", ())


class _Stream:
    """Probes that were started together, and the receiver of their samples."""

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
        self.host = host
        self.scheduler = host.world.scheduler
        self._names: dict[tuple[object, ...], _Answer] = {}
        """Cache of name resolution here, valid until something that affects it changes."""

    async def run(self, probes: Sequence[Probe]) -> AsyncIterator[Sample]:
        """Samples of these probes until the iterator is closed."""
        stream = _Stream()
        loop = asyncio.get_running_loop()
        scheduler = self.scheduler
        for probe in probes:
            if probe.serves:  # on simulated hosts every container answers
                stream.put(Sample(t=scheduler.now, probe=probe.probe, source=probe.source, target="", ok=True))
                continue
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
        """Send a try now, and schedule the next one."""
        if not stream.open:
            return
        scheduler = self.scheduler
        now = scheduler.now
        scheduler.at(now + probe.every, self._due, stream, probe)
        container = self._container(probe.container)
        if container is None:
            if self.host.powered:
                self.end(stream, probe, now, _GONE)
            return  # a host that is switched off sends nothing
        PROBES.get(probe.probe).simulate(_Try(self, stream, probe, now, container))

    def resolve(self, name: str, done: Callable[[_Answer], None]) -> None:
        """Give `done` the answer of the host's name server for a name, as soon as there is one."""
        daemon = self.host.daemon
        if daemon is None or not daemon.config.dns:
            done(_REFUSED)
            return
        node = daemon.router.node
        key = (node, node.registry.generation, name)
        if (known := self._names.get(key)) is not None:
            done(known)
            return

        def answered(payload: bytes | None) -> None:
            if len(self._names) > 64:
                self._names.clear()
            self._names[key] = _judged(payload)
            done(self._names[key])

        daemon.router.look_up(_question(name), answered)

    def end(
        self,
        stream: _Stream,
        probe: Probe,
        due: int,
        answer: _Answer,
        took: int | None = None,
        measured: dict[str, int] | None = None,
    ) -> None:
        """A try is over: emit its sample."""
        if not stream.open:
            return
        ok, error, answers = answer
        latency = (self.scheduler.now - due if took is None else took) if ok else None
        stream.put(
            Sample(
                t=due,
                probe=probe.probe,
                source=probe.source,
                target=probe.target,
                ok=ok,
                latency=latency,
                error=error,
                answers=answers,
                measured=measured or {},
            )
        )

    def _container(self, name: str) -> SimContainer | None:
        try:
            found = self.host.engine.find(name)
        except UsageError:
            return None
        return found if found.running else None


class _Try:
    """One try in progress (`lab.contracts.probe.SimulatedTry`)."""

    __slots__ = ("_asked", "_container", "_due", "_over", "_prober", "_size", "_stream", "_train", "measured", "probe")

    def __init__(self, prober: Prober, stream: _Stream, probe: Probe, due: int, container: SimContainer) -> None:
        self.probe = probe
        self._prober, self._stream, self._due, self._container = prober, stream, due, container
        self.measured: dict[str, int] | None = None
        self._size = 0
        self._over = False
        self._asked = prober.host.reach.asked

    def exchange(self, there: int, back: int, *, port: int = 0, protocol: Protocol | None = None) -> None:
        """One packet there and one back."""
        reach = self._prober.host.reach
        route = reach.route(self._prober.host.name, self._container.id, self.probe.address, port, protocol)
        if route is not None and reach.shared(route):
            self._prober.scheduler.at(self._deadline, self._timeout)
            reach.ask(route, there, back, partial(self._answered, route, port, protocol))
            return
        answered = reach.exchange(route, self._due, there, back) if route is not None else None
        if route is None:
            reach.lost(self._due, there)
        if route is None or answered is None or answered > self._deadline:
            self._prober.scheduler.at(self._deadline, self._timeout)
        else:
            self._prober.scheduler.at(answered, self._answered, route, port, protocol)

    def train(self, packets: int, gap: int, size: int) -> None:
        """Numbered datagrams, each on its own path."""
        self._train = PacketTrain(packets)
        scheduler, due = self._prober.scheduler, self._due
        for number in range(packets):
            if due + number * gap < self._deadline:
                scheduler.at(due + number * gap, self._packet, number, size)
        scheduler.at(due + self.probe.timeout * 9 // 10, self._train_over)

    def transfer(self, size: int) -> None:
        """A TCP connection that carries `size` bytes."""
        self._size = size
        self._connect(size, 0, 0, self._prober.host.world.model.syn_retry)

    def connect(self, there: int = 0, back: int = 0, *, serving: int = 0) -> None:
        """A TCP connection, a request and its response."""
        self._connect(there, back, serving, self._prober.host.world.model.syn_retry)

    def resolve(self) -> None:
        """Resolve the probe's target as a name."""
        reach = self._prober.host.reach
        self._prober.scheduler.at(self._due + reach.spread.around(2 * reach.model.local_delay), self._resolved)

    @property
    def _deadline(self) -> int:
        return self._due + self.probe.timeout

    def _connect(self, there: int, back: int, serving: int, pause: int) -> None:
        """Open a connection, retrying with exponential back-off, then send the request."""
        reach, scheduler, port = self._prober.host.reach, self._prober.scheduler, self.probe.port or 80
        now, deadline = scheduler.now, self._deadline
        route = reach.route(self._prober.host.name, self._container.id, self.probe.address, port)
        self._asked = reach.asked
        if route is not None and reach.shared(route):
            self._connect_over(route, there, back, serving, pause)
            return
        opened = None
        if route is not None:
            opened = reach.exchange(route, now, 60, 60, refused=self._refused(route))
        else:
            reach.lost(now, 60)
        if route is None or opened is None:
            if now + pause < deadline:
                scheduler.at(now + pause, self._connect, there, back, serving, 2 * pause)
            else:
                scheduler.at(deadline, self._timeout)
            return
        if opened > deadline:
            scheduler.at(deadline, self._timeout)
        elif reach.by_packets(route):
            scheduler.at(opened, self._opened, route, there, back, serving)
        else:
            self._converse(route, opened, there, back, serving)

    def _connect_over(self, route: Route, there: int, back: int, serving: int, pause: int) -> None:
        """The same if the arrival of the SYN's answer is not known in advance."""
        scheduler, opened = self._prober.scheduler, False

        def answered() -> None:
            nonlocal opened
            if not opened and not self._over:
                opened = True
                self._opened(route, there, back, serving)

        def again(pause: int) -> None:
            if opened or self._over:
                return
            if scheduler.now + pause < self._deadline:
                scheduler.after(pause, again, 2 * pause)
            refused = self._refused(route)
            self._prober.host.reach.ask(route, 60, 60, answered, self._asked, refused=refused)

        scheduler.at(self._deadline, self._timeout)
        again(pause)

    def _refused(self, route: Route) -> bool:
        """Whether the port is closed there."""
        target = self._prober.host.reach.target(route)
        return target is None or (target.port != route.port and not self._size)

    def _taken(self, route: Route) -> bool:
        """Whether the port is open there; if not, the try ends."""
        if self._refused(route):
            self._end(_REFUSED)
            return False
        return True

    def _converse(self, route: Route, opened: int, there: int, back: int, serving: int) -> None:
        """Request and response on a connection whose path neither loses nor queues packets."""
        reach, scheduler, deadline = self._prober.host.reach, self._prober.scheduler, self._deadline
        target = reach.target(route)
        if target is None or (target.port != route.port and not self._size):
            scheduler.at(opened, self._end, _REFUSED)
            return
        if target.stopped and (there or back):  # the kernel accepts the connection
            scheduler.at(deadline, self._timeout)
            return
        if self._size:
            answered, took = reach.transfer(route, opened, self._size)
            self.measured = {"throughput": self._size * 8_000_000_000 // took}
        else:
            found = reach.stream(route, opened, there, back) if there or back else opened
            answered = found if found is not None else deadline + 1
        done = answered + reach.spread.around(serving)
        if done > deadline:
            scheduler.at(deadline, self._timeout)
        else:
            scheduler.at(done, self._answered, route, self.probe.port or 80)

    def _opened(self, route: Route, there: int, back: int, serving: int) -> None:
        """The connection is open; its packets take part in the queues of the path."""
        scheduler, port = self._prober.scheduler, self.probe.port or 80
        scheduler.at(self._deadline, self._timeout)
        if not self._taken(route):
            return
        target = self._prober.host.reach.target(route)
        if not (there or back):
            self._answered(route, port)
            return
        if target is not None and target.stopped:
            return
        reach, first = self._prober.host.reach, 0

        def heard(last: bool) -> None:
            nonlocal first
            if not last:
                first = scheduler.now
                return
            if self._size:
                self.measured = {"throughput": self._size * 8_000_000_000 // max(scheduler.now - first, MICROSECOND)}
            scheduler.after(reach.spread.around(serving), answers.write, None, _COUNTED if self._size else back)

        asks, answers = reach.flows(route, heard, lambda _: self._answered(route, port, flows=flows), self._asked)
        flows = (asks, answers)
        if self._size:
            asks.write(False, 1)
        asks.write(True, there)

    def _packet(self, number: int, size: int) -> None:
        """Send one packet of a train."""
        host, now = self._prober.host, self._prober.scheduler.now
        self._train.sent(number, now)
        route = host.reach.route(host.name, self._container.id, self.probe.address, self.probe.port, "udp")
        if route is None or not self._container.running:
            return
        if host.reach.shared(route):
            host.reach.ask_timed(route, size, partial(self._train_packet_back, number))
            return
        arrived, answered = host.reach.round_trip(route, now, size, size)
        if arrived is not None and answered is not None and answered < self._deadline:
            self._prober.scheduler.at(answered, self._train_answered, number, arrived)

    def _train_packet_back(self, number: int, arrived: int) -> None:
        if self._prober.scheduler.now < self._deadline:
            self._train_answered(number, arrived)

    def _train_answered(self, number: int, arrived: int) -> None:
        whole = self._train.whole
        self._train.answered(number, arrived, self._prober.scheduler.now)
        if self._train.whole and not whole:
            self._train_ends()

    def _train_over(self) -> None:
        if not self._train.whole:
            self._train_ends()

    def _train_ends(self) -> None:
        took = self._train.median_trip()
        answer = _OK if took is not None else (False, "timeout", ())
        self._prober.end(self._stream, self.probe, self._due, answer, took, self._train.measured())

    def _answered(
        self, route: Route, port: int, protocol: Protocol | None = None, flows: Sequence[TcpFlow] = ()
    ) -> None:
        """The response has arrived, if the path still exists."""
        host = self._prober.host
        for flow in flows:
            flow.end()
        if not self._container.running:
            self._end(_GONE)
        elif host.reach.route(host.name, self._container.id, self.probe.address, port, protocol) == route:
            self._end(_OK)
        else:
            self._prober.scheduler.at(self._deadline, self._timeout)

    def _resolved(self) -> None:
        if self._prober.host.daemon_stopped:
            self._prober.scheduler.at(self._deadline, self._timeout)
            return
        self._prober.resolve(self.probe.target, self._end)
        if not self._over:
            self._prober.scheduler.at(self._deadline, self._timeout)

    def _timeout(self) -> None:
        self._end((False, "timeout", ()))

    def _end(self, answer: _Answer) -> None:
        if self._over:
            return
        self._over = True
        self._prober.end(self._stream, self.probe, self._due, answer, None, self.measured if answer[0] else None)


def _question(target: str) -> bytes:
    name, _, kind = target.partition("/")
    question = DNSRecord.question(name, kind or "A")  # type: ignore[no-untyped-call]
    question.header.id = 0
    return bytes(question.pack())


def _judged(payload: bytes | None) -> _Answer:
    """Judge an answer like `lab.probes.kinds.dns.DnsTry`."""
    if payload is None:
        return (False, "SERVFAIL", ())
    answer = DNSRecord.parse(payload)  # type: ignore[no-untyped-call]
    found = tuple(sorted({str(record.rdata) for record in answer.rr if isinstance(record.rdata, A | AAAA)}))
    if answer.header.rcode:
        return (False, cast(str, RCODE.get(answer.header.rcode)), found)  # type: ignore[no-untyped-call]
    return (bool(found), "" if found else "no records", found)

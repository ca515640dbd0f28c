"""TCP between simulated hosts: connecting, writing, retransmitting during a cut, resets. Carries objects.

TCP is ordered and reliable while packets pass both ways. During a cut, written data waits, is retransmitted with
exponential back-off (as in Linux), and after `USER_TIMEOUT` the connection fails with a timeout on the writing side
only. When a process ends, its kernel resets its connections; a host without power does not answer. A full segment that
is larger than the MTU of a link on the path is lost as in a cut, because routers do not report it and kernels do not
detect it.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from lab.calibration import Calibration
from lab.sim.link_model import RTO_MIN, LinkModel
from lab.sim.reno import HEADERS, MSS
from lab.sim.routers import Fate, Leg
from lab.sim.scheduler import Scheduler
from lab.sim.tcp import USER_TIMEOUT, TcpFlow
from overlay.config import Address
from overlay.env import MILLISECOND, SECOND

__all__ = ["End", "Site", "Streams"]

SYN: Final = 60
"""Bytes of a SYN packet (IP)."""


class Site(Protocol):
    """A host's process, as the network sees it."""

    name: str
    address: str
    powered: bool
    listening: bool
    """Whether a process accepts connections and datagrams at the control port."""
    port: int

    def opened(self, end: "End") -> None: ...

    def failed(self, dialled: Address, reason: str) -> None: ...

    def received(self, end: "End", message: Any) -> None: ...

    def closed(self, end: "End", reason: str) -> None: ...

    def datagram(self, source: Address, message: Any) -> None: ...


class End:
    """One side of a TCP connection: data written here goes to `other`."""

    __slots__ = (
        "arrival", "back", "conn", "dialled", "flow", "greeted", "local", "lost", "open", "other", "remote", "retry",
        "site", "stuck", "stuck_since", "way",
    )  # fmt: skip

    def __init__(self, site: Site, conn: int, local: Address, remote: Address, dialled: Address | None) -> None:
        self.site = site
        self.conn = conn
        self.local = local
        self.remote = remote
        self.dialled = dialled
        self.open = True
        self.greeted = False
        """The other side's first frame has arrived: its site knows of the connection."""
        self.lost = False
        """One side's host no longer has the address of this connection."""
        self.other: End
        self.way: LinkModel
        self.back: LinkModel
        self.arrival = 0
        """Arrival time of the last write; later writes do not overtake it."""
        self.stuck: deque[tuple[Any, int]] | None = None
        """Data waiting for retransmission, in order."""
        self.stuck_since = 0
        self.retry = 0
        self.flow: TcpFlow | None = None
        """Sends data packet by packet, once the path has required that."""


@dataclass(slots=True, eq=False)
class _Dial:
    """A connection being opened: who asked, its number, and its destination."""

    site: Site
    address: Address
    life: Callable[[], bool]
    conn: int
    near: int
    leg: Leg | None
    answered: bool = False
    """Whether one of several SYNs in flight at the same time was answered."""


class _Fin:
    """The end of the stream, as a written object."""


_FIN = _Fin()


class Streams(ABC):
    """All connections. The network decides which host a packet reaches, and what happens to it on the path."""

    def __init__(self, scheduler: Scheduler, model: Calibration) -> None:
        self.scheduler = scheduler
        self.model = model
        self._sites: dict[str, Site] = {}
        self._conn = 0
        self._ends: dict[str, dict[int, End]] = {}

    @abstractmethod
    def way(self, sender: str, receiver: str) -> LinkModel:
        """The direction from one host to another."""

    @abstractmethod
    def leg(self, sender: str, protocol: str, port: int, destination: Address) -> Leg | Fate:
        """The host that a packet is addressed to, even if the packet would get lost; see `Routers.trace`."""

    @abstractmethod
    def transit(self, way: LinkModel, size: int, arrives: Callable[..., None], *arguments: Any) -> None:
        """Send an IP packet over a direction; `arrives` is called on arrival, if it arrives."""

    @abstractmethod
    def near(self, sender: str, destination: str) -> str:
        """The sender's own address on the path to another address."""

    def dial(self, site: Site, address: Address, life: Callable[[], bool]) -> None:
        """Open a connection; `life()` tells whether the process that asked is still alive."""
        self._conn += 2
        near = 32768 + self._conn // 2 % 28000
        found = self.leg(site.name, "tcp", near, address)
        if found in (Fate.NO_ROUTE, Fate.REFUSED):
            self.scheduler.after(2 * self.model.base_delay, self._refused, site, address, life, found.value)
            return
        dial = _Dial(site, address, life, self._conn, near, found if isinstance(found, Leg) else None)
        self._syn(dial, self.scheduler.now + self.model.dial_timeout, self.model.syn_retry)

    def _syn(self, dial: "_Dial", deadline: int, pause: int) -> None:
        site, address, leg = dial.site, dial.address, dial.leg
        if dial.answered or not dial.life():
            return
        scheduler = self.scheduler
        now = scheduler.now
        if now >= deadline:
            site.failed(address, f"no answer within {self.model.dial_timeout // SECOND} s")
            return
        if leg is not None and self._sites[leg.host].powered:
            there, back = self.way(site.name, leg.host), self.way(leg.host, site.name)
            if there.stepped or back.stepped:
                if not there.stops("tcp", leg.port):
                    self.transit(there, SYN, self._syn_arrives, dial, leg, deadline)
            elif not there.stops("tcp", leg.port) and not back.stops("tcp", dial.near):
                # One round trip; a lost packet costs the back-off of a lost SYN.
                arrivals = [now + there.delay] if there.plain else there.arrivals(now, 60)
                returns = [
                    a + back.delay if back.plain else b
                    for a in arrivals
                    for b in (back.arrivals(a, 60, early=a - now > MILLISECOND) or [0])
                ]
                if returns and returns[0] and returns[0] < deadline:
                    target = self._sites[leg.host]
                    if target.listening and leg.port == target.port:
                        scheduler.at(returns[0], self._connect, dial, leg)
                    else:
                        scheduler.at(returns[0], self._refused, site, address, dial.life, Fate.REFUSED.value)
                    return
        scheduler.at(min(now + pause, deadline), self._syn, dial, deadline, pause * 2)

    def _syn_arrives(self, dial: "_Dial", leg: Leg, deadline: int) -> None:
        """A SYN arrives at the other host, whose kernel answers it."""
        target = self._sites[leg.host]
        back = self.way(leg.host, dial.site.name)
        if target.powered and not back.stops("tcp", dial.near):
            taken = target.listening and leg.port == target.port
            self.transit(back, SYN, self._syn_answered, dial, leg, deadline, taken)

    def _syn_answered(self, dial: "_Dial", leg: Leg, deadline: int, taken: bool) -> None:
        if dial.answered or self.scheduler.now >= deadline:
            return
        dial.answered = True
        if taken:
            self._connect(dial, leg)
        else:
            self._refused(dial.site, dial.address, dial.life, Fate.REFUSED.value)

    def _refused(self, site: Site, address: Address, life: Callable[[], bool], reason: str) -> None:
        if life():
            site.failed(address, reason)

    def _connect(self, dial: "_Dial", leg: Leg) -> None:
        site, target, address = dial.site, self._sites[leg.host], dial.address
        if not dial.life():
            return
        if not target.listening:
            site.failed(address, "connection reset")
            return
        one = End(site, dial.conn, Address(self.near(site.name, address.host), dial.near), address, address)
        other = End(target, dial.conn + 1, address, leg.source, None)
        one.other, other.other = other, one
        one.way = other.back = self.way(site.name, target.name)
        one.back = other.way = self.way(target.name, site.name)
        self._ends[site.name][one.conn] = one
        self._ends[target.name][other.conn] = other
        # First frames: the dialler's comes with the third packet of the handshake, the reply one-way delay later.
        now = self.scheduler.now
        other.arrival = one.arrival = now
        self._first(one, now)

    def _first(self, one: End, now: int) -> None:
        there = now + one.way.delay
        back = there + one.back.delay
        one.arrival, one.other.arrival = there, back
        self.scheduler.at(there, self._opened, one.other)
        self.scheduler.at(back, self._opened, one)

    def _opened(self, end: End) -> None:
        if not end.open or not end.site.listening:
            return
        if end.back.stops("tcp", end.local.port):
            # The other side's first frame was lost in a cut: its retransmission arrives in time, or never.
            self.abort(end)
            self._tell(end, "no first frame in time")
            return
        end.greeted = True
        end.site.opened(end)

    def write(self, end: End, message: Any, size: int) -> None:
        """Write to a connection; data is silently dropped if it is not open."""
        if not end.open:
            return
        if end.stuck is not None:
            end.stuck.append((message, size))
        elif end.way.packets or end.back.packets or (end.flow is not None and not end.flow.idle):
            self._flow(end).write(message, size)
        elif _held(end, size):
            self._stick(end, message, size)
        else:
            self._send(end, message, size)

    def _send(self, end: End, message: Any, size: int) -> None:
        if end.way.packets or end.back.packets:
            self._flow(end).write(message, size)
            return
        scheduler, way = self.scheduler, end.way
        arrival = scheduler.now + way.delay if way.plain else way.in_order(scheduler.now)
        if arrival < end.arrival:
            arrival = end.arrival
        end.arrival = arrival
        scheduler.at(arrival, self._arrive, end, message, size)

    # --- packet by packet -------------------------------------------------------------------------------------------

    def _flow(self, end: End) -> TcpFlow:
        """The flow that carries an end's packets, used from the first time that its path loses or delays packets."""
        flow = end.flow
        if flow is None:
            flow = end.flow = TcpFlow(
                self.scheduler,
                end.way.delay + end.back.delay,
                lambda size, arrives, what: self._packet(end, end.way, end.remote.port, size, arrives, what),
                lambda size, arrives, what: self._packet(end, end.back, end.local.port, size, arrives, what),
                lambda message, size: self._delivered(end, message, size),
                lambda: self._times_out(end),
            )
        return flow

    def _packet(
        self, end: End, way: LinkModel, port: int, size: int, arrives: Callable[[Any], None], what: Any
    ) -> None:
        """Send a packet of a flow, if nothing blocks it now and on arrival."""
        if not end.lost and not way.stops("tcp", port):
            self.transit(way, size, self._packet_arrives, end, way, arrives, what)

    def _packet_arrives(self, end: End, way: LinkModel, arrives: Callable[[Any], None], what: Any) -> None:
        if way.cut or end.lost:
            return
        receiver = end.other
        if way is end.way and not receiver.open and end.flow is not None and end.flow.unheard(what):
            if receiver.site.powered:
                self._reset(receiver)
            return
        if way is end.back or receiver.site.powered:
            arrives(what)
        if not end.open and end.flow is not None and end.flow.idle and end.stuck is None:
            self._drop(end)  # closed, and the other side has received everything

    def _delivered(self, end: End, message: Any, size: int) -> None:
        """All bytes of a message have arrived; earlier messages may not have, if the path was better when this was
        written."""
        now = self.scheduler.now
        if end.stuck is not None:
            end.stuck.append((message, size))
        elif end.arrival > now:
            self.scheduler.at(end.arrival, self._received, end, message, size)
        else:
            self._received(end, message, size)

    def _times_out(self, end: End) -> None:
        was = end.open
        self.abort(end)
        if was:
            self._tell(end, "connection timed out")

    def _stick(self, end: End, message: Any, size: int) -> None:
        end.stuck = deque(((message, size),))
        end.stuck_since = self.scheduler.now
        end.retry = max(RTO_MIN, 2 * (end.way.delay + end.back.delay))
        self.scheduler.after(end.retry, self._retransmit, end)

    def _retransmit(self, end: End) -> None:
        if end.stuck is None or end.site.name not in self._ends or end.conn not in self._ends[end.site.name]:
            return
        moved = False
        # Later writes may already go packet by packet: on arrival they queue after this one.
        waits = end.flow is not None and not end.flow.idle
        while end.stuck and not waits and not _held(end, end.stuck[0][1]):
            moved = True
            self._send(end, *end.stuck.popleft())
        if not end.stuck:
            end.stuck = None
            return
        if moved:
            end.stuck_since = self.scheduler.now
        waited = self.scheduler.now - end.stuck_since
        if waited >= USER_TIMEOUT:
            self._times_out(end)
            return
        end.retry *= 2
        self.scheduler.after(min(end.retry, USER_TIMEOUT - waited), self._retransmit, end)

    def _arrive(self, end: End, message: Any, size: int) -> None:
        if end.way.cut or end.lost or (end.way.blocked and _held(end, size)):
            # It was in flight when the cut began.
            if end.conn in self._ends[end.site.name]:
                if end.stuck is None:
                    self._stick(end, message, size)
                else:
                    end.stuck.append((message, size))
            return
        self._received(end, message, size)

    def _received(self, end: End, message: Any, size: int) -> None:
        receiver = end.other
        if not receiver.open:
            if receiver.site.powered:
                self._reset(receiver)
            return
        if message is _FIN:
            self._drop(receiver)
            self._tell(receiver, "closed by the other side")
        else:
            receiver.site.received(receiver, message)

    def close(self, end: End) -> None:
        """Close a connection gracefully, after the data written so far."""
        if end.open:
            self.write(end, _FIN, 0)
            end.open = False
            if end.stuck is None and (end.flow is None or end.flow.idle):
                self._drop(end)

    def abort(self, end: End) -> None:
        """Forget a connection without telling the other side."""
        end.stuck = None
        if end.flow is not None:
            end.flow.end()
        self._drop(end)

    def die(self, site: Site, *, power: bool) -> None:
        """The process of a site ends without notice: its kernel resets its connections, unless the power is off too."""
        for end in list(self._ends[site.name].values()):
            self.abort(end)
            if not power:
                self._reset(end)

    def _reset(self, end: End) -> None:
        """The kernel of `end` tells the other side that there is no such connection."""
        if not end.lost and not end.way.stops("tcp", end.remote.port):
            self.scheduler.after(end.way.delay, self._reset_arrives, end)

    def _reset_arrives(self, end: End) -> None:
        other = end.other
        if not end.way.stops("tcp", end.remote.port) and other.open:
            self.abort(other)
            self._tell(other, "connection reset")

    def _drop(self, end: End) -> None:
        end.open = False
        self._ends[end.site.name].pop(end.conn, None)

    def _tell(self, end: End, reason: str) -> None:
        if not end.site.listening:
            return
        if end.greeted:
            end.site.closed(end, reason)
        elif end.dialled is not None:
            end.site.failed(end.dialled, reason)

    def ends(self, site: Site) -> Mapping[int, End]:
        """The connections of a site, by number."""
        return self._ends[site.name]


def _held(end: End, size: int) -> bool:
    """Whether data written now, or its acknowledgement, cannot pass."""
    way, back = end.way, end.back
    if way.cut or back.cut or end.lost:
        return True
    if way.limit and min(size, MSS) + HEADERS > way.limit:
        return True
    return bool(way.blocked or back.blocked) and (
        way.stops("tcp", end.remote.port) or back.stops("tcp", end.local.port)
    )

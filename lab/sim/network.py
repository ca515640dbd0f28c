"""The network between simulated hosts: datagrams, TCP connections, cuts. Carries objects; knows no protocol.

TCP is ordered and reliable while packets pass both ways. In a cut what was written waits, is tried again after pauses
that double (Linux's retransmission), and breaks after `USER_TIMEOUT` with a time-out on the writing side alone. A
process that ends leaves its kernel to reset its connections; a host without power answers nothing.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from lab.links import Link, Links
from lab.sim.passage import RTO_MIN, Passage
from lab.sim.scheduler import Scheduler
from overlay.config import Address
from overlay.env import MICROSECOND, SECOND, Random

BASE_DELAY = 100 * MICROSECOND
"""One way between two hosts over a perfect link, their network stacks included."""
USER_TIMEOUT = 10 * SECOND
"""TCP_USER_TIMEOUT of the daemon (`overlay.drivers.tcp`)."""
DIAL_TIMEOUT = 3 * SECOND
"""As the daemon's."""
SYN_RETRY = 1 * SECOND
HEADERS = 28
"""Of IPv4 and UDP."""


class Site(Protocol):
    """A host's process, as the network sees it."""

    name: str
    address: str
    powered: bool
    listening: bool
    """A process takes connections and datagrams at the control port."""
    port: int

    def opened(self, end: "End") -> None: ...

    def failed(self, dialled: Address, reason: str) -> None: ...

    def received(self, end: "End", message: Any) -> None: ...

    def closed(self, end: "End", reason: str) -> None: ...

    def datagram(self, source: Address, message: Any) -> None: ...


class End:
    """One side of a TCP connection: what is written here goes to `other`."""

    __slots__ = (
        "arrival", "back", "conn", "dialled", "local", "open", "other", "remote", "retry", "site", "stuck",
        "stuck_since", "way",
    )  # fmt: skip

    def __init__(self, site: Site, conn: int, local: Address, remote: Address, dialled: Address | None) -> None:
        self.site = site
        self.conn = conn
        self.local = local
        self.remote = remote
        self.dialled = dialled
        self.open = True
        self.other: End
        self.way: Passage
        self.back: Passage
        self.arrival = 0
        """When what was written last arrives: nothing overtakes it."""
        self.stuck: deque[tuple[Any, int]] | None = None
        """What waits for retransmission, in order."""
        self.stuck_since = 0
        self.retry = 0


class _Fin:
    """The end of the stream, as something written."""


_FIN = _Fin()


class Network:
    """All sites, joined pairwise by `links`."""

    def __init__(self, scheduler: Scheduler, links: Links, rng: Random) -> None:
        self.scheduler = scheduler
        self.cuts = 0
        """How often the cut was switched."""
        self._links = links
        self._rng = rng
        self._sites: dict[str, Site] = {}
        self._by_address: dict[str, Site] = {}
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._ways: dict[tuple[str, str], Passage] = {}
        self._is_cut: Callable[[str, str], bool] = _nothing
        self._conn = 0
        self._ends: dict[str, dict[int, End]] = {}

    def add(self, site: Site, others: Sequence[str] = ()) -> None:
        """Plug in one more host, which may have other addresses beside its own."""
        assert site.name not in self._sites, f"two hosts are called {site.name}"
        self._sites[site.name] = self._by_address[site.address] = site
        self._addresses[site.name] = (site.address, *others)
        for address in others:
            self._by_address[address] = site
        self._ends[site.name] = {}

    # --- cuts -------------------------------------------------------------------------------------------------------

    def set_cut(self, pairs: frozenset[tuple[str, str]]) -> None:
        """Cut exactly these directions (sender, receiver)."""
        self._switch(lambda sender, receiver: (sender, receiver) in pairs)

    def split(self, groups: Iterable[Sequence[str]]) -> None:
        """Cut every direction between hosts of different groups; hosts of no group form one more."""
        group = {name: number for number, names in enumerate(groups) for name in names}
        self._switch(lambda sender, receiver: group.get(sender, -1) != group.get(receiver, -1))

    def heal(self) -> None:
        """Let everything pass."""
        self._switch(_nothing)

    def _switch(self, is_cut: Callable[[str, str], bool]) -> None:
        self._is_cut = is_cut
        self.cuts += 1
        for (sender, receiver), way in self._ways.items():
            way.cut = is_cut(sender, receiver)

    def passes(self, sender: str, receiver: str) -> bool:
        """Whether packets pass now in this direction."""
        return not self._is_cut(sender, receiver)

    def way(self, sender: str, receiver: str) -> Passage:
        """The direction from one host to another."""
        way = self._ways.get((sender, receiver))
        if way is None:
            base = BASE_DELAY if sender != receiver else BASE_DELAY // 10
            way = self._ways[sender, receiver] = Passage(self._links.between(sender, receiver), base, self._rng)
            way.cut = self._is_cut(sender, receiver)
        return way

    def relink(self, sender: str, receiver: str, link: Link) -> None:
        """Replace what the link does to packets in one direction."""
        self._links = self._links.with_pair(sender, receiver, link)
        cut = self.way(sender, receiver).cut
        fresh = Passage(link, BASE_DELAY, self._rng)
        fresh.cut = cut
        for site in (self._sites[sender], self._sites[receiver]):
            for end in self._ends[site.name].values():
                if (end.site.name, end.other.site.name) == (sender, receiver):
                    end.way = end.other.back = fresh
                elif (end.other.site.name, end.site.name) == (sender, receiver):
                    end.back = end.other.way = fresh
        self._ways[sender, receiver] = fresh

    def addresses(self, name: str) -> tuple[str, ...]:
        """All addresses of a host."""
        return self._addresses[name]

    def site_at(self, address: str) -> Site | None:
        """The host with this address."""
        return self._by_address.get(address)

    # --- datagrams --------------------------------------------------------------------------------------------------

    def send_datagram(self, site: Site, destination: Address, message: Any, size: int) -> None:
        """Send one; it arrives, or it does not."""
        target = self._by_address.get(destination.host)
        if target is None:
            return
        way = self._ways.get((site.name, target.name)) or self.way(site.name, target.name)
        if way.cut:
            return
        scheduler = self.scheduler
        source = Address(site.address, site.port)
        if way.plain:
            scheduler.at(scheduler.now + way.delay, self._datagram, target, destination.port, source, message, way)
            return
        for arrival in way.packet(scheduler.now, size + HEADERS):
            scheduler.at(arrival, self._datagram, target, destination.port, source, message, way)

    def _datagram(self, target: Site, port: int, source: Address, message: Any, way: Passage) -> None:
        if target.listening and not way.cut and port == target.port:
            target.datagram(source, message)

    # --- connections ------------------------------------------------------------------------------------------------

    def dial(self, site: Site, address: Address, life: Callable[[], bool]) -> None:
        """Open a connection; `life()` tells whether the process that asked still lives."""
        target = self._by_address.get(address.host)
        self._syn(site, target, address, life, self.scheduler.now + DIAL_TIMEOUT, SYN_RETRY)

    def _syn(
        self, site: Site, target: Site | None, address: Address, life: Callable[[], bool], deadline: int, pause: int
    ) -> None:
        if not life():
            return
        scheduler = self.scheduler
        now = scheduler.now
        if now >= deadline:
            site.failed(address, f"no answer within {DIAL_TIMEOUT // SECOND} s")
            return
        if target is not None and target.powered:
            there, back = self.way(site.name, target.name), self.way(target.name, site.name)
            if not there.cut and not back.cut:
                rtt = there.delay + back.delay
                # Once there and once back; a lost packet costs the pause of a lost SYN.
                arrivals = [now + there.delay] if there.plain else there.packet(now, 60)
                returns = [a + back.delay if back.plain else b for a in arrivals for b in (back.packet(a, 60) or [0])]
                if returns and returns[0] and returns[0] < deadline:
                    if target.listening and address.port == target.port:
                        scheduler.at(returns[0], self._connect, site, target, address, life, rtt)
                    else:
                        scheduler.at(returns[0], self._refused, site, address, life, "connection refused")
                    return
        scheduler.at(min(now + pause, deadline), self._syn, site, target, address, life, deadline, pause * 2)

    def _refused(self, site: Site, address: Address, life: Callable[[], bool], reason: str) -> None:
        if life():
            site.failed(address, reason)

    def _connect(self, site: Site, target: Site, address: Address, life: Callable[[], bool], rtt: int) -> None:
        if not life():
            return
        if not target.listening:
            site.failed(address, "connection reset")
            return
        self._conn += 2
        near = Address(site.address, 32768 + self._conn // 2 % 28000)
        one = End(site, self._conn, near, address, address)
        other = End(target, self._conn + 1, address, near, None)
        one.other, other.other = other, one
        one.way = other.back = self.way(site.name, target.name)
        one.back = other.way = self.way(target.name, site.name)
        self._ends[site.name][one.conn] = one
        self._ends[target.name][other.conn] = other
        # First frames: the dialler's comes with its third packet, the answer one way later.
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
        if end.back.cut:
            # The other side's first frame was lost in a cut: its retransmission comes in time, or never.
            self.abort(end)
            self._tell(end, "no first frame in time")
            return
        end.site.opened(end)

    def write(self, end: End, message: Any, size: int) -> None:
        """Write to a connection; dropped silently when it is not open."""
        if not end.open:
            return
        if end.stuck is not None:
            end.stuck.append((message, size))
        elif end.way.cut or end.back.cut:
            self._stick(end, message, size)
        else:
            self._send(end, message, size)

    def _send(self, end: End, message: Any, size: int) -> None:
        scheduler, way = self.scheduler, end.way
        arrival = scheduler.now + way.delay if way.plain else way.segment(scheduler.now, size, way.delay * 2)
        if arrival < end.arrival:
            arrival = end.arrival
        end.arrival = arrival
        scheduler.at(arrival, self._arrive, end, message, size)

    def _stick(self, end: End, message: Any, size: int) -> None:
        end.stuck = deque(((message, size),))
        end.stuck_since = self.scheduler.now
        end.retry = max(RTO_MIN, 2 * (end.way.delay + end.back.delay))
        self.scheduler.after(end.retry, self._retransmit, end)

    def _retransmit(self, end: End) -> None:
        if end.stuck is None or end.site.name not in self._ends or end.conn not in self._ends[end.site.name]:
            return
        if not (end.way.cut or end.back.cut):
            stuck, end.stuck = end.stuck, None
            for message, size in stuck:
                self._send(end, message, size)
            return
        waited = self.scheduler.now - end.stuck_since
        if waited >= USER_TIMEOUT:
            was = end.open
            self.abort(end)
            if was:
                self._tell(end, "connection timed out")
            return
        end.retry *= 2
        self.scheduler.after(min(end.retry, USER_TIMEOUT - waited), self._retransmit, end)

    def _arrive(self, end: End, message: Any, size: int) -> None:
        if end.way.cut:
            # It was on its way when the cut came.
            if end.conn in self._ends[end.site.name]:
                if end.stuck is None:
                    self._stick(end, message, size)
                else:
                    end.stuck.append((message, size))
            return
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
        """End a connection in good order, behind what was written."""
        if end.open:
            self.write(end, _FIN, 0)
            end.open = False
            if end.stuck is None:
                self._drop(end)

    def abort(self, end: End) -> None:
        """Forget a connection; the other side is not told."""
        end.stuck = None
        self._drop(end)

    def die(self, site: Site, *, power: bool) -> None:
        """The process of a site ends without a word: its kernel resets its connections, unless the power went too."""
        for end in list(self._ends[site.name].values()):
            self.abort(end)
            if not power:
                self._reset(end)

    def _reset(self, end: End) -> None:
        """The kernel of `end` tells the other side that there is no such connection."""
        if not end.way.cut:
            self.scheduler.after(end.way.delay, self._reset_arrives, end)

    def _reset_arrives(self, end: End) -> None:
        other = end.other
        if not end.way.cut and other.open:
            self.abort(other)
            self._tell(other, "connection reset")

    def _drop(self, end: End) -> None:
        end.open = False
        self._ends[end.site.name].pop(end.conn, None)

    def _tell(self, end: End, reason: str) -> None:
        if end.site.listening:
            end.site.closed(end, reason)

    def ends(self, site: Site) -> Mapping[int, End]:
        """The connections of a site, by number."""
        return self._ends[site.name]


def _nothing(sender: str, receiver: str) -> bool:
    return False

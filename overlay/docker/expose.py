"""`weave expose`: the host itself on the overlay, by addresses on the bridge; and the packet filter with it.

Owns the record of the host's addresses in the journal; `exposed_bridge` makes them so on a real host. Booking is that
of any container; what differs is that the port is the bridge itself and that no engine knows this owner.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Sequence
from typing import Protocol

from overlay import inputs as i
from overlay.addresses import parse_address
from overlay.docker.attachments import DEFAULT, EXPOSED, Attachments
from overlay.docker.engine_facts import Container
from overlay.docker.journal import Attachment, Journal, Name
from overlay.errors import EnvironmentProblem
from overlay.policy.names import names_of
from overlay.runtime.router import Router

__all__ = ["Exposure", "HostPort"]

log = logging.getLogger(__name__)

_RETRY = 10.0
"""Seconds between two tries to mend a packet filter that cannot be mended."""
_HOST = Container(id=EXPOSED, name=EXPOSED, hostname="", pid=0, network_mode="")


class HostPort(Protocol):
    """The host's own place on the overlay."""

    def set_addresses(self, addresses: Sequence[str]) -> None:
        """Have exactly these ("a.b.c.d/n"). Raises `EnvironmentProblem`."""
        ...

    async def let_through(self, subnets: Sequence[str], before: Sequence[str], masquerade: bool) -> None:
        """Bring the packet filter in line: these subnets, no more those of `before`. Raises `EnvironmentProblem`."""
        ...

    def filter_changes(self) -> tuple[str, ...]:
        """What others have changed of the packet filter since then, as phrases."""
        ...


class Exposure:
    """This host's own addresses on the overlay."""

    def __init__(self, router: Router, bookings: Attachments, port: HostPort, mac: str, journal: Journal) -> None:
        self._router = router
        self._bookings = bookings
        self._port = port
        self._mac = mac
        self._journal = journal
        self._filter_lock = asyncio.Lock()
        self._filtered: tuple[str, ...] = ()
        """The subnets that the packet filter lets through."""
        self.problem = ""
        """Why the packet filter is not as it should be; empty: it is."""
        self._mending = False
        self._retry = 0.0
        """The time of the event loop before which nothing is mended again that could not be."""
        self._mended: tuple[str, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """What this host has ("a.b.c.d/n")."""
        record = self._journal.get(EXPOSED)
        return record.addresses if record is not None else ()

    def restore(self) -> None:
        """After a start, or when somebody has taken them away: put the addresses on the bridge again."""
        record = self._journal.get(EXPOSED)
        if record is not None and record.addresses:
            self._plug(record)

    async def expose(self, addresses: Sequence[str], fqdn: str = "", *, masquerade: bool = True) -> tuple[str, ...]:
        """Give the host addresses (none named: one of the default subnet); returns those that were asked for.

        Raises `UsageError` and `EnvironmentProblem`; then nothing was changed.
        """
        for text in addresses:
            parse_address(text)
        async with self._bookings.lock(EXPOSED):
            before = self._journal.get(EXPOSED)
            record = await self._bookings.book(_HOST, addresses or DEFAULT, dns=False, masquerade=masquerade)
            if fqdn:
                new = tuple(Name(fqdn, cidr.partition("/")[0]) for cidr in record.addresses)
                record = self._journal.update(record, names=tuple(dict.fromkeys((*record.names, *new))))
            try:
                self._plug(record)
                await self.filter()
            except EnvironmentProblem:
                await self._bookings.unbook(record, keep=before.addresses if before is not None else ())
                raise
            return self._bookings.asked_for(record, addresses or DEFAULT)

    async def hide(self, addresses: Sequence[str]) -> tuple[str, ...]:
        """Take addresses (none named: all) from the host; returns those that it had and gave up, maybe none.

        Raises `UsageError` for words that are no address.
        """
        async with self._bookings.lock(EXPOSED):
            record = self._journal.get(EXPOSED)
            leaving = self._bookings.meant(record, addresses)
            if record is None or not leaving:
                return ()
            await self._bookings.unbook(record, keep=tuple(c for c in record.addresses if c not in leaving))
            left = self._journal.get(EXPOSED)
            self._port.set_addresses(left.addresses if left is not None else ())
            if left is not None:
                self._announce(left)
            await self.filter()
            return leaving

    async def filter(self) -> None:
        """Bring the packet filter in line. Raises `EnvironmentProblem` if somebody is exposed and it cannot be."""
        record = self._journal.get(EXPOSED)
        addresses = record.addresses if record is not None else ()
        subnets = tuple(dict.fromkeys(str(ipaddress.ip_interface(cidr).network) for cidr in addresses))
        masquerade = record is None or record.masquerade
        async with self._filter_lock:
            try:
                await self._port.let_through(subnets, self._filtered, masquerade)
                self._filtered = subnets
                self.problem = ""
            except EnvironmentProblem as error:
                if str(error) != self.problem:
                    log.error("packet filter: %s", error)
                self.problem = str(error)
                if subnets:
                    raise

    async def check_filter(self) -> None:
        """The same when nobody waits for it: after the engine came (back), which may have changed the filter."""
        try:
            await self.filter()
        except EnvironmentProblem:
            return  # logged, and `problem` says so

    def look_at_filter(self) -> tuple[str, ...]:
        """Have the packet filter mended if others have changed it; returns what was mended since the last look.

        Looking is quick; to mend takes programs, so that is done in the background.
        """
        mended, self._mended = self._mended, ()
        waits = self._mending or self._filter_lock.locked() or asyncio.get_running_loop().time() < self._retry
        if not waits and (changes := self._port.filter_changes()):
            self._mending = True
            self._bookings.spawn(self._mend_filter(changes))
        return mended

    async def _mend_filter(self, changes: tuple[str, ...]) -> None:
        try:
            await self.check_filter()
            left = self._port.filter_changes()
            self._mended += tuple(each for each in changes if each not in left)
            if left:
                self._retry = asyncio.get_running_loop().time() + _RETRY
        finally:
            self._mending = False

    def _plug(self, record: Attachment) -> None:
        self._router.forwarding.now_local(self._mac, record.addresses)
        self._port.set_addresses(record.addresses)
        self._announce(record)

    def _announce(self, record: Attachment) -> None:
        names = names_of("", (name.fqdn for name in record.names), self._bookings.domain)
        self._router.feed(i.Attached(EXPOSED, self._mac, record.addresses, names))
        for name in record.names:
            self._router.feed(i.RegisterName(EXPOSED, name.fqdn, name.address))

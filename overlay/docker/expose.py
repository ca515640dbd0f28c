"""`weave expose`: gives the host itself addresses on the overlay, on the bridge, and sets up the packet filter for it.

Owns the record of the host's addresses in the journal; `exposed_bridge` applies them on a real host. Addresses are
booked as for a container, but the port is the bridge itself, and no engine knows this owner.
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
"""Seconds between retries to repair the packet filter."""
_HOST = Container(id=EXPOSED, name=EXPOSED, hostname="", pid=0, network_mode="")


class HostPort(Protocol):
    """The host's own port on the overlay."""

    def set_addresses(self, addresses: Sequence[str]) -> None:
        """Set exactly these addresses ("a.b.c.d/n"). Raises `EnvironmentProblem`."""
        ...

    async def let_through(self, subnets: Sequence[str], before: Sequence[str], masquerade: bool) -> None:
        """Update the packet filter: let these subnets through, and no longer those in `before`. Raises
        `EnvironmentProblem`."""
        ...

    def filter_changes(self) -> tuple[str, ...]:
        """Changes that others made to the packet filter since then, as phrases."""
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
        """The problem with the packet filter; empty if there is none."""
        self._mending = False
        self._retry = 0.0
        """The event loop time before which a failed repair is not retried."""
        self._mended: tuple[str, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """The host's addresses ("a.b.c.d/n")."""
        record = self._journal.get(EXPOSED)
        return record.addresses if record is not None else ()

    def restore(self) -> None:
        """Put the addresses on the bridge again, after a start or after somebody has removed them."""
        record = self._journal.get(EXPOSED)
        if record is not None and record.addresses:
            self._plug(record)

    async def expose(self, addresses: Sequence[str], fqdn: str = "", *, masquerade: bool = True) -> tuple[str, ...]:
        """Give the host addresses (none named: one of the default subnet); returns the requested ones.

        Raises `UsageError` and `EnvironmentProblem`; nothing is changed then.
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
        """Take addresses (none named: all) from the host; returns those that it had and released, maybe none.

        Raises `UsageError` for invalid addresses.
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
        """Update the packet filter. Raises `EnvironmentProblem` if the host is exposed and the update fails."""
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
        """Update the packet filter after the engine has come (back), because the engine may have changed it. Never
        raises."""
        try:
            await self.filter()
        except EnvironmentProblem:
            return  # logged, and reported in `problem`

    def look_at_filter(self) -> tuple[str, ...]:
        """Start a repair if others have changed the packet filter; returns what was repaired since the last call.

        The check is fast. The repair runs programs, so it is done in the background.
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

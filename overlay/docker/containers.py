"""The containers of this host on the overlay, as requested by the command line and the proxy.

Owns the requests: run, attach, detach, names, and the proxy's requests before and after a start. Addresses come from
the node, processes from the engine; `attachments` owns the steps on one container, `lifecycle` follows the engine.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from overlay import inputs as i
from overlay.addresses import parse_address
from overlay.config import Config
from overlay.dns.search import HOST_NAME_MAX, search_list
from overlay.docker.attachments import DEFAULT, EXPOSED, EXTERNAL, GRACE, Attachments, check_attachable, is_own
from overlay.docker.contracts import ContainerEngine, ContainerPorts
from overlay.docker.journal import Attachment, Journal, Name
from overlay.docker.lifecycle import ContainerLifecycle
from overlay.docker.name_table import NameTable
from overlay.errors import OverlayError, UsageError
from overlay.plugin.requests import OWNER as ENDPOINT
from overlay.runtime.router import Router

__all__ = ["EXPOSED", "EXTERNAL", "GRACE", "Containers"]

log = logging.getLogger(__name__)


class Containers:
    """All attached containers of this host."""

    def __init__(
        self, router: Router, engine: ContainerEngine, ports: ContainerPorts, config: Config, journal: Journal
    ) -> None:
        self._router = router
        self._engine = engine
        self._config = config
        self._journal = journal
        self.bookings = Attachments(router, ports, config, journal)
        self.lives = ContainerLifecycle(router, engine, ports, self.bookings, config, journal)
        self.resolver = ""
        """Address of the DNS server for containers; empty if there is none."""

    def begin(self) -> None:
        """Follow the engine's events from now on, and attach the containers in the journal again."""
        self.lives.begin()

    async def end(self) -> None:
        """Stop following events."""
        self.lives.end()
        await self.bookings.end()

    async def run(
        self,
        body: Mapping[str, Any],
        name: str,
        addresses: Sequence[str],
        *,
        dns: bool = True,
        hosts: bool = False,
        multicast: bool = True,
        spoofing: bool = False,
    ) -> str:
        """Create a container, book its addresses, start it and attach it; returns its id.

        `spoofing`: it may send with any MAC and any address.

        On an error the container is removed again. Raises `UsageError` or `EnvironmentProblem`.
        """
        for text in addresses:
            parse_address(text)
        container = await self._engine.create(self._with_dns(body, name, dns), name)
        try:
            await self.lives.looked.wait()  # outside of the lock, because looking at a container takes it
            await self.lives.make_way(container, addresses)
            async with self.bookings.lock(container):
                record = await self.bookings.book(
                    await self._engine.inspect(container),
                    addresses or DEFAULT,
                    dns,
                    rewrite_hosts=hosts,
                    multicast=multicast,
                    spoofing=spoofing,
                )
                await self._engine.start(container)
                self.bookings.plug(record, await self._engine.inspect(container))
        except BaseException:
            await asyncio.shield(self._undo_run(container))
            raise
        return container

    async def start(self, reference: str, addresses: Sequence[str], *, dns: bool = True) -> tuple[str, ...]:
        """Start a stopped container and attach it; returns the addresses ("a.b.c.d/n") it has now.

        It keeps the addresses that are still booked; if none is named, it gets no others. Raises `UsageError` and
        `EnvironmentProblem`; nothing is changed then.
        """
        for text in addresses:
            parse_address(text)
        info = await self._engine.inspect(reference)
        await self.lives.looked.wait()
        await self.lives.make_way(info.id, addresses)
        async with self.bookings.lock(info.id):
            before = self._journal.get(info.id)
            held = before is not None and before.addresses
            record = await self.bookings.book(info, addresses or (() if held else DEFAULT), dns)
            self.lives.living(info.id)
            try:
                await self._engine.start(info.id)
                self.bookings.plug(record, await self._engine.inspect(info.id))
            except BaseException:
                self.lives.not_running(info.id)
                raise
            return record.addresses

    async def attach(
        self,
        reference: str,
        addresses: Sequence[str],
        *,
        dns: bool = True,
        hosts: bool = False,
        multicast: bool = True,
        spoofing: bool = False,
    ) -> tuple[str, ...]:
        """Attach a running container (or give it more addresses); returns the requested addresses ("a.b.c.d/n").

        None named: one of the default subnet. `hosts`: the container's own name in its `/etc/hosts` gets the overlay
        address; `multicast`: its multicast route leads to the overlay; `spoofing`: it may send with any MAC and any
        address.
        """
        for text in addresses:
            parse_address(text)
        info = await self._engine.inspect(reference)
        check_attachable(info)
        await self.lives.looked.wait()
        await self.lives.make_way(info.id, addresses)
        async with self.bookings.lock(info.id):
            before = self._journal.get(info.id)
            record = await self.bookings.book(
                info,
                addresses or DEFAULT,
                dns,
                rewrite_hosts=hosts,
                multicast=multicast,
                **({"spoofing": True} if spoofing else {}),
            )
            try:
                self.bookings.plug(record, info)
            except OverlayError:
                await self.bookings.unbook(record, keep=before.addresses if before is not None else ())
                raise
            return self.bookings.asked_for(record, addresses or DEFAULT)

    # --- requests of the proxy -------------------------------------------------------------------------------------

    async def reserve(
        self,
        container: str,
        addresses: Sequence[str],
        *,
        dns: bool = True,
        hosts: bool = True,
        multicast: bool = True,
        spoofing: bool = False,
    ) -> tuple[str, ...]:
        """Book addresses for a container that was just created and must be started within the grace period.

        Raises `UsageError` and `EnvironmentProblem`; nothing is booked then.
        """
        for text in addresses:
            parse_address(text)
        info = await self._engine.inspect(container)
        await self.lives.looked.wait()
        await self.lives.make_way(info.id, addresses)
        async with self.bookings.lock(info.id):
            record = await self.bookings.book(
                info,
                addresses or DEFAULT,
                dns,
                specs=tuple(addresses) or DEFAULT,
                rewrite_hosts=hosts,
                multicast=multicast,
                spoofing=spoofing,
            )
            self.lives.reserved(info.id)
            return record.addresses

    async def renew(self, container: str, *, multicast: bool = True) -> None:
        """Before a start through the proxy: book addresses that were released since. Raises `OverlayError`; do not
        start then.

        `multicast`: this time the multicast route leads to the overlay, whatever the creating proxy's setting was.
        """
        record = self._journal.get(container)
        await self.lives.make_way(container, record.wanted if record is not None else ())
        async with self.bookings.lock(container):
            record = self._journal.get(container)
            if record is not None and record.multicast != multicast:
                record = self._journal.update(record, multicast=multicast)
            if record is None or not record.wanted:
                return
            await self.bookings.book(await self._engine.inspect(container), record.wanted)
            self.lives.reserved(container)

    async def ensure(self, container: str) -> tuple[str, ...]:
        """After a start through the proxy: returns once the container is on the overlay, with its addresses.

        Empty: it does not belong on the overlay, or has ended. Raises `OverlayError`; it is not attached then.
        """
        async with self.bookings.lock(container):
            info = await self.lives.inspect_or_none(container)
            if info is None or not info.running:
                return ()
            record = await self.lives.revive(self._journal.get(container), info)
            return record.addresses if record is not None else ()

    # --- other requests ----------------------------------------------------------------------------------------------

    async def detach(self, reference: str, addresses: Sequence[str] = ()) -> tuple[str, ...]:
        """Take addresses (none named: all) from a container; returns those that it had and released, maybe none."""
        container = await self._find(reference)
        async with self.bookings.lock(container):
            record = self._journal.get(container)
            if record is None and any(each.holder == container for each in self._journal.all()):
                raise UsageError(
                    f"container {reference} is on the overlay by a network of the engine: "
                    f"`docker network disconnect NETWORK {reference}`"
                )
            leaving = self.bookings.meant(record, addresses)
            if record is None or not leaving:
                self.bookings.drop_lock(container)
                return ()
            keep = tuple(cidr for cidr in record.addresses if cidr not in leaving)
            await self.bookings.unbook(record, keep=keep)
            if keep:
                info = await self._engine.inspect(container)
                left = self._journal.get(container)
                if info.running and left is not None:
                    self.bookings.plug(left, info)
            else:
                self.bookings.unplug(container)
                if record.specs:
                    # It was created to wait for the overlay, so a later start must attach it again.
                    self._journal.put(replace(record, addresses=(), names=(), wanted=()))
            return leaving

    async def add_name(self, container: str, fqdn: str, address: str) -> None:
        """Register one more DNS name for an address of a container (or of another owner)."""
        if not is_own(container):
            container = await self._find(container)
        record = self._journal.get(container) or Attachment(container=container)
        entry = Name(fqdn, address)
        if entry not in record.names:
            record = self._journal.update(record, names=(*record.names, entry))
        self._router.feed(i.RegisterName(container, fqdn, address))
        self.bookings.renamed(record)

    async def remove_name(self, container: str, fqdn: str, address: str) -> None:
        """Remove the matching DNS names of a container; empty arguments match all."""
        if not is_own(container):
            container = await self._find(container)
        record = self._journal.get(container)
        if record is not None:
            names = tuple(
                entry
                for entry in record.names
                if (fqdn and entry.fqdn.lower() != fqdn.lower()) or (address and entry.address != address)
            )
            record = self._journal.update(record, names=names)
        self._router.feed(i.UnregisterName(container, fqdn, address))
        if record is not None:
            self.bookings.renamed(record)

    async def change_names(self, entries: Sequence[i.NameEntry], *, remove: bool) -> list[bool]:
        """Add or remove all these names, or none; without an address, a name goes from all addresses of its owner.
        Returns for each entry whether it changed anything. Raises `UsageError`."""
        owners: dict[str, str] = {}
        for entry in entries:
            if entry.container not in owners:
                own = is_own(entry.container)
                owners[entry.container] = entry.container if own else await self._find(entry.container)
        resolved = tuple(i.NameEntry(owners[entry.container], entry.name, entry.address) for entry in entries)
        excess = "" if remove else self._router.node.registry.excess(resolved)
        if excess:
            raise UsageError(excess)
        tables: dict[str, NameTable] = {}
        done = []
        for each in resolved:
            table = tables.get(each.container)
            if table is None:
                record = self._journal.get(each.container) or Attachment(container=each.container)
                table = tables[each.container] = NameTable(record)
            done.append(table.remove(each.name, each.address) if remove else table.add(each.name, each.address))
        changed = [table.record() for table in tables.values() if table.changed]
        self._journal.put_all(changed)
        self._router.feed(i.UnregisterNames(resolved) if remove else i.RegisterNames(resolved))
        for record in changed:
            self.bookings.renamed(record)
        return done

    def owners_of(self, fqdn: str) -> list[str]:
        """The owners on this host that have this DNS name."""
        wanted = fqdn.lower()
        records = self._journal.all()
        return [each.container for each in records if any(name.fqdn.lower() == wanted for name in each.names)]

    async def table(self, references: Sequence[str] = ()) -> list[dict[str, Any]]:
        """`id`, `name`, `mac`, `addresses` and `spoofing` of all attached containers and, last, of this host; or only
        of the named ones."""
        attached = [record for record in self._journal.all() if record.container != EXPOSED]
        records = [*attached, self._journal.get(EXPOSED) or Attachment(container=EXPOSED)]
        wanted = list(references)
        for at, reference in enumerate(wanted):
            if not is_own(reference) and not any(_is_meant(record, reference) for record in records):
                wanted[at] = (await self._engine.inspect(reference)).id  # renamed since, or unknown
        return [
            {
                "id": record.shown,
                "name": record.name,
                "mac": record.mac or self.bookings.mac(record.container),
                "addresses": list(record.addresses),
                "spoofing": record.spoofing,
            }
            for record in records
            if record.addresses or record.container == EXPOSED
            if not wanted or any(_is_meant(record, each) for each in wanted)
        ]

    async def surrender(self) -> None:
        """Detach everything (for a `reset`): interfaces, addresses, names."""
        for record in self._journal.all():
            async with self.bookings.lock(record.container):
                self.bookings.unplug(record.container)
                await self.bookings.unbook(record, keep=())
                self._journal.drop(record.container)

    # --- helpers -----------------------------------------------------------------------------------------------------

    async def _undo_run(self, container: str) -> None:
        async with self.bookings.lock(container):
            try:
                await self._engine.remove(container)
            except OverlayError as error:
                log.warning("container %.12s could not be removed: %s", container, error)
            record = self._journal.get(container)
            if record is not None:
                await self.lives.forget(record)

    async def _find(self, reference: str) -> str:
        """The id of a container by id, prefix or name. The journal comes first, because the engine may have removed
        it."""
        if is_own(reference):
            return reference
        for record in self._journal.all():
            if not record.container.startswith(ENDPOINT) and _is_meant(record, reference):
                return record.container
        return (await self._engine.inspect(reference)).id

    def _with_dns(self, body: Mapping[str, Any], name: str, dns: bool) -> dict[str, Any]:
        """The create request with this host's DNS server, unless the user named another.

        If the container's name is its host name, its domain is the router's, if both fit into a host name.
        """
        changed = dict(body)
        if not (dns and self._config.dns and self.resolver):
            return changed
        given = changed.get("HostConfig") or {}
        if not isinstance(given, dict):
            raise UsageError(f"HostConfig is {given!r:.80}: expected an object")
        host = dict(given)
        host.setdefault("Dns", [self.resolver])
        domain = self._config.dns_domain.rstrip(".")
        hostname = str(changed.get("Hostname") or "")
        fits = len(f"{hostname}.{domain}") <= HOST_NAME_MAX
        if hostname and hostname == name and fits and not changed.get("Domainname"):
            changed["Domainname"] = domain
        host.setdefault("DnsSearch", search_list(hostname, str(changed.get("Domainname") or ""), domain))
        changed["HostConfig"] = host
        return changed


def _is_meant(record: Attachment, reference: str) -> bool:
    """Whether the reference is the container's id, a prefix of it, or its name."""
    return reference in (record.shown, record.name) or (len(reference) >= 4 and record.shown.startswith(reference))

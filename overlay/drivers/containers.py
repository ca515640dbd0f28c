"""The containers of this host on the overlay: attach, detach, run, and what follows from their lives and deaths.

Owns the order in which a container's addresses are booked, its interface plugged, its endpoint and names announced,
and all of that undone. Addresses come from the node, processes from the engine, interfaces from the kernel; the
journal remembers across crashes of this daemon.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from overlay import inputs as i
from overlay.config import Config
from overlay.datapath.vxlan import stable_mac
from overlay.drivers.addresses import parse_address
from overlay.drivers.attach import Ports
from overlay.drivers.engine import Container, Engine
from overlay.drivers.journal import Attachment, Journal, Name
from overlay.drivers.loop import Router
from overlay.errors import EnvironmentProblem, OverlayError, UsageError

__all__ = ["EXTERNAL", "Containers"]

log = logging.getLogger(__name__)

GRACE = 30.0
"""Seconds for which a dead container's addresses stay booked, so that a restart keeps them."""
EXTERNAL = "weave:extern"
"""Owner of DNS entries that belong to no container."""
_ENGINE_ID = re.compile("[0-9a-f]{64}")
_RETRY_FIRST, _RETRY_MOST = 0.2, 5.0


class Containers:
    """All attached containers of this host."""

    def __init__(self, router: Router, engine: Engine, ports: Ports, config: Config, journal: Journal) -> None:
        self._router = router
        self._engine = engine
        self._ports = ports
        self._config = config
        self._journal = journal
        self._locks: dict[str, asyncio.Lock] = {}
        self._expiry: dict[str, asyncio.TimerHandle] = {}
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._looked = asyncio.Event()
        """Set once containers were looked at that this daemon does not know: nobody gets an address that they hold."""
        self.resolver = ""
        """Address of the DNS server that containers get; empty: none."""

    # --- what the control API asks for -----------------------------------------------------------------------------

    async def run(self, body: Mapping[str, Any], name: str, addresses: Sequence[str], *, dns: bool = True) -> str:
        """Create a container, book its addresses, start it and attach it; returns its id.

        If anything fails the container is removed again. Raises `UsageError` or `EnvironmentProblem`.
        """
        for text in addresses:
            parse_address(text)
        container = await self._engine.create(self._with_dns(body, dns), name)
        try:
            await self._looked.wait()  # not under the lock, which looking at a container takes
            async with self._lock(container):
                record = await self._book(await self._engine.inspect(container), addresses, dns)
                await self._engine.start(container)
                await self._plug(record, await self._engine.inspect(container))
        except BaseException:
            await asyncio.shield(self._undo_run(container))
            raise
        return container

    async def attach(self, reference: str, addresses: Sequence[str], *, dns: bool = True) -> tuple[str, ...]:
        """Attach a running container (or give it more addresses); returns the addresses ("a.b.c.d/n") it has now."""
        for text in addresses:
            parse_address(text)
        info = await self._engine.inspect(reference)
        self._check_attachable(info)
        await self._looked.wait()
        async with self._lock(info.id):
            before = self._journal.get(info.id)
            record = await self._book(info, addresses, dns)
            try:
                await self._plug(record, info)
            except OverlayError:
                await self._unbook(record, keep=before.addresses if before is not None else ())
                raise
            return record.addresses

    async def detach(self, reference: str, addresses: Sequence[str] = ()) -> tuple[str, ...]:
        """Take addresses (none named: all) from a container; returns those that it gave up."""
        container = await self._find(reference)
        async with self._lock(container):
            record = self._journal.get(container)
            if record is None or not record.addresses:
                raise UsageError(f"container {reference} is not attached")
            leaving = tuple(parse_address(text).value for text in addresses) or record.addresses
            missing = [cidr for cidr in leaving if cidr not in record.addresses]
            if missing:
                raise UsageError(
                    f"container {reference} does not have {missing[0]}, it has {' '.join(record.addresses)}"
                )
            keep = tuple(cidr for cidr in record.addresses if cidr not in leaving)
            await self._unbook(record, keep=keep)
            if keep:
                info = await self._engine.inspect(container)
                left = self._journal.get(container)
                if info.running and left is not None:
                    await self._plug(left, info)
            else:
                self._ports.unplug(container)
            return leaving

    async def add_name(self, container: str, fqdn: str, address: str) -> None:
        """Register one more DNS name for an address of a container (or of `EXTERNAL`)."""
        if container != EXTERNAL:
            container = await self._find(container)
        record = self._journal.get(container) or Attachment(container=container)
        entry = Name(fqdn, address)
        if entry not in record.names:
            self._journal.put(replace(record, names=(*record.names, entry)))
        self._router.feed(i.RegisterName(container, fqdn, address))

    async def remove_name(self, container: str, fqdn: str, address: str) -> None:
        """Remove the DNS names of a container that match; empty ones match all."""
        if container != EXTERNAL:
            container = await self._find(container)
        record = self._journal.get(container)
        if record is not None:
            names = tuple(
                entry
                for entry in record.names
                if (fqdn and entry.fqdn.lower() != fqdn.lower()) or (address and entry.address != address)
            )
            self._journal.put(replace(record, names=names))
        self._router.feed(i.UnregisterName(container, fqdn, address))

    async def table(self, references: Sequence[str] = ()) -> list[dict[str, Any]]:
        """`id`, `name`, `mac` and `addresses` of all attached containers, or of those named."""
        wanted = [await self._find(reference) for reference in references]
        return [
            {
                "id": record.container,
                "name": record.name,
                "mac": stable_mac(self._config.name, record.container),
                "addresses": list(record.addresses),
            }
            for record in self._journal.all()
            if record.addresses and (not references or record.container in wanted)
        ]

    async def surrender(self) -> None:
        """Detach everything (a `reset`): interfaces, addresses, names."""
        for record in self._journal.all():
            async with self._lock(record.container):
                self._ports.unplug(record.container)
                await self._unbook(record, keep=())
                self._journal.drop(record.container)

    # --- lives and deaths ------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Follow the engine's events from now on; what was attached before is attached again."""
        record = self._journal.get(EXTERNAL)
        for name in record.names if record is not None else ():
            self._router.feed(i.RegisterName(EXTERNAL, name.fqdn, name.address))
        for record in self._journal.all():
            # Before any peer hears of this daemon: nobody may think these containers gone while we look after them.
            if record.addresses and record.container != EXTERNAL:
                self._announce(record)
        self._spawn(self._follow())

    async def end(self) -> None:
        """Stop following."""
        for handle in self._expiry.values():
            handle.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self) -> None:
        wait = _RETRY_FIRST
        complained = False
        while True:
            try:
                async for event in self._engine.events():
                    wait, complained = _RETRY_FIRST, False
                    if event.action == "connected":
                        self._spawn(self._reconcile())
                    elif self._journal.get(event.container) is not None:
                        self._spawn(self._happened(event.action, event.container))
            except OverlayError as error:
                if not complained:
                    log.warning("cannot follow containers: %s", error)
                complained = True
            if not complained and wait > _RETRY_FIRST:
                log.warning(
                    "no container engine at %s: containers are not followed until it answers", self._engine.path
                )
                complained = True
            await asyncio.sleep(wait)
            wait = min(wait * 2, _RETRY_MOST)

    async def _reconcile(self) -> None:
        """After a start of this daemon or of the engine: events were missed, so look at every container."""
        try:
            living = dict.fromkeys(await self._engine.list())
            adopted = [container for container in living if await self._adopt(container)]
        except OverlayError as error:
            log.warning("cannot look at containers: %s", error)
            return
        finally:
            self._looked.set()  # whatever came of it: an engine that does not answer runs no new containers either
        await self._drop_orphans(living)
        for record in self._journal.all():
            if record.container == EXTERNAL or record.container in adopted:
                continue
            await self._happened("look" if record.container in living else "destroy", record.container)

    async def _adopt(self, container: str) -> bool:
        """Take over a running container that is on the bridge though nothing on disk says so: the disk was lost."""
        async with self._lock(container):
            if self._journal.get(container) is not None:
                return False
            info = await self._inspect_or_none(container)
            held = self._ports.held(container, info.pid) if info is not None and info.running else ()
            if info is None or not held:
                return False
            log.warning("container %.12s is on the bridge with %s but not on disk: adopted", container, " ".join(held))
            names = tuple(Name(self._fqdn(info), cidr.partition("/")[0]) for cidr in held) if self._config.dns else ()
            self._journal.put(Attachment(container=container, name=info.name, addresses=held, names=names))
        await self._happened("look", container)
        return True

    async def _drop_orphans(self, living: Mapping[str, None]) -> None:
        """Give up what the node remembers of containers that neither the journal nor the engine knows.

        Owners that are no engine's ids (`PUT /ip/…` takes any word) are their makers' business.
        """
        report = self._router.node.report(self._router.clock())
        for entry in report["endpoints"]["entries"]:
            if entry["peer"] == self._config.name and self._journal.get(entry["container"]) is None:
                self._router.feed(i.Detached(entry["container"]))
        for container in report["ipam"]["addresses"]:
            if _ENGINE_ID.fullmatch(container) and container not in living and self._journal.get(container) is None:
                await self._router.ask(partial(_release, container, ""))

    async def _happened(self, action: str, container: str) -> None:
        try:
            async with self._lock(container):
                record = self._journal.get(container)
                if record is None:
                    return
                if action == "destroy":
                    await self._forget(record)
                    return
                info = await self._inspect_or_none(container)
                if info is None:
                    await self._forget(record)
                elif info.running:
                    await self._revive(record, info)
                else:
                    self._died(record)
        except OverlayError as error:
            log.error("container %.12s: %s", container, error)

    async def _revive(self, record: Attachment, info: Container) -> None:
        timer = self._expiry.pop(record.container, None)
        if timer is not None:
            timer.cancel()
        if record.wanted:
            record = await self._book(info, record.wanted, record.with_dns)
        kept = []
        for cidr in record.addresses:
            try:
                await self._router.ask(partial(_claim, record.container, cidr), timeout=GRACE)
                kept.append(cidr)
            except TimeoutError:
                kept.append(cidr)  # nobody to ask yet; what is on disk stands
            except UsageError as error:
                log.error("container %.12s loses %s: %s", record.container, cidr, error)
        if tuple(kept) != record.addresses:
            await self._unbook(record, keep=tuple(kept))
        left = self._journal.get(record.container)
        if left is not None and left.addresses:
            await self._plug(left, info)

    def _died(self, record: Attachment) -> None:
        self._ports.unplug(record.container)
        self._router.feed(i.Detached(record.container))
        self._router.feed(i.UnregisterName(record.container))
        if record.container not in self._expiry:
            loop = asyncio.get_running_loop()
            self._expiry[record.container] = loop.call_later(GRACE, self._expired, record.container)

    def _expired(self, container: str) -> None:
        self._expiry.pop(container, None)
        self._spawn(self._expire(container))

    async def _expire(self, container: str) -> None:
        async with self._lock(container):
            record = self._journal.get(container)
            info = await self._inspect_or_none(container)
            if record is not None and (info is None or not info.running):
                await self._forget(record)

    async def _forget(self, record: Attachment) -> None:
        timer = self._expiry.pop(record.container, None)
        if timer is not None:
            timer.cancel()
        self._ports.unplug(record.container)
        await self._unbook(record, keep=())
        self._journal.drop(record.container)
        self._locks.pop(record.container, None)

    # --- booking and plugging, under the container's lock ----------------------------------------------------------

    async def _book(self, info: Container, addresses: Sequence[str], dns: bool) -> Attachment:
        """Book what is asked for (nothing: the default subnet), beside what the container has already."""
        room = self._router.disk.check_room()
        if room:
            raise EnvironmentProblem(room)
        before = self._journal.get(info.id) or Attachment(container=info.id)
        specs = tuple(addresses) or (() if before.addresses else ("net:default",))
        self._journal.put(replace(before, name=info.name, wanted=specs, with_dns=dns))
        booked: list[str] = []
        try:
            for text in specs:
                spec = parse_address(text)
                answer = await self._router.ask(
                    partial(_claim if spec.kind == "claim" else _allocate, info.id, spec.value)
                )
                assert isinstance(answer, str) or spec.kind == "claim"
                cidr = answer if isinstance(answer, str) else spec.value
                if cidr not in before.addresses:
                    booked.append(cidr)
        except BaseException:
            for cidr in booked:
                self._release(info.id, cidr)
            if before.addresses or before.names:
                self._journal.put(before)
            else:
                self._journal.drop(info.id)
            raise
        held = tuple(dict.fromkeys((*before.addresses, *booked)))
        names = before.names + tuple(
            Name(self._fqdn(info), cidr.partition("/")[0]) for cidr in booked if dns and self._config.dns
        )
        record = replace(before, name=info.name, wanted=(), addresses=held, names=names, with_dns=dns)
        self._journal.put(record)
        return record

    async def _unbook(self, record: Attachment, keep: tuple[str, ...]) -> None:
        """Give up all addresses but `keep`, with their names; the record says so afterwards."""
        literals = [cidr.partition("/")[0] for cidr in keep]
        names = tuple(name for name in record.names if name.address in literals)
        for name in record.names:
            if name not in names:
                self._router.feed(i.UnregisterName(record.container, name.fqdn, name.address))
        if not keep:
            self._router.feed(i.Detached(record.container))
            await self._router.ask(partial(_release, record.container, ""))
            self._journal.drop(record.container)
            return
        for cidr in record.addresses:
            if cidr not in keep:
                await self._router.ask(partial(_release, record.container, cidr.partition("/")[0]))
        self._journal.put(replace(record, addresses=keep, names=names, wanted=()))

    async def _plug(self, record: Attachment, info: Container) -> None:
        self._check_attachable(info)
        mac = stable_mac(self._config.name, record.container)
        self._router.forwarding.now_local(mac, record.addresses)
        self._ports.plug(record.container, info.pid, mac, record.addresses)
        self._announce(record)

    def _announce(self, record: Attachment) -> None:
        mac = stable_mac(self._config.name, record.container)
        self._router.feed(i.Attached(record.container, mac, record.addresses))
        for name in record.names:
            self._router.feed(i.RegisterName(record.container, name.fqdn, name.address))

    async def _undo_run(self, container: str) -> None:
        async with self._lock(container):
            try:
                await self._engine.remove(container)
            except OverlayError as error:
                log.warning("container %.12s could not be removed: %s", container, error)
            record = self._journal.get(container)
            if record is not None:
                await self._forget(record)

    # --- small help ------------------------------------------------------------------------------------------------

    def _release(self, container: str, cidr: str) -> None:
        self._spawn(self._ask_and_forget(partial(_release, container, cidr.partition("/")[0])))

    async def _ask_and_forget(self, make: Callable[[int], i.Input]) -> None:
        try:
            await self._router.ask(make, timeout=GRACE)
        except (OverlayError, TimeoutError) as error:
            log.warning("release: %s", error)

    async def _inspect_or_none(self, container: str) -> Container | None:
        try:
            return await self._engine.inspect(container)
        except UsageError:
            return None

    async def _find(self, reference: str) -> str:
        """The id of a container by id, prefix or name, from the journal first: it may be gone from the engine."""
        for record in self._journal.all():
            if reference in (record.container, record.name) or (
                len(reference) >= 4 and record.container.startswith(reference)
            ):
                return record.container
        return (await self._engine.inspect(reference)).id

    def _check_attachable(self, info: Container) -> None:
        if not info.running:
            raise UsageError(f"container {info.name or info.id[:12]} is not running")
        if info.network_mode == "host":
            raise UsageError(f"container {info.name or info.id[:12]} uses the host's network: it cannot be attached")

    def _fqdn(self, info: Container) -> str:
        own = info.hostname if info.hostname and not info.id.startswith(info.hostname) else info.name
        domain = self._config.dns_domain
        if own.rstrip(".").lower().endswith("." + domain.rstrip(".").lower()):
            return own.rstrip(".") + "."
        return f"{own.partition('.')[0]}.{domain}"

    def _with_dns(self, body: Mapping[str, Any], dns: bool) -> dict[str, Any]:
        """The create request with this host's DNS server in it, where the user has not named another."""
        changed = dict(body)
        if not (dns and self._config.dns and self.resolver):
            return changed
        host = dict(changed.get("HostConfig") or {})
        host.setdefault("Dns", [self.resolver])
        host.setdefault("DnsSearch", [self._config.dns_domain.rstrip(".")])
        changed["HostConfig"] = host
        return changed

    def _lock(self, container: str) -> asyncio.Lock:
        return self._locks.setdefault(container, asyncio.Lock())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("container work failed", exc_info=task.exception())


def _claim(container: str, address: str, request: int) -> i.Input:
    return i.Claim(request, container, address)


def _allocate(container: str, subnet: str, request: int) -> i.Input:
    return i.Allocate(request, container, subnet)


def _release(container: str, address: str, request: int) -> i.Input:
    return i.Release(request, container, address)

"""Follows the engine: handles starts, deaths and removals of attached containers, and restarts.

Owns the event stream, the grace period after a death, and the recovery of all containers after a restart of this
daemon, the engine or the host. `attachments` owns the steps on one container.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from overlay import effects as e
from overlay import inputs as i
from overlay.addresses import parse_address
from overlay.config import Config
from overlay.docker.attachments import DEFAULT, EXPOSED, EXTERNAL, GRACE, Attachments, is_own
from overlay.docker.cidr import wanted_addresses
from overlay.docker.contracts import ContainerEngine, ContainerPorts
from overlay.docker.engine_facts import Container, NetworkMembership
from overlay.docker.journal import Attachment, Journal, Name
from overlay.errors import OverlayError, UsageError
from overlay.runtime.router import Router

__all__ = ["ContainerLifecycle"]

log = logging.getLogger(__name__)

_ENGINE_ID = re.compile("[0-9a-f]{64}")
_RETRY_FIRST, _RETRY_MOST = 0.2, 5.0


class ContainerLifecycle:
    """The starts and deaths of this host's containers."""

    def __init__(
        self,
        router: Router,
        engine: ContainerEngine,
        ports: ContainerPorts,
        bookings: Attachments,
        config: Config,
        journal: Journal,
    ) -> None:
        self._router = router
        self._engine = engine
        self._ports = ports
        self._bookings = bookings
        self._config = config
        self._journal = journal
        router.on_evicted = self._evicted
        self._expiry: dict[str, asyncio.TimerHandle] = {}
        self._reserved: dict[str, None] = {}
        self.looked = asyncio.Event()
        """Set once containers unknown to this daemon were examined, so that nobody gets an address that they have."""
        self.on_connect: Callable[[Container], None] = lambda _: None
        """Called when a container was started, or connected to a network."""
        self.on_engine: Callable[[], None] = lambda: None
        """Called when the engine has come (back), because it may have changed the packet filter and other shared
        state."""

    def begin(self) -> None:
        """Follow the engine's events from now on, and attach the containers in the journal again."""
        record = self._journal.get(EXTERNAL)
        for name in record.names if record is not None else ():
            self._router.feed(i.RegisterName(EXTERNAL, name.fqdn, name.address))
        for record in self._journal.all():
            # Before any peer hears of this daemon, so that no peer believes these containers gone while we examine
            # them.
            if record.addresses and record.container != EXPOSED:
                self._bookings.announce(record)
        self._bookings.spawn(self._follow())

    def end(self) -> None:
        """Cancel all grace periods."""
        for handle in self._expiry.values():
            handle.cancel()

    def living(self, container: str) -> None:
        """The container runs: cancel its grace period."""
        self._reserved.pop(container, None)
        self._router.feed(i.Idle(container, idle=False))
        timer = self._expiry.pop(container, None)
        if timer is not None:
            timer.cancel()

    def reserved(self, container: str) -> None:
        """The container is about to be started: nobody may take its addresses during the grace period."""
        self._reserved[container] = None
        self._router.feed(i.Idle(container, idle=False))
        self.not_running(container)

    async def make_way(self, claimant: str, addresses: Sequence[str]) -> None:
        """Before a claim: check whether containers with these addresses have stopped, because the event may not have
        arrived.

        Call it without a lock. Raises `UsageError` for invalid addresses.
        """
        specs = [parse_address(text) for text in addresses]
        wanted = [spec.value.partition("/")[0] for spec in specs if spec.kind == "claim"]
        for record in self._journal.all():
            held = [cidr.partition("/")[0] for cidr in record.addresses]
            mine = record.container == claimant or record.container in self._reserved or is_own(record.container)
            if not mine and any(literal in wanted for literal in held):
                info = await self.inspect_or_none(record.container)
                if info is None or not info.running:
                    self._router.feed(i.Idle(record.container, idle=True))

    def not_running(self, container: str) -> None:
        """Keep its addresses booked for a grace period, unless another container claims one of them."""
        if container not in self._reserved:
            self._router.feed(i.Idle(container, idle=True))
        if container not in self._expiry:
            loop = asyncio.get_running_loop()
            self._expiry[container] = loop.call_later(GRACE, self._expired, container)

    def look_at(self, container: str) -> None:
        """Something has happened to its interface: plug it in again if the container runs."""
        self._bookings.spawn(self._happened("look", container))

    async def inspect_or_none(self, container: str) -> Container | None:
        """The engine's facts about a container; None: there is no such container."""
        try:
            return await self._engine.inspect(container)
        except UsageError:
            return None

    async def _follow(self) -> None:
        wait = _RETRY_FIRST
        complained = False
        while True:
            try:
                async for event in self._engine.events():
                    wait, complained = _RETRY_FIRST, False
                    if event.action == "connected":
                        self.on_engine()
                        self._bookings.spawn(self._reconcile())
                    elif event.action in ("start", "connect") or self._journal.get(event.container) is not None:
                        self._bookings.spawn(self._happened(event.action, event.container))
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
        """Examine every container after a start of this daemon or of the engine, because events were missed."""
        try:
            living = dict.fromkeys(await self._engine.list())
            running = await self._engine.running()
            adopted = [container for container in living if await self._adopt(container)]
            for container in adopted:
                self._bookings.spawn(self._confirm(container))
            await asyncio.sleep(0)  # lets their claims reach the node before all later requests
        except OverlayError as error:
            log.warning("cannot look at containers: %s", error)
            return
        finally:
            self.looked.set()  # also on failure: without an engine no container can start either
        await self._drop_orphans(living)
        # Concurrently, so that a container that waits for the ring does not block the others.
        await asyncio.gather(
            *(
                self._happened("look" if record.container in living else "destroy", record.container)
                for record in self._journal.all()
                if not is_own(record.container) and record.container not in adopted
            )
        )
        for container in running:
            if self._journal.get(container) is None:
                await self._happened("start", container)

    async def _adopt(self, container: str) -> bool:
        """Adopt a running container that is on the bridge but not in the journal, because the disk was lost."""
        async with self._bookings.lock(container):
            if self._journal.get(container) is not None:
                return False
            info = await self.inspect_or_none(container)
            held = self._ports.held(container, info.pid) if info is not None and info.running else ()
            if info is None or not held:
                self._bookings.drop_lock(container)
                return False
            log.warning("container %.12s is on the bridge with %s but not on disk: adopted", container, " ".join(held))
            fqdn = self._bookings.fqdn(info)
            names = tuple(Name(fqdn, cidr.partition("/")[0]) for cidr in held)
            specs = held if info.waits else ()
            record = Attachment(
                container=container, name=info.name, addresses=held, names=names, labels=info.labels, specs=specs
            )
            self._journal.put(record)
            try:
                self._bookings.plug(record, info)
            except (OverlayError, OSError) as error:
                log.error("container %.12s: %s", container, error)
        return True

    async def _confirm(self, container: str) -> None:
        """Claim an adopted container's addresses; wait as long as necessary, because the ring may not be ready."""
        record = self._journal.get(container)
        if record is not None:
            await self._bookings.claim_again(record)
            await self._happened("look", container)

    async def _drop_orphans(self, living: Mapping[str, None]) -> None:
        """Release the addresses of containers that neither the journal nor the engine knows.

        Owners that are not engine ids (`PUT /ip/…` accepts any word) are left to their creators.
        """
        report = self._router.node.report(self._router.clock())
        labels = {record.label for record in self._journal.all()}
        for entry in report["endpoints"]["entries"]:
            if entry["peer"] == self._config.name and entry["container"] not in labels:
                self._router.feed(i.Detached(entry["container"]))
        for container in report["ipam"]["addresses"]:
            if _ENGINE_ID.fullmatch(container) and container not in living and self._journal.get(container) is None:
                await self._router.ask(partial(_release_all, container))

    async def _happened(self, action: str, container: str) -> None:
        try:
            async with self._bookings.lock(container):
                record = self._journal.get(container)
                if action == "destroy":
                    if record is not None:
                        await self.forget(record)
                    return
                if record is None and action not in ("start", "connect"):
                    return
                info = await self.inspect_or_none(container)
                if info is not None and info.networks:
                    self.on_connect(info)
                if info is None:
                    if record is not None:
                        await self.forget(record)
                elif info.running:
                    await self.revive(record, info, again=action == "look")
                elif record is not None and record.mac:
                    await self.forget(record)  # the engine gives its address to the next container
                elif record is not None:
                    self._died(record)
        except (OverlayError, OSError) as error:  # OSError: kernel or disk. Go on with the others
            log.error("container %.12s: %s", container, error)

    async def revive(self, record: Attachment | None, info: Container, *, again: bool = False) -> Attachment | None:
        """A container runs: plug it as its record, or its own environment, requests. Raises `OverlayError`.

        `again`: plug it even if it was plugged before, because its interface may have changed since.
        """
        self.living(info.id)
        native = self._on_our_bridge(info)
        if native is not None:
            if record is not None and record.addresses not in ((), (native.address,)):
                await self._bookings.unbook(record, keep=())
                record = None
            if record is None or not record.addresses:
                record = await self._bookings.book(info, (native.address,), mac=native.mac)
        if record is None:
            wanted = wanted_addresses(info.env) if info.waits else None
            if wanted is None:
                self._bookings.drop_lock(info.id)
                return None
            specs = wanted or DEFAULT
            record = await self._bookings.book(info, specs, specs=specs)
        elif not again and not record.wanted and self._bookings.plugged.get(info.id) == info.pid:
            return record
        elif record.wanted:
            record = await self._bookings.book(info, record.wanted)
        left = await self._bookings.keep_if_ours(record)
        if left is not None and left.addresses:
            self._bookings.plug(left, info)
        return left

    def _on_our_bridge(self, info: Container) -> NetworkMembership | None:
        """The port of a container that the engine itself plugged into our bridge (`dockerd --bridge=weave`)."""
        exposed = self._journal.get(EXPOSED)
        own = [cidr.partition("/")[0] for cidr in exposed.addresses] if exposed is not None else []
        return next((each for each in info.networks if each.address and each.mac and each.gateway in own), None)

    async def forget(self, record: Attachment) -> None:
        """Remove a container that was destroyed."""
        self.living(record.container)
        await self._bookings.forget(record)

    def _died(self, record: Attachment) -> None:
        self._bookings.unplug(record.container)
        self._reserved.pop(record.container, None)
        if record.specs and not record.addresses:
            self._journal.update(record, wanted=record.specs)
        self._router.feed(i.Detached(record.container))
        self._router.feed(i.UnregisterName(record.container))
        self.not_running(record.container)

    def _evicted(self, effect: e.Evicted) -> None:
        """Treat the container as if its grace period had expired."""
        log.info(
            "container %.12s has stopped: %s goes to the container that claimed it", effect.container, effect.address
        )
        self._bookings.spawn(self._expire(effect.container))

    def _expired(self, container: str) -> None:
        self._expiry.pop(container, None)
        self._reserved.pop(container, None)
        self._bookings.spawn(self._expire(container))

    async def _expire(self, container: str) -> None:
        async with self._bookings.lock(container):
            record = self._journal.get(container)
            info = await self.inspect_or_none(container)
            if record is None or (info is not None and info.running):
                return
            await self.forget(record)
            if info is not None and record.specs:
                # The addresses specified at its creation are requested again at the next start.
                self._journal.put(replace(record, addresses=(), names=(), wanted=record.specs))


def _release_all(container: str, request: int) -> i.Input:
    return i.Release(request, container, "")

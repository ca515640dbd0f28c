"""Attaching one container to the overlay and undoing it: book addresses, plug the interface, announce endpoint and
names.

Owns the order of these steps, each under the container's lock, and their record in the journal. `containers` (requests)
and `lifecycle` (engine events) decide when to call them.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from overlay import inputs as i
from overlay.addresses import matching, parse_address
from overlay.config import Config
from overlay.datapath.port_rules import PortWanted
from overlay.datapath.vxlan import BRIDGE, stable_mac
from overlay.docker import hosts_file
from overlay.docker.contracts import ContainerPorts
from overlay.docker.engine_facts import Container
from overlay.docker.journal import Attachment, Journal, Name
from overlay.errors import EnvironmentProblem, OverlayError, UsageError
from overlay.owners import EXPOSED, EXTERNAL, is_own
from overlay.policy.names import names_of
from overlay.runtime.router import Router

__all__ = ["DEFAULT", "EXPOSED", "EXTERNAL", "GRACE", "Attachments", "check_attachable", "is_own"]

log = logging.getLogger(__name__)

GRACE = 30.0
"""Seconds for which a dead container's addresses stay booked, so that a restart keeps them."""
DEFAULT = ("net:default",)
"""The meaning of an empty list of addresses, wherever addresses are given."""


class Attachments:
    """Operations on one container's record; callers hold its `lock`."""

    def __init__(self, router: Router, ports: ContainerPorts, config: Config, journal: Journal) -> None:
        self._router = router
        self._ports = ports
        self._config = config
        self._journal = journal
        self._locks: dict[str, asyncio.Lock] = {}
        self._tasks: dict[asyncio.Task[None], None] = {}
        self.plugged: dict[str, int] = {}
        """Container to the process whose network namespace was plugged last."""

    def lock(self, container: str) -> asyncio.Lock:
        """The lock that serialises all operations on one container."""
        return self._locks.setdefault(container, asyncio.Lock())

    def drop_lock(self, container: str) -> None:
        """Forget the lock of a container that is no longer known."""
        if self._journal.get(container) is None:
            self._locks.pop(container, None)

    async def book(
        self, info: Container, addresses: Sequence[str], dns: bool | None = None, **fields: Any
    ) -> Attachment:
        """Book these addresses in addition to those that the container has already (`DEFAULT` if none is given).

        `fields` are set in the record; `dns=None` keeps the old value.
        """
        room = self._router.disk.check_room()
        if room:
            raise EnvironmentProblem(room)
        stored = self._journal.get(info.id)
        before = stored or Attachment(container=info.id)
        dns = before.with_dns if dns is None else dns
        specs = tuple(addresses)
        intent = replace(before, name=info.name, labels=info.labels, wanted=specs, with_dns=dns, **fields)
        self._journal.put(intent)
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
            if stored is not None:
                self._journal.put(stored)
            else:
                self._journal.drop(info.id)
            raise
        held = tuple(dict.fromkeys((*before.addresses, *booked)))
        names = before.names + tuple(Name(self.fqdn(info), cidr.partition("/")[0]) for cidr in booked if dns)
        return self._journal.update(intent, wanted=(), addresses=held, names=tuple(dict.fromkeys(names)))

    def meant(self, record: Attachment | None, addresses: Sequence[str]) -> tuple[str, ...]:
        """The container's addresses that these specifications select (none: all); others are ignored."""
        held = record.addresses if record is not None else ()
        if not addresses:
            return held
        default = self._config.default_subnet or self._config.iprange
        meant = [cidr for text in addresses for cidr in matching(parse_address(text), held, default)]
        return tuple(dict.fromkeys(meant))

    def asked_for(self, record: Attachment, addresses: Sequence[str]) -> tuple[str, ...]:
        """One address for each of these specifications, whether it is new or was there before."""
        default = self._config.default_subnet or self._config.iprange
        found: dict[str, None] = {}
        for text in addresses:
            spec = parse_address(text)
            length = spec.kind == "allocate" and (spec.value or default).partition("/")[2]
            held = [cidr for cidr in record.addresses if not length or cidr.partition("/")[2] == length]
            found.update(dict.fromkeys(matching(spec, held, default)[:1]))
        return tuple(found)

    async def unbook(self, record: Attachment, keep: tuple[str, ...]) -> None:
        """Release all addresses except `keep`, with their names, and update the record."""
        literals = [cidr.partition("/")[0] for cidr in keep]
        names = tuple(name for name in record.names if name.address in literals)
        for name in record.names:
            if name not in names:
                self._router.feed(i.UnregisterName(record.label, name.fqdn, name.address))
        if not keep:
            self._router.feed(i.Detached(record.label))
            await self._router.ask(partial(_release, record.container, ""))
            self._journal.drop(record.container)
            return
        for cidr in record.addresses:
            if cidr not in keep:
                await self._router.ask(partial(_release, record.container, cidr.partition("/")[0]))
        self._journal.put(replace(record, addresses=keep, names=names, wanted=()))

    async def keep_if_ours(self, record: Attachment) -> Attachment | None:
        """Claim the record's addresses again. An address that belongs to another owner by now is lost, and logged."""
        kept = []
        for cidr in record.addresses:
            try:
                await self._router.ask(partial(_claim, record.container, cidr), timeout=GRACE)
                kept.append(cidr)
            except TimeoutError:
                kept.append(cidr)  # the node cannot answer yet; trust the record on disk
            except UsageError as error:
                log.error("container %.12s loses %s: %s", record.container, cidr, error)
        if tuple(kept) != record.addresses:
            await self.unbook(record, keep=tuple(kept))
        return self._journal.get(record.container)

    async def claim_again(self, record: Attachment) -> None:
        """Claim the record's addresses, all at once, and wait for all answers; the results are ignored here.

        The claims are sent to the node before the first wait.
        """
        asked = [self._router.ask(partial(_claim, record.container, cidr)) for cidr in record.addresses]
        await asyncio.gather(*asked, return_exceptions=True)

    def plug(self, record: Attachment, info: Container) -> None:
        """Put the container on the bridge with the record's addresses. Raises `OverlayError`."""
        check_attachable(info)
        if info.labels != record.labels:  # an older version that knew no labels wrote the record
            record = self._journal.update(record, labels=info.labels)
        if record.mac:
            self._router.forwarding.now_local(record.mac, record.addresses)
            self._ports.guard(record.container, info.pid, record.mac, record.addresses, spoofing=record.spoofing)
            self.plugged[record.container] = info.pid
            self.announce(record)
            return
        mac = self.mac(record.container)
        if record.rewrite_hosts and info.hosts_path:
            hosts_file.rewrite(info.hosts_path, info.hostname, info.domainname, record.addresses)
        self._router.forwarding.now_local(mac, record.addresses)
        wanted = PortWanted(
            container=record.container,
            pid=info.pid,
            mac=mac,
            addresses=record.addresses,
            multicast=record.multicast,
            spoofing=record.spoofing,
        )
        # Policies need the container's names before its first packet. Without policies, announce only after the plug.
        early = record.container not in self.plugged and self._router.node.policies.active
        if early:
            self.announce(record)
        try:
            self._ports.plug(wanted)
        except BaseException:
            if early:
                self._router.feed(i.Detached(record.label))
            raise
        self.plugged[record.container] = info.pid
        self.announce(record)

    def unplug(self, container: str) -> None:
        """Take the container off the bridge; does nothing if it is not there."""
        self.plugged.pop(container, None)
        self._ports.unplug(container)

    def announce(self, record: Attachment) -> None:
        """Tell the node the container's addresses and names."""
        mac = record.mac or self.mac(record.container)
        names = names_of(record.name, (name.fqdn for name in record.names), self._config.dns_domain)
        self._router.feed(i.Attached(record.label, mac, record.addresses, names, record.labels))
        for name in record.names if self._config.dns else ():  # --no-dns keeps them for a later launch with DNS
            self._router.feed(i.RegisterName(record.label, name.fqdn, name.address))

    def renamed(self, record: Attachment) -> None:
        """Announce the container's new names, because policies may refer to them."""
        if self._router.node.endpoints.channel.get(self._config.name, record.label) is not None:
            self.announce(record)

    async def forget(self, record: Attachment) -> None:
        """Remove a container that was destroyed."""
        self.unplug(record.container)
        await self.unbook(record, keep=())
        self._journal.drop(record.container)
        self._locks.pop(record.container, None)

    def mac(self, owner: str) -> str:
        """The MAC of an owner's port; for this host, the MAC of the bridge."""
        return stable_mac(self._config.name, BRIDGE if owner == EXPOSED else owner)

    def fqdn(self, info: Container) -> str:
        """The DNS name of a container: its host name if it has one, else its name, in the router's domain."""
        return self.qualified(info.hostname if info.hostname and not info.id.startswith(info.hostname) else info.name)

    @property
    def domain(self) -> str:
        """The router's DNS domain."""
        return self._config.dns_domain

    def qualified(self, own: str) -> str:
        """A container's own name in the router's domain."""
        bare, domain = own.rstrip("."), self._config.dns_domain
        return f"{bare}." if bare.lower().endswith(f".{domain.rstrip('.').lower()}") else f"{bare}.{domain}"

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run in the background; exceptions are logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._done)

    async def end(self) -> None:
        """Cancel all background work."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, (OSError, OverlayError)):
            log.error("container work failed: %s", error)  # a fault of this machine or the engine: one line is enough
        elif error is not None:
            log.error("container work failed", exc_info=error)

    def _release(self, container: str, cidr: str) -> None:
        self.spawn(self._ask_and_forget(partial(_release, container, cidr.partition("/")[0])))

    async def _ask_and_forget(self, make: Callable[[int], i.Input]) -> None:
        try:
            await self._router.ask(make, timeout=GRACE)
        except (OverlayError, TimeoutError) as error:
            log.warning("release: %s", error)


def check_attachable(info: Container) -> None:
    """Raises `UsageError` for a container that cannot have its own interface now."""
    if not info.running:
        raise UsageError(f"container {info.name or info.id[:12]} is not running")
    if info.network_mode == "host":
        raise UsageError(f"container {info.name or info.id[:12]} uses the host's network: it cannot be attached")


def _claim(container: str, address: str, request: int) -> i.Input:
    return i.Claim(request, container, address)


def _allocate(container: str, subnet: str, request: int) -> i.Input:
    return i.Allocate(request, container, subnet)


def _release(container: str, address: str, request: int) -> i.Input:
    return i.Release(request, container, address)

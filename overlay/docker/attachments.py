"""One container's place on the overlay: addresses booked, interface plugged, endpoint and names announced, and undone.

Owns the order of these steps, each under the container's lock, and the record of them in the journal. Who asks for
them, and when, is decided in `containers` (requests) and `lives` (the engine's events).
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
"""What no address means wherever addresses are given."""


class Attachments:
    """What can be done to one container's record; callers hold its `lock`."""

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
        """What serialises everything that is done to one container."""
        return self._locks.setdefault(container, asyncio.Lock())

    def drop_lock(self, container: str) -> None:
        """Nothing is known of this container: keep nothing of it."""
        if self._journal.get(container) is None:
            self._locks.pop(container, None)

    async def book(
        self, info: Container, addresses: Sequence[str], dns: bool | None = None, **fields: Any
    ) -> Attachment:
        """Book what is asked for, besides what the container has already; `DEFAULT` where nobody said anything.

        `fields` are set in the record; `dns=None` leaves that as it was.
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
        """Which of its addresses these words mean (none: all); those that it does not have are left out."""
        held = record.addresses if record is not None else ()
        if not addresses:
            return held
        default = self._config.default_subnet or self._config.iprange
        meant = [cidr for text in addresses for cidr in matching(parse_address(text), held, default)]
        return tuple(dict.fromkeys(meant))

    def asked_for(self, record: Attachment, addresses: Sequence[str]) -> tuple[str, ...]:
        """The addresses that these words have brought, or had before: one for each."""
        default = self._config.default_subnet or self._config.iprange
        found: dict[str, None] = {}
        for text in addresses:
            spec = parse_address(text)
            length = spec.kind == "allocate" and (spec.value or default).partition("/")[2]
            held = [cidr for cidr in record.addresses if not length or cidr.partition("/")[2] == length]
            found.update(dict.fromkeys(matching(spec, held, default)[:1]))
        return tuple(found)

    async def unbook(self, record: Attachment, keep: tuple[str, ...]) -> None:
        """Give up all addresses but `keep`, with their names; the record says so afterwards."""
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
        """Claim again what the record says; what belongs to somebody else by now is lost, and said so."""
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
            await self.unbook(record, keep=tuple(kept))
        return self._journal.get(record.container)

    async def claim_again(self, record: Attachment) -> None:
        """Claim what the record says, all at once, until there is an answer to each; who gets what is no matter here.

        The claims are put to the node before the first wait.
        """
        asked = [self._router.ask(partial(_claim, record.container, cidr)) for cidr in record.addresses]
        await asyncio.gather(*asked, return_exceptions=True)

    def plug(self, record: Attachment, info: Container) -> None:
        """Put the container on the bridge with the record's addresses. Raises `OverlayError`."""
        check_attachable(info)
        if info.labels != record.labels:  # written by a version that knew of none
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
        # Policies have to know what it is called before its first packet; without any, nothing is said too soon.
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
        """Take the container off the bridge; fine if it is not there."""
        self.plugged.pop(container, None)
        self._ports.unplug(container)

    def announce(self, record: Attachment) -> None:
        """Tell the node where this container is and what it is called."""
        mac = record.mac or self.mac(record.container)
        names = names_of(record.name, (name.fqdn for name in record.names), self._config.dns_domain)
        self._router.feed(i.Attached(record.label, mac, record.addresses, names, record.labels))
        for name in record.names if self._config.dns else ():  # with --no-dns they are kept for a life with DNS
            self._router.feed(i.RegisterName(record.label, name.fqdn, name.address))

    def renamed(self, record: Attachment) -> None:
        """Its names are other ones now: policies may mean it by them."""
        if self._router.node.endpoints.channel.get(self._config.name, record.label) is not None:
            self.announce(record)

    async def forget(self, record: Attachment) -> None:
        """The container is gone for good."""
        self.unplug(record.container)
        await self.unbook(record, keep=())
        self._journal.drop(record.container)
        self._locks.pop(record.container, None)

    def mac(self, owner: str) -> str:
        """The MAC of an owner's port; this host's own is the bridge itself."""
        return stable_mac(self._config.name, BRIDGE if owner == EXPOSED else owner)

    def fqdn(self, info: Container) -> str:
        """The DNS name of a container: its host name if it was given one, else its name, under the router's domain."""
        return self.qualified(info.hostname if info.hostname and not info.id.startswith(info.hostname) else info.name)

    @property
    def domain(self) -> str:
        """The router's."""
        return self._config.dns_domain

    def qualified(self, own: str) -> str:
        """A container's word for itself under the router's domain."""
        bare, domain = own.rstrip("."), self._config.dns_domain
        return f"{bare}." if bare.lower().endswith(f".{domain.rstrip('.').lower()}") else f"{bare}.{domain}"

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run in the background; faults are logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._done)

    async def end(self) -> None:
        """Stop everything that runs in the background."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, (OSError, OverlayError)):
            log.error("container work failed: %s", error)  # this machine's fault or the engine's: a sentence will do
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
    """Raises `UsageError` for a container that cannot have an interface of its own now."""
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

"""The Docker network plugin: the same overlay as a network driver and an IPAM driver, on the engine's plugin socket.

Owns the socket, and what is done about each request: addresses booked with the node, a veth pair for each endpoint, its
announcement, and its names once the engine says whose it is. Requests and answers as data are `overlay.plugin`.
An endpoint stands in the journal as a container of its own, so that a restarted daemon announces it again.
"""

import logging
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
from aiohttp import web

from overlay import inputs as i
from overlay.config import Config
from overlay.drivers.attach import Endpoints
from overlay.drivers.bookings import Bookings
from overlay.drivers.engine import Container
from overlay.drivers.http_listener import make_runner, sentence
from overlay.drivers.journal import Attachment, Journal, Name
from overlay.drivers.loop import Router
from overlay.errors import EnvironmentProblem, OverlayError, UsageError
from overlay.ipam.universe import Universe
from overlay.plugin import requests as r

__all__ = ["DEFAULT_SOCKET", "Plugin"]

log = logging.getLogger(__name__)

DEFAULT_SOCKET = "/run/docker/plugins/weave.sock"
"""Where the engine looks for a driver named `weave`."""
_KIND = "application/vnd.docker.plugins.v1.2+json"
_PATIENCE = 20.0
"""Seconds for the node to answer; the engine itself waits for 30."""

Json = dict[str, Any]
Handler = Callable[[Json], Awaitable[Json]]


class Plugin:
    """The drivers named `weave` of this host's engine."""

    def __init__(self, router: Router, bookings: Bookings, ports: Endpoints, config: Config, journal: Journal) -> None:
        self._router = router
        self._bookings = bookings
        self._ports = ports
        self._config = config
        self._journal = journal
        self._given: dict[str, None] = {}
        """Owners of addresses that were given out in this life, and may have no endpoint yet."""
        self._handlers: dict[str, Handler] = {
            "/Plugin.Activate": _always(r.ACTIVATE),
            "/NetworkDriver.GetCapabilities": _always(r.CAPABILITIES),
            "/NetworkDriver.CreateNetwork": self._create_network,
            "/NetworkDriver.DeleteNetwork": self._delete_network,
            "/NetworkDriver.CreateEndpoint": self._create_endpoint,
            "/NetworkDriver.DeleteEndpoint": self._delete_endpoint,
            "/NetworkDriver.EndpointOperInfo": _always({"Value": {}}),
            "/NetworkDriver.Join": self._join,
            "/NetworkDriver.Leave": _always({}),
            "/NetworkDriver.DiscoverNew": _always({}),
            "/NetworkDriver.DiscoverDelete": _always({}),
            "/NetworkDriver.ProgramExternalConnectivity": _always({}),
            "/NetworkDriver.RevokeExternalConnectivity": _always({}),
            "/IpamDriver.GetCapabilities": _always(r.IPAM_CAPABILITIES),
            "/IpamDriver.GetDefaultAddressSpaces": _always(
                {"LocalDefaultAddressSpace": r.ADDRESS_SPACE, "GlobalDefaultAddressSpace": r.ADDRESS_SPACE}
            ),
            "/IpamDriver.RequestPool": self._request_pool,
            "/IpamDriver.ReleasePool": _always({}),
            "/IpamDriver.RequestAddress": self._request_address,
            "/IpamDriver.ReleaseAddress": self._release_address,
        }

    async def listen(self, path: str) -> Callable[[], Awaitable[None]]:
        """Serve on a unix socket; returns how to end that. Raises `EnvironmentProblem`."""
        app = web.Application()
        for name in self._handlers:
            app.router.add_route("POST", name, self._serve)
        runner = make_runner(app)
        await runner.setup()
        try:
            await web.SockSite(runner, _bound(path)).start()
        except OSError as error:
            await runner.cleanup()
            raise EnvironmentProblem(f"cannot open the plugin's socket {path}: {error.strerror or error}") from None

        async def end() -> None:
            await runner.cleanup()
            Path(path).unlink(missing_ok=True)  # noqa: ASYNC240  # a socket's name

        return end

    async def sweep(self) -> None:
        """What an earlier life left of endpoints that the engine has removed since, or that died with the host."""
        kept = []
        for record in self._journal.all():
            if record.container.startswith(r.OWNER):
                if self._ports.alive(record.container):
                    kept += list(record.addresses)
                else:
                    await self._drop(record)
        report = self._router.node.report(self._router.clock())
        for owner, held in report["ipam"]["addresses"].items():
            unused = not any(_same(address, cidr) for address in held for cidr in kept)
            if owner.startswith(r.OWNER) and owner not in self._given and unused:
                await self._router.ask(partial(_release, owner, ""))

    def connected(self, info: Container) -> None:
        """A container was started or connected: its endpoints have its names from now on."""
        for network in info.networks:
            record = self._journal.get(r.source_name(network.endpoint))
            if record is None or not self._config.dns:
                continue
            words = [info.name, info.hostname, *network.aliases]
            own = dict.fromkeys(word for word in words if word and not info.id.startswith(word))
            names = tuple(
                Name(self._bookings.qualified(word), cidr.partition("/")[0])
                for word in own
                for cidr in record.addresses
            )
            record = self._journal.update(record, name=info.name, names=tuple(dict.fromkeys(names)))
            for name in record.names:
                self._router.feed(i.RegisterName(record.container, name.fqdn, name.address))

    # --- requests --------------------------------------------------------------------------------------------------

    async def _serve(self, request: web.Request) -> web.Response:
        """The engine shows what stands in `Err` to whoever asked it."""
        try:
            body = msgspec.json.decode(await request.read() or b"{}", type=dict[str, Any] | None) or {}
            answer = await self._handlers[request.path](body)
        except (OverlayError, OSError, msgspec.MsgspecError) as error:
            text = (sentence(error) or (500, str(error)))[1]
            log.warning("%s: %s", request.path, text)
            return web.Response(status=500, body=msgspec.json.encode({"Err": f"weave: {text}"}), content_type=_KIND)
        return web.Response(body=msgspec.json.encode(answer), headers={"Content-Type": _KIND})

    async def _create_network(self, body: Json) -> Json:
        """Only what is not usual is kept; the engine says it once, and never again."""
        if r.spoofing(body):
            self._journal.put(Attachment(container=r.network_name(str(body.get("NetworkID") or "")), spoofing=True))
        return {}

    async def _delete_network(self, body: Json) -> Json:
        self._journal.drop(r.network_name(str(body.get("NetworkID") or "")))
        return {}

    def _spoofing(self, network: str) -> bool:
        record = self._journal.get(r.network_name(network))
        return record is not None and record.spoofing

    async def _request_pool(self, body: Json) -> Json:
        pool = r.pool(body, self._config.default_subnet or self._config.iprange)
        Universe(self._config.iprange, "").subnet(pool.part or pool.subnet)  # refused now, and not at each container
        # The engine wants a gateway of every pool. Nothing goes by it: `Join` names none.
        return {"PoolID": pool.id, "Pool": pool.subnet, "Data": {"com.docker.network.gateway": pool.subnet}}

    async def _request_address(self, body: Json) -> Json:
        pool = r.pool_of(str(body.get("PoolID") or ""))
        wanted = pool.whole(str(body["Address"])) if body.get("Address") else ""
        owner = f"{r.OWNER}{uuid4().hex}"
        self._given[owner] = None
        try:
            make = partial(_claim, owner, wanted) if wanted else partial(_allocate, owner, pool.part or pool.subnet)
            answer = await self._router.ask(make, timeout=_PATIENCE)
        except BaseException:
            self._given.pop(owner, None)
            raise
        return {"Address": pool.whole(answer if isinstance(answer, str) and answer else wanted), "Data": {}}

    async def _release_address(self, body: Json) -> Json:
        address = str(body.get("Address") or "").partition("/")[0]
        for owner in self._owners(address):
            await self._router.ask(partial(_release, owner, ""), timeout=_PATIENCE)
            self._given.pop(owner, None)
        return {}

    async def _create_endpoint(self, body: Json) -> Json:
        asked = r.endpoint(body)
        owner = r.source_name(asked.id)
        try:
            await self._make_endpoint(owner, asked)
        finally:
            self._bookings.drop_lock(owner)
        return {"Interface": {} if asked.mac else {"MacAddress": self._bookings.mac(owner)}}

    async def _make_endpoint(self, owner: str, asked: r.Endpoint) -> None:
        async with self._bookings.lock(owner):
            if not self._owners(asked.address.partition("/")[0]):
                # The engine's own IPAM chose it, which knows nothing of the other hosts.
                await self._router.ask(partial(_claim, owner, asked.address), timeout=_PATIENCE)
            mac = asked.mac or self._bookings.mac(owner)
            try:
                spoofing = self._spoofing(asked.network)
                self._ports.make(owner, mac, (asked.address,), spoofing=spoofing)
                self._journal.put(Attachment(container=owner, addresses=(asked.address,), mac=mac, spoofing=spoofing))
            except OverlayError:
                await self._drop(Attachment(container=owner))
                raise

    async def _join(self, body: Json) -> Json:
        owner = r.source_name(str(body.get("EndpointID") or ""))
        record = self._journal.get(owner)
        if record is None:
            raise UsageError("there is no such endpoint")
        self._router.forwarding.now_local(record.mac, record.addresses)
        self._bookings.announce(record)
        return r.joined(self._ports.inner_name(owner), multicast=True)

    async def _delete_endpoint(self, body: Json) -> Json:
        record = self._journal.get(r.source_name(str(body.get("EndpointID") or "")))
        if record is not None:
            await self._drop(record)
        return {}

    async def _drop(self, record: Attachment) -> None:
        self._ports.remove(record.container)
        with suppress(OverlayError, TimeoutError):
            await self._bookings.unbook(record, keep=())
        self._bookings.drop_lock(record.container)

    def _owners(self, address: str) -> list[str]:
        """Who of ours holds this address: an endpoint, or nobody yet."""
        report = self._router.node.report(self._router.clock())
        return [
            owner
            for owner, held in report["ipam"]["addresses"].items()
            if owner.startswith(r.OWNER) and any(_same(entry, address) for entry in held)
        ]


def _always(answer: Json) -> Handler:
    async def handle(_body: Json) -> Json:
        return answer

    return handle


def _same(one: str, other: str) -> bool:
    return one.partition("/")[0] == other.partition("/")[0]


def _bound(path: str) -> socket.socket:
    Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    Path(path).unlink(missing_ok=True)  # the lock on the state says that nobody listens there
    before = os.umask(0o177)
    try:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        listener.bind(path)
    finally:
        os.umask(before)
    return listener


def _claim(owner: str, address: str, request: int) -> i.Input:
    return i.Claim(request, owner, address)


def _allocate(owner: str, subnet: str, request: int) -> i.Input:
    return i.Allocate(request, owner, subnet)


def _release(owner: str, address: str, request: int) -> i.Input:
    return i.Release(request, owner, address)

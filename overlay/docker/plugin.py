"""The Docker network plugin: the overlay as a network driver and an IPAM driver, on the engine's plugin socket.

Owns the socket and the handling of each request: book addresses with the node, create a veth pair for each endpoint,
announce it, and register its names once the engine has reported the container. `overlay.plugin` has requests and
answers as data. An endpoint has its own journal record, so that a restarted daemon announces it again.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
from aiohttp import web

from overlay import inputs as i
from overlay.config import Config
from overlay.docker.attachments import GRACE, Attachments, is_own
from overlay.docker.engine import EngineClient
from overlay.docker.engine_facts import Container, NetworkEndpoint
from overlay.docker.journal import Attachment, Journal, Name
from overlay.docker.sandbox import make_room, settle
from overlay.errors import EnvironmentProblem, OverlayError, UsageError
from overlay.http.listener import make_runner, sentence
from overlay.ipam.universe import Universe
from overlay.kernel.attach import EndpointPorts
from overlay.plugin import requests as r
from overlay.runtime.router import Router

__all__ = ["Plugin"]

log = logging.getLogger(__name__)

MESH = r.DRIVERS[1]
NETWORK = "weave"
"""The network that exists by default: the default subnet, and the multicast route."""
_PODMAN = (
    "--plugin has no effect: the engine is Podman, which takes no network plugins of Docker's; "
    "containers join by the proxy (`weave launch-proxy`)"
)
_KIND = "application/vnd.docker.plugins.v1.2+json"
_PATIENCE = 20.0
"""Seconds for the node to answer; the engine itself waits for 30."""

Json = dict[str, Any]
Handler = Callable[[Json], Awaitable[Json]]


class Plugin:
    """The drivers named `weave` of this host's engine."""

    def __init__(
        self,
        router: Router,
        engine: EngineClient,
        bookings: Attachments,
        ports: EndpointPorts,
        config: Config,
        journal: Journal,
    ) -> None:
        self._router = router
        self._engine = engine
        self._bookings = bookings
        self._ports = ports
        self._config = config
        self._journal = journal
        self._young: dict[str, float] = {}
        """Owners of addresses and endpoints created in this process, with the time; the engine may not know them
        yet."""
        self._sweeps_again = False
        self.problem = ""
        """Why containers cannot use the plugin; empty if they can."""
        self._handlers: dict[str, Handler] = {
            "/Plugin.Activate": _always(r.ACTIVATE),
            "/NetworkDriver.GetCapabilities": _always(r.CAPABILITIES),
            "/NetworkDriver.CreateNetwork": self._create_network,
            "/NetworkDriver.DeleteNetwork": self._delete_network,
            "/NetworkDriver.CreateEndpoint": self._create_endpoint,
            "/NetworkDriver.DeleteEndpoint": self._delete_endpoint,
            "/NetworkDriver.EndpointOperInfo": _always({"Value": {}}),
            "/NetworkDriver.Join": self._join,
            "/NetworkDriver.Leave": self._leave,
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

    async def open(self, path: str) -> Callable[[], Awaitable[None]]:
        """Serve under both driver names; returns a function that ends it. Raises `EnvironmentProblem`."""
        end = await self._listen(path)
        try:
            end_mesh = await self._listen(str(Path(path).with_name(f"{MESH}.sock")))
        except EnvironmentProblem:
            await end()
            raise

        async def end_both() -> None:
            await end()
            await end_mesh()

        return end_both

    async def engine_is_there(self) -> None:
        """Handle that the engine has come (back)."""
        try:
            self.problem = _PODMAN if await self._engine.is_podman() else ""
        except OverlayError as error:
            log.debug("what engine it is: %s", error)
        if self.problem:
            log.warning("%s", self.problem)
            return
        subnet = self._config.default_subnet or self._config.iprange
        try:
            if ":" not in subnet and await self._engine.make_network(NETWORK, MESH, subnet, {r.MULTICAST: "true"}):
                log.info("made the engine's network `%s`: %s", NETWORK, subnet)
        except OverlayError as error:
            log.warning("no network `%s`: %s", NETWORK, error)
        await self.sweep()

    async def surrender(self) -> None:
        """Remove the network that this plugin created, unless containers are on it."""
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._engine.remove_network(NETWORK, MESH)
        except (OverlayError, TimeoutError) as error:
            log.warning("the engine's network `%s` stays: %s", NETWORK, error or "no answer in time")

    async def _listen(self, path: str) -> Callable[[], Awaitable[None]]:
        """Serve on a unix socket; returns a function that ends it. Raises `EnvironmentProblem`."""
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
        """After the engine has come (back): remove endpoints that it no longer knows, because it died or could not tell
        us.

        An endpoint is alive if the engine knows it and its device exists. When the engine removes a container it moves
        the device's other end back to the host, where it would stay for ever.
        """
        records = [record.container for record in self._journal.all() if record.container.startswith(r.OWNER)]
        owners = self._addresses()
        try:
            places = await self._engine.places()
        except OverlayError as error:
            log.warning("cannot ask the engine which endpoints there are: %s", error)
            return
        now = asyncio.get_running_loop().time()
        self._young = {owner: since for owner, since in self._young.items() if now - since < GRACE}
        kept = dict.fromkeys(places.addresses)
        for owner in records:
            record = self._journal.get(owner)
            if record is None:
                continue
            known = owner.removeprefix(r.OWNER) in places.endpoints
            if (known and self._ports.alive(owner)) or owner in self._young:
                kept |= dict.fromkeys(cidr.partition("/")[0] for cidr in record.addresses)
                continue
            log.info("endpoint %s of %.12s is gone: %s freed", owner, record.shown, " ".join(record.addresses))
            await self._drop(record)
        for id, options in places.options.items():
            self._keep_settings(id, options)
        for id, place in places.endpoints.items():
            await self._adopt(r.source_name(id), place)
        for owner, held in owners.items():
            unused = not any(address.partition("/")[0] in kept for address in held)
            if unused and owner not in self._young and self._journal.get(owner) is None:
                await self._router.ask(partial(_release, owner, ""))
        if self._young and not self._sweeps_again:
            self._sweeps_again = True
            self._bookings.spawn(self._sweep_again())

    async def _sweep_again(self) -> None:
        await asyncio.sleep(GRACE)
        self._sweeps_again = False
        await self.sweep()

    async def _adopt(self, owner: str, place: NetworkEndpoint) -> None:
        """Adopt an endpoint that has a port on the bridge but is not on disk, because the disk was lost."""
        if not (place.address and place.mac) or self._journal.get(owner) is not None or not self._ports.alive(owner):
            return
        log.warning("container %.12s is on the bridge with %s but not on disk: adopted", place.container, place.address)
        spoofing = self._settings(place.network).spoofing
        record = Attachment(
            container=owner, addresses=(place.address,), mac=place.mac, spoofing=spoofing, multicast=False
        )
        self._journal.put(record)
        self._ports.keep(owner, record.mac, record.addresses, spoofing=spoofing)
        left = await self._bookings.keep_if_ours(record)
        if left is not None and left.addresses:
            self._bookings.announce(left)
            if place.container:
                self.connected(await self._engine.inspect(place.container))

    def connected(self, info: Container) -> None:
        """A container was started or connected: announce its endpoints with the container and its names from now on."""
        for network in info.networks:
            record = self._journal.get(r.source_name(network.endpoint))
            if record is None:
                continue
            words = [info.name, info.hostname, *network.aliases] if self._config.dns else []
            own = dict.fromkeys(word for word in words if word and not info.id.startswith(word))
            names = tuple(
                Name(self._bookings.qualified(word), cidr.partition("/")[0])
                for word in own
                for cidr in record.addresses
            )
            before = record.label
            record = self._journal.update(
                record, name=info.name, holder=info.id, names=tuple(dict.fromkeys(names)), labels=info.labels
            )
            if record.label != before:
                self._router.feed(i.Detached(before))
            self._bookings.announce(record)

    # --- requests --------------------------------------------------------------------------------------------------

    async def _serve(self, request: web.Request) -> web.Response:
        """Answer a request; the engine shows the text in `Err` to its client."""
        try:
            body = msgspec.json.decode(await request.read() or b"{}", type=dict[str, Any] | None) or {}
            answer = await self._handlers[request.path](body)
        except (OverlayError, OSError, msgspec.MsgspecError) as error:
            text = (sentence(error) or (500, str(error)))[1]
            log.warning("%s: %s", request.path, text)
            return web.Response(status=500, body=msgspec.json.encode({"Err": f"weave: {text}"}), content_type=_KIND)
        return web.Response(body=msgspec.json.encode(answer), headers={"Content-Type": _KIND})

    async def _create_network(self, body: Json) -> Json:
        asked = r.settings(body)
        self._put_settings(str(body.get("NetworkID") or ""), asked)
        return {}

    def _put_settings(self, network: str, asked: r.Settings) -> None:
        """Record non-default settings: the engine sends them once, and cannot be asked while a container starts."""
        name = r.network_name(network)
        if asked != r.Settings() and self._journal.get(name) is None:
            self._journal.put(Attachment(container=name, spoofing=asked.spoofing, multicast=asked.multicast))

    def _keep_settings(self, network: str, options: Json) -> None:
        """Record the settings of an existing network again, because the disk may have been lost. Other drivers have no
        such options."""
        try:
            self._put_settings(network, r.settings_of(options))
        except UsageError as error:
            log.warning("network %.12s: %s", network, error)

    async def _delete_network(self, body: Json) -> Json:
        self._journal.drop(r.network_name(str(body.get("NetworkID") or "")))
        return {}

    def _settings(self, network: str) -> r.Settings:
        record = self._journal.get(r.network_name(network))
        return r.Settings(record.spoofing, record.multicast) if record is not None else r.Settings()

    async def _request_pool(self, body: Json) -> Json:
        pool = r.pool(body, self._config.default_subnet or self._config.iprange)
        Universe(self._config.iprange, "").subnet(pool.part or pool.subnet)  # fail now, not at each container
        # The engine requires a gateway for every pool. It is not used: `Join` names none.
        return {"PoolID": pool.id, "Pool": pool.subnet, "Data": {"com.docker.network.gateway": pool.subnet}}

    async def _request_address(self, body: Json) -> Json:
        pool = r.pool_of(str(body.get("PoolID") or ""))
        wanted = pool.whole(str(body["Address"])) if body.get("Address") else ""
        if wanted:
            await self._make_way(wanted.partition("/")[0])
        owner = f"{r.OWNER}{uuid4().hex}"
        self._began(owner)
        try:
            make = partial(_claim, owner, wanted) if wanted else partial(_allocate, owner, pool.part or pool.subnet)
            answer = await self._router.ask(make, timeout=_PATIENCE)
        except BaseException:
            self._young.pop(owner, None)
            raise
        return {"Address": pool.whole(answer if isinstance(answer, str) and answer else wanted), "Data": {}}

    async def _make_way(self, address: str) -> None:
        """Before the engine claims an address: release it if the endpoint that has it died unnoticed with the host.

        At boot the claim may come before `sweep` has compared the endpoints.
        """
        holders = [
            record
            for record in self._journal.all()
            if record.container.startswith(r.OWNER) and any(_same(cidr, address) for cidr in record.addresses)
        ]
        if not holders or any(one.container in self._young or self._ports.alive(one.container) for one in holders):
            return
        for record in holders:
            log.info("endpoint %s of %.12s is gone: %s is claimed again", record.container, record.shown, address)
            await self._drop(record)
        for owner in self._owners(address):
            if owner not in self._young:
                await self._router.ask(partial(_release, owner, ""), timeout=_PATIENCE)

    async def _release_address(self, body: Json) -> Json:
        address = str(body.get("Address") or "").partition("/")[0]
        for owner in self._owners(address):
            await self._router.ask(partial(_release, owner, ""), timeout=_PATIENCE)
            self._young.pop(owner, None)
        return {}

    async def _create_endpoint(self, body: Json) -> Json:
        asked = r.endpoint(body)
        owner = r.source_name(asked.id)
        self._began(owner)
        try:
            await self._make_endpoint(owner, asked)
        except BaseException:
            self._young.pop(owner, None)
            raise
        finally:
            self._bookings.drop_lock(owner)
        return {"Interface": {} if asked.mac else {"MacAddress": self._bookings.mac(owner)}}

    async def _make_endpoint(self, owner: str, asked: r.Endpoint) -> None:
        async with self._bookings.lock(owner):
            if not self._owners(asked.address.partition("/")[0]):
                # The engine's own IPAM chose it, and does not know the other hosts.
                await self._router.ask(partial(_claim, owner, asked.address), timeout=_PATIENCE)
            mac = asked.mac or self._bookings.mac(owner)
            try:
                spoofing = self._settings(asked.network).spoofing
                record = Attachment(
                    container=owner, addresses=(asked.address,), mac=mac, spoofing=spoofing, multicast=False
                )
                self._journal.put(record)
                self._ports.make(owner, mac, (asked.address,), spoofing=spoofing)
            except OverlayError:
                await self._drop(Attachment(container=owner))
                raise

    async def _join(self, body: Json) -> Json:
        owner = r.source_name(str(body.get("EndpointID") or ""))
        record = self._journal.get(owner)
        if record is None:
            raise UsageError("there is no such endpoint")
        key = str(body.get("SandboxKey") or "")
        others = self._within(key, owner)
        subnet = IPv4Interface(record.addresses[0]).network
        there = make_room(key, subnet, [subnet, *_subnets(others)], self._name_of) if key else False
        wanted = self._settings(str(body.get("NetworkID") or "")).multicast
        multicast = wanted and not there and not any(other.multicast for other in others)
        record = self._journal.update(record, sandbox=key, multicast=multicast)
        self._router.forwarding.now_local(record.mac, record.addresses)
        self._bookings.announce(record)
        return r.joined(self._ports.inner_name(owner), multicast=multicast)

    def _name_of(self, cidr: str) -> str:
        """The name of the container with this address that is attached outside of the engine's networks."""
        records = (each for each in self._journal.all() if cidr in each.addresses and not is_own(each.container))
        return next((each.name or each.container[:12] for each in records), "CONTAINER")

    async def _leave(self, body: Json) -> Json:
        record = self._journal.get(r.source_name(str(body.get("EndpointID") or "")))
        if record is not None:
            self._left(self._journal.update(record, sandbox="", multicast=False), record.sandbox)
        return {}

    def _left(self, record: Attachment, key: str) -> None:
        """Restore the route of the container's `ethwe`, if there is one, to the endpoint's subnet."""
        if not key:
            return
        try:
            settle(key, _subnets(self._within(key, record.container)))
        except (OverlayError, OSError) as error:
            log.warning("routes of container %.12s: %s", record.shown, error)

    def _within(self, key: str, but: str) -> list[Attachment]:
        """The other endpoints in the same container."""
        return [each for each in self._journal.all() if key and each.sandbox == key and each.container != but]

    def _began(self, owner: str) -> None:
        self._young[owner] = asyncio.get_running_loop().time()

    async def _delete_endpoint(self, body: Json) -> Json:
        record = self._journal.get(r.source_name(str(body.get("EndpointID") or "")))
        if record is not None:
            await self._drop(record)
        return {}

    async def _drop(self, record: Attachment) -> None:
        self._ports.remove(record.container)
        try:
            await self._bookings.unbook(record, keep=())
        except (OverlayError, TimeoutError) as error:
            log.warning("endpoint %s of %.12s: %s", record.container, record.shown, error or "no answer in time")
            self._journal.drop(record.container)
        self._bookings.drop_lock(record.container)
        self._young.pop(record.container, None)
        self._left(record, record.sandbox)

    def _owners(self, address: str) -> list[str]:
        """The owners of the plugin that have this address: endpoints, or addresses without an endpoint yet."""
        return [owner for owner, held in self._addresses().items() if any(_same(each, address) for each in held)]

    def _addresses(self) -> dict[str, list[str]]:
        """The plugin's booked addresses, by owner."""
        report = self._router.node.report(self._router.clock())
        return {owner: held for owner, held in report["ipam"]["addresses"].items() if owner.startswith(r.OWNER)}


def _subnets(records: Iterable[Attachment]) -> list[IPv4Network]:
    return [IPv4Interface(cidr).network for record in records for cidr in record.addresses]


def _always(answer: Json) -> Handler:
    async def handle(_body: Json) -> Json:
        return answer

    return handle


def _same(one: str, other: str) -> bool:
    return one.partition("/")[0] == other.partition("/")[0]


def _bound(path: str) -> socket.socket:
    Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    Path(path).unlink(missing_ok=True)  # we hold the state lock, so nobody listens there
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

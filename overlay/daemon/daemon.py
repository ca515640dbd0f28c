"""The daemon: builds the drivers around one node, and closes them again.

Owns the order of start and stop. `process` runs it as a separate process.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from random import Random
from typing import Any

from aiohttp import web
from msgspec.structs import replace

from overlay import __version__
from overlay import inputs as i
from overlay.addresses import sized
from overlay.config import Config
from overlay.crypto.pake import RealCrypto
from overlay.daemon import identity
from overlay.daemon.audited_host import AuditedHost
from overlay.daemon.control.parts import Parts
from overlay.daemon.control.server import application
from overlay.daemon.control.watching import Watchers
from overlay.daemon.router import DaemonRouter
from overlay.datapath.port_rules import PortRule
from overlay.datapath.vxlan import BRIDGE, stable_mac, vxlan_plan
from overlay.docker.containers import Containers
from overlay.docker.dns_interfaces import DnsInterfaces
from overlay.docker.engine import EngineClient, socket_path
from overlay.docker.expose import Exposure
from overlay.docker.exposed_bridge import Bridge
from overlay.docker.journal import Journal
from overlay.docker.plugin import Plugin
from overlay.env import SECOND
from overlay.errors import EnvironmentProblem, OverlayError
from overlay.http.listener import IDLE, Door, make_runner, open_token, serve_tcp
from overlay.kernel import bridge
from overlay.kernel.attach import EndpointPorts, Ports, port_name, port_rule
from overlay.kernel.audit import Audit
from overlay.kernel.forwarding import Forwarding
from overlay.kernel.host_addresses import HostAddresses
from overlay.kernel.host_files import host_socket
from overlay.kernel.kernel_tables import ports_of
from overlay.kernel.netlink import Netlink
from overlay.kernel.policy_filter import PolicyFilter
from overlay.kernel.port_filter import PortFilter
from overlay.kernel.vxlan_filter import VxlanFilter
from overlay.kernel.wireguard import WireGuard, open_wireguard
from overlay.mesh import launches
from overlay.mesh.trust import Trust
from overlay.node import Node
from overlay.options import DEFAULT_PLUGIN, DaemonPaths, LaunchOptions
from overlay.proxy.process import running
from overlay.runtime.disk import Disk
from overlay.runtime.disturbance import VARIABLE, Disturbance, DisturbedDisk
from overlay.runtime.dns_server import DnsServer, lookup
from overlay.runtime.in_container import prepare
from overlay.runtime.process import hide, hold, spawn
from overlay.runtime.rate_limited_log import RateLimitedLog
from overlay.runtime.scheduling import shorten_slices
from overlay.runtime.sleeve import Sleeve
from overlay.runtime.tcp import TcpDriver
from overlay.runtime.udp import UdpDriver

__all__ = ["Daemon", "hold_daemon", "run_daemon", "spawn_daemon"]

log = logging.getLogger(__name__)

LEAVE_TIMEOUT = 5.0
RESTART = signal.SIGUSR1
"""Signal that ends a daemon without a farewell, as `weave stop --for-restart` does."""
_ENGINE_PATIENCE = 5.0
"""Seconds to wait for this host's address from the engine; after that the router starts without it."""


class Daemon:
    """One router on this host, from taking its lock to its farewell. `serve` runs until the daemon is told to stop."""

    def __init__(self, options: LaunchOptions, places: DaemonPaths, environment: Mapping[str, str]) -> None:
        self._options = options
        self._places = places
        self._environment = environment
        self._stop = asyncio.Event()
        self._left = asyncio.Event()
        self._surrender = self._restart = False
        self._plugin: Plugin | None = None
        self._stack = contextlib.AsyncExitStack()
        self._dns_problem = ""
        self._wireguard_problem = ""

    async def serve(self, ready: Any) -> None:
        """Start everything, call `ready()`, and run until a signal or `POST /leave`. Raises `OverlayError`."""
        loop = asyncio.get_running_loop()
        async with self._stack:
            await self._start()
            # A router in a container also ends with the engine; that does not mean this peer leaves, so no farewell.
            for number in () if self._options.in_container else (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._stop.set)
            loop.add_signal_handler(RESTART, self._end_for_restart)
            # Objects that exist now live until the daemon ends, so the garbage collector never needs to scan them.
            gc.collect()
            gc.freeze()
            shorten_slices()  # an answer, of names for instance, takes less than its asker would wait for a processor
            ready()
            await self._stop.wait()
            await self._farewell()

    async def _start(self) -> None:
        options, places, stack = self._options, self._places, self._stack
        disturbance = Disturbance.named(self._environment)
        if disturbance is not None:
            log.warning("a lab may disturb this router's clock and disk by %s (%s)", disturbance.path, VARIABLE)
        disk = Disk(places.db) if disturbance is None else DisturbedDisk(places.db, disturbance)
        stack.callback(disk.close)
        files = disk.load()
        netlink = self._netlink = Netlink()
        stack.callback(netlink.close)
        name = identity.peer_name(disk, files, options.name, bridge.maker(netlink))
        journal = Journal(disk, Journal.stored(files))
        config = options.config(name, identity.default_nickname())
        self._peers = config.peers
        begun = launches.begin(files, config.peers, options.resume)

        plan = vxlan_plan(config, bridge.underlay_mtu(netlink))
        devices = bridge.ensure(netlink, plan)
        guard = VxlanFilter(plan.port, (BRIDGE, self._engine_bridge))
        stack.callback(guard.close)
        ports = self._ports = PortFilter()
        stack.callback(ports.close)
        policy = PolicyFilter(
            lambda: dict.fromkeys((*ports.rules, *ports_of(netlink, BRIDGE))),
            lambda: _own_addresses(ports, audited.exposed()),
        )
        stack.callback(policy.close)
        ports.on_port = policy.add
        rules = {**_stored_rules(journal, config.name), **ports.adopt()}
        ports.install({port: rule for port, rule in rules.items() if netlink.index(port)})
        trust = Trust(config, None)
        clear = plan.open
        forwarding = Forwarding(netlink, devices, guard, clear=lambda host: not config.password or trust.trusts(host))
        try:
            guard.install(forwarding.hosts)
        except EnvironmentProblem as error:
            log.warning("%s; %s", error, "without it, nothing goes in clear" if config.password else "anybody can send")
            clear = clear and not config.password
            config = replace(config, trusted_subnets=())
        devices = forwarding.devices = bridge.switch_vxlan(netlink, devices, clear)

        config = replace(config, mtu=plan.mtu)
        wireguard, devices, self._wireguard_problem = self._open_wireguard(netlink, devices, config)
        if wireguard is not None:
            config = replace(config, tunnel_key=wireguard.public)
            forwarding.devices = devices
        boot = time.time_ns() if disturbance is None else disturbance.wall()
        node = Node(config, Random(int.from_bytes(os.urandom(16))), files, boot, RealCrypto(os.urandom))
        disk.persist(begun)  # only now, so that unreadable state is left unchanged
        router = DaemonRouter(node, disk=disk, forwarding=forwarding, disturbance=disturbance)
        router.wireguard = wireguard
        stack.callback(router.stop)
        complaints = RateLimitedLog()
        router.tcp = TcpDriver(config.port, router.feed, complaints, options.host)
        router.udp = UdpDriver(config.port, router.feed, complaints, options.host)
        engine_socket = options.docker_api or socket_path(self._environment)
        engine = EngineClient(engine_socket, host_socket(engine_socket))
        stack.push_async_callback(engine.close)
        router.policy = policy
        policy.on_change = lambda state, problem: router.feed(i.PolicyEnforced("off" if problem else state, problem))
        audited = AuditedHost(netlink, plan, clear, config.name, forwarding, policy)
        filters = {
            "weave-vxlan": (guard.table, guard.restore),
            "weave-ports": (ports.table, ports.restore),
            "weave-policy": (policy.table, policy.restore),
            "weave-policy of connections": (policy.tracking, policy.restore),
        }
        audit = self._audit = Audit(netlink, plan, clear, forwarding, ports, filters, audited, router.clock)
        stack.callback(audit.close)
        containers = Containers(router, engine, Ports(netlink, audit.devices, ports), config, journal)
        stack.push_async_callback(containers.end)

        address = await self._dns_address(netlink, engine)
        doors = DnsInterfaces(netlink, (BRIDGE, self._engine_bridge), address, engine)
        await self._open_dns(router, containers, config, netlink, doors, address)
        await router.udp.listen()
        stack.callback(router.udp.close)
        self._open_sleeve(router, config)
        await router.tcp.listen()
        stack.push_async_callback(router.tcp.close)
        router.start(forwarding.flood)
        if containers.resolver:
            router.feed(i.NameServers((containers.resolver,)))
        host_port = Bridge(netlink, audit.devices, forwarding.put_neighbours)
        stack.callback(host_port.close)
        exposure = Exposure(router, containers.bookings, host_port, plan.bridge_mac, journal)
        exposure.restore()
        audited.settle(router, journal, exposure, containers.lives)

        def engine_is_there() -> None:
            containers.bookings.spawn(exposure.check_filter())
            doors.ask_engine()

        containers.lives.on_engine = engine_is_there
        self._containers = containers
        if options.plugin:
            endpoints = EndpointPorts(netlink, audit.devices, ports)
            await self._open_plugin(Plugin(router, engine, containers.bookings, endpoints, config, journal))
        containers.begin()
        if devices.adopted:
            handle = asyncio.get_running_loop().call_later(config.hold / SECOND, forwarding.drop_unconfirmed)
            stack.callback(handle.cancel)

        self._router, self._containers, self._config, self._plan = router, containers, config, plan
        self._exposure = exposure
        self._watchers = Watchers(router)
        await self._open_control(
            Parts(
                router=router,
                containers=containers,
                exposure=exposure,
                options=options,
                watchers=self._watchers,
                report=self.report,
                leave=self.leave,
                lookup=self._lookup,
                resolve=_resolve,
            )
        )
        audit.start()
        followed = HostAddresses(netlink, lambda addresses: router.feed(i.HostReaddressed(addresses)))
        followed.start()
        stack.callback(followed.close)
        log.info("router %s (%s) runs on port %d, overlay MTU %d", config.name, config.nickname, config.port, plan.mtu)

    async def _open_plugin(self, plugin: Plugin) -> None:
        path = self._environment.get("WEAVE_PLUGIN_SOCK") or DEFAULT_PLUGIN
        self._stack.push_async_callback(await plugin.open(path))
        self._plugin = plugin
        lives = self._containers.lives
        lives.on_connect = plugin.connected
        before = lives.on_engine

        def engine_is_there() -> None:
            before()
            self._containers.bookings.spawn(plugin.engine_is_there())

        lives.on_engine = engine_is_there

    def _open_wireguard(
        self, netlink: Netlink, devices: bridge.BridgeDevices, config: Config
    ) -> tuple[WireGuard | None, bridge.BridgeDevices, str]:
        """Open the encrypted fast path. Returns it, and the reason if it is missing; a program requested by name must
        exist."""
        bridge.remove_secure(netlink)
        mode = self._options.wireguard
        if not config.password:
            return None, devices, "no password"
        if mode == "off" or not config.fastdp:
            return None, devices, "switched off"
        try:
            made, devices = open_wireguard(mode, netlink, devices, config.name)
        except EnvironmentProblem as error:
            if mode != "auto":
                raise
            log.info("%s; encrypted traffic takes the userspace tunnel", error)
            return None, devices, str(error)
        return made, devices, ""

    def _open_sleeve(self, router: DaemonRouter, config: Config) -> None:
        """Open the userspace tunnel. Without it only the kernel's path works, and `status` reports that."""
        assert router.udp is not None
        node = router.node
        sleeve = Sleeve(
            config.name,
            node.tunnel,
            router.udp,
            router.forwarding,
            router.feed,
            node.endpoints.plan.holder,
            router.clock,
        )
        try:
            sleeve.start()
        except OSError as error:
            log.warning("no userspace tunnel: %s", error.strerror or error)
        self._stack.callback(sleeve.close)
        router.sleeve = sleeve

    @property
    def _engine_bridge(self) -> str:
        return self._environment.get("DOCKER_BRIDGE") or "docker0"

    async def _dns_address(self, netlink: Netlink, engine: EngineClient) -> str:
        """The address at which containers can reach DNS: the user's choice, or this host's address on the engine's
        bridge.

        Podman creates its bridge with the first container that needs it, but knows the address before. Empty: none.
        """
        found = self._options.dns_listen_address or bridge.interface_address(netlink, self._engine_bridge)
        if found or self._options.no_dns:
            return found
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ENGINE_PATIENCE):
                return await engine.gateway()
        return ""

    async def _open_dns(
        self,
        router: DaemonRouter,
        containers: Containers,
        config: Config,
        netlink: Netlink,
        doors: DnsInterfaces,
        address: str,
    ) -> None:
        """Serve DNS to containers; without the engine's bridge the router runs without DNS and reports that."""
        wanted = self._options.dns_listen_address
        device = self._engine_bridge
        dns = router.dns = DnsServer(address, router.feed, Path(self._options.resolv_conf), known=router.known_answers)
        if self._options.dns_fallback_timeout:
            dns.fallback_timeout = self._options.dns_fallback_timeout / SECOND
        if not config.dns:
            return
        if not address:
            self._dns_problem = f"not served: this host has no address on `{device}` (--dns-listen-address gives one)"
            log.warning("DNS is %s", self._dns_problem)
            return
        if wanted and not bridge.has_address(netlink, wanted):
            log.warning(
                "DNS listens on %s, which this host does not have yet (`weave expose %s` could give it)",
                wanted,
                sized(wanted, config.default_subnet or config.iprange),
            )
        await dns.listen(doors.indexes())
        self._stack.callback(dns.close)
        doors.follow(lambda: dns.sockets.restrict(doors.indexes()))
        self._stack.callback(doors.close)
        containers.resolver = address

    async def _open_control(self, parts: Parts) -> None:
        options, places = self._options, self._places
        path = places.socket
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            path.unlink(missing_ok=True)  # we hold the state lock, so nobody listens there
            before = os.umask(0o177)
            try:
                listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
                listener.bind(str(path))
            finally:
                os.umask(before)
            self._stack.callback(path.unlink, missing_ok=True)
            token = open_token(places.token) if options.http_addr else ""
            self._stack.callback(places.token.unlink, missing_ok=True)
        except OSError as error:
            raise EnvironmentProblem(f"cannot open the control socket {path}: {error.strerror or error}") from None
        self._stack.push_async_callback(parts.watchers.close)
        runner = await self._serve(application(parts), handler_cancellation=True)
        await web.SockSite(runner, listener).start()
        door = Door(names=options.allow_host, token=token, token_file=places.token, socket=path)
        await self._open_http(application(parts, door), options.http_addr)
        await self._open_http(application(parts, door, read_only=True), options.status_addr)

    async def _serve(self, app: web.Application, **how: Any) -> web.AppRunner:
        runner = make_runner(app, **how)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        return runner

    async def _open_http(self, app: web.Application, address: str) -> None:
        if not address:
            return
        host, _, port = address.rpartition(":")
        runner = await self._serve(app, handler_cancellation=True, keepalive_timeout=IDLE)
        try:
            server = await serve_tcp(runner, host.strip("[]"), int(port))
        except OSError as error:
            # `weave` itself uses the unix socket; the TCP port of the original is a convenience.
            log.warning("no HTTP on %s: %s", address, error.strerror or error)
            return
        self._stack.callback(server.close)

    # --- for the control API ---------------------------------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        """The node's report, plus the facts that only drivers know (`Service` lines of `weave status`)."""
        router = self._router
        found = dict(router.node.report(router.clock()))
        found["version"] = __version__
        found["driver"] = {
            "pid": os.getpid(),
            "mtu": self._plan.mtu,
            "bridge": self._plan.bridge,
            "device": self._plan.device,
            "remote_macs": router.forwarding.macs,
            "flood": list(router.forwarding.flood),
            "dns_address": self._containers.resolver,
            "dns_problem": self._dns_problem,
            "plugin_problem": self._plugin.problem if self._plugin is not None else "",
            "upstreams": list(router.dns.servers()) if router.dns is not None else [],
            "audit": self._audit.report(),
            "disk": router.disk.check_room(),
            "filter": self._exposure.problem,
            "ports": {
                "guarded": sum(not rule.free for rule in self._ports.rules.values()),
                "free": sum(rule.free for rule in self._ports.rules.values()),
                "problem": self._ports.problem,
            },
            "stalled": router.stalled,
            "sent_octets": router.tcp.sent_octets if router.tcp is not None else 0,
            "sleeve": router.sleeve.report() if router.sleeve is not None else {},
            "wireguard": {
                "kind": router.wireguard.kind if router.wireguard is not None else "",
                "peers": router.wireguard.peers if router.wireguard is not None else 0,
                "problem": self._wireguard_problem,
            },
            "plugin": "weave" if self._plugin is not None else "",
            "proxy": self._proxy_hosts(),
            "db": str(self._places.db),
        }
        return found

    def _proxy_hosts(self) -> list[str]:
        """The addresses of this host's proxy, which is a separate process."""
        try:
            found = running(self._places)
        except OverlayError:
            return []
        return list(found.hosts) if found is not None else []

    async def leave(self, surrender: bool, restart: bool = False) -> None:
        """End this daemon; returns when the farewell is sent, shortly before the process ends."""
        self._surrender, self._restart = surrender, restart
        if not restart:
            with contextlib.suppress(OSError, OverlayError):  # on a full disk: end as if the daemon had been killed
                self._router.disk.persist([launches.ended(self._peers)])
        self._stop.set()
        await self._left.wait()

    def _end_for_restart(self) -> None:
        self._restart = True
        self._stop.set()

    async def _lookup(self, name: str) -> tuple[str, ...]:
        assert self._router.dns is not None
        return await lookup(self._router.dns, name)

    async def _farewell(self) -> None:
        router = self._router
        await self._watchers.farewell()
        self._audit.close()
        if self._restart:
            # As after a crash, the kernels keep forwarding until the next daemon adopts the entries.
            log.info("router %s ends, to be started again", self._config.name)
            self._left.set()
            return
        if self._surrender:
            if self._plugin is not None:
                await self._plugin.surrender()
            await self._containers.surrender()
            router.surrender()
        with contextlib.suppress(TimeoutError, OverlayError):
            await router.ask(i.Leave, timeout=LEAVE_TIMEOUT)
        if router.tcp is not None:
            await router.tcp.close()
        router.forwarding.clear()
        bridge.remove_secure(self._netlink)
        if self._surrender:
            try:
                router.disk.erase()
            except OSError as error:
                log.error("the state in %s cannot be erased: %s", self._places.db, error.strerror or error)
        log.info("router %s left", self._config.name)
        self._left.set()


def _stored_rules(journal: Journal, own: str) -> dict[str, PortRule]:
    """Port rules for containers attached before, used where an earlier daemon had no filter."""
    return {
        port_name(record.container): port_rule(
            record.mac or stable_mac(own, record.container), record.addresses, record.spoofing
        )
        for record in journal.all()
        if record.addresses
    }


def _own_addresses(ports: PortFilter, exposed: tuple[str, ...]) -> frozenset[IPv4Address | IPv6Address]:
    """This host's addresses on the overlay: its containers' and its own."""
    literals = [literal for rule in ports.rules.values() for literal in rule.addresses]
    return frozenset(ip_address(each.partition("/")[0]) for each in (*literals, *exposed))


async def _resolve(host: str) -> str:
    """Resolve a host name to an address literal. Raises `EnvironmentProblem`."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: not a valid DNS label
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise EnvironmentProblem(f"`{host}` cannot be resolved: {reason}") from None
    return str(found[0][4][0])


def run_daemon(options: LaunchOptions, places: DaemonPaths, environment: Mapping[str, str], ready: Any) -> None:
    """Run a daemon in this process until it is told to stop; calls `ready()` once the daemon answers.

    Raises `OverlayError` if the daemon cannot start.
    """

    async def main() -> None:
        await Daemon(options, places, environment).serve(ready)

    try:
        import uvloop
    except ImportError:
        asyncio.run(main())
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())


def spawn_daemon(options: LaunchOptions, places: DaemonPaths, environment: Mapping[str, str]) -> None:
    """Fork a daemon and return once it answers. Raises `EnvironmentProblem` with the daemon's message if it cannot
    start."""

    def work(ready: Callable[[], None]) -> None:
        hide(options.password)
        run_daemon(options, places, environment, ready)

    spawn(work, "the router", places.log, places.pid, options.log_level)


def hold_daemon(options: LaunchOptions, places: DaemonPaths, environment: Mapping[str, str]) -> None:
    """Run the daemon in its own container; returns when the daemon ends. Raises `OverlayError`."""
    prepare(options.docker_api or socket_path(environment), places.db)
    hold(lambda ready: run_daemon(options, places, environment, ready), places.pid, options.log_level)

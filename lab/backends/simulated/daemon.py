"""The daemon of a simulated host: the real `Containers`, `Control` and `Router` around a node of the simulated world.

The counterpart of `overlay.daemon.daemon` and `overlay.daemon.router`, on the world's sockets, disk and kernel instead
of real ones. Decides nothing.
"""

import contextlib
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

from dnslib import QTYPE, DNSRecord
from msgspec.structs import replace

from lab.backends.simulated.engine import SimEngine
from lab.backends.simulated.loop import VirtualLoop
from lab.sim.kernel import BridgePort, Kernel
from lab.sim.world import Peer
from overlay import __version__
from overlay import effects as e
from overlay import inputs as i
from overlay.clean import clean
from overlay.config import Config
from overlay.crypto.secure_peer import KEY_SIZE, tunnel_address
from overlay.daemon.control.parts import Parts
from overlay.daemon.control.table import Asked, answer
from overlay.daemon.control.watching import Watchers
from overlay.datapath.port_rules import PortWanted
from overlay.datapath.vxlan import vxlan_plan
from overlay.docker.containers import EXPOSED, Containers
from overlay.docker.expose import Exposure
from overlay.docker.journal import Journal
from overlay.env import SECOND
from overlay.errors import OverlayError
from overlay.mesh import launches
from overlay.options import LaunchOptions
from overlay.runtime.dns_server import question
from overlay.runtime.node_runner import NodeRunner
from overlay.runtime.router import Router

UNDERLAY_MTU = 1500
_LEAVE_TIMEOUT = 5.0
_IDENTITY = "identity"


class _Disk:
    """A peer's disk, as the journal and the control API see it."""

    def __init__(self, peer: Peer) -> None:
        self._disk = peer.disk

    def persist(self, writes: list[tuple[str, bytes]]) -> None:
        for key, data in writes:
            self._disk.write(key, data)

    def check_room(self) -> str:
        return self._disk.full

    def erase(self) -> None:
        self._disk.erase()


class _Ports:
    """The bridge's ports, on a simulated kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def plug(self, wanted: PortWanted) -> bool:
        made = wanted.container not in self._kernel.ports
        literals = tuple(address.partition("/")[0] for address in wanted.addresses)
        self._kernel.plug(BridgePort(wanted.container, wanted.mac, literals, wanted.addresses))
        return made

    def guard(self, container: str, pid: int, mac: str, addresses: tuple[str, ...], *, spoofing: bool = False) -> None:
        pass  # no simulated engine attaches containers itself

    def unplug(self, container: str) -> None:
        self._kernel.unplug(container)

    def held(self, container: str, pid: int) -> tuple[str, ...]:
        port = self._kernel.ports.get(container)
        return port.cidrs if port is not None else ()


class _HostPort:
    """The host's own port on the overlay, on a simulated kernel, where no packet filter can block it."""

    def __init__(self, kernel: Kernel, mac: str) -> None:
        self._kernel = kernel
        self._mac = mac

    def set_addresses(self, addresses: Sequence[str]) -> None:
        if addresses:
            literals = tuple(address.partition("/")[0] for address in addresses)
            self._kernel.plug(BridgePort(EXPOSED, self._mac, literals, tuple(addresses)))
        else:
            self._kernel.unplug(EXPOSED)

    async def let_through(self, subnets: Sequence[str], before: Sequence[str], masquerade: bool) -> None:
        pass

    def filter_changes(self) -> tuple[str, ...]:
        return ()


class SimRouter(Router):
    """One running node and the targets of its effects, in virtual time."""

    def __init__(self, peer: Peer, kernel: Kernel) -> None:
        super().__init__(disk=_Disk(peer), forwarding=kernel, clock=peer.now, wall=peer.wall)
        self.peer = peer
        self._runner: NodeRunner | None = None
        self.log: list[str] = []
        self._asked: dict[int, Callable[[bytes | None], None]] = {}
        """Who waits for the answer to a query; it gets None if the query would be forwarded."""
        self._do: dict[type[e.Effect], Callable[[Any], None]] = {
            e.Reply: lambda effect: self.runner.reply(effect),
            e.Evicted: lambda effect: self.on_evicted(effect),
            e.Log: self._note,
            e.SetForwarding: kernel.set_forwarding,
            e.RemoveForwarding: kernel.remove_forwarding,
            e.Announce: kernel.announce,
            e.SetFlood: kernel.set_flood,
            e.SetSources: kernel.set_sources,
            e.SetSecurePeers: kernel.set_secure_peers,
            e.SetPolicy: self._set_policy,
            e.DnsAnswer: self._dns_answer,
            e.DnsForward: self._dns_forward,
        }

    @property
    def runner(self) -> NodeRunner:
        """The runner of this life of the host's router, even after it has ended."""
        if self._runner is None:
            self._runner = self.peer.runner
        assert self._runner is not None, "the daemon has not started"
        return self._runner

    def run(self, config: Config, adopted: tuple[str, ...]) -> None:
        """Start the node. `adopted`: see `Node.start`."""
        self.peer.sink = self._effect
        self.peer.start(config, adopted)

    def look_up(self, payload: bytes, done: Callable[[bytes | None], None]) -> None:
        """Give `done` the answer to a DNS query; None: it would be forwarded to name servers, and there are none. It is
        given at once, unless something must reach the disk before."""
        number = self.runner.number()
        self._asked[number] = done
        self.feed(i.DnsQuery(number, payload, tcp=True))

    def query(self, payload: bytes) -> bytes | None:
        """The answer that is given at once."""
        answers: list[bytes | None] = []
        self.look_up(payload, answers.append)
        return answers[0] if answers else None

    def stop(self) -> None:
        """Stop answering."""
        self.peer.sink = None
        super().stop()

    def _effect(self, effect: e.Effect) -> None:
        self._do[type(effect)](effect)

    def _set_policy(self, effect: e.SetPolicy) -> None:
        self.forwarding.set_policy(effect)
        self.feed(i.PolicyEnforced("simulated" if not effect.policy.empty else ""))

    def _note(self, effect: e.Log) -> None:
        self.note(effect.level, effect.text)

    def note(self, level: str, text: str) -> None:
        """One line for the log."""
        self.log.append(f"{self.peer.world.now / SECOND:.3f} {level.upper():7} {clean(text)}")

    def _dns_answer(self, effect: e.DnsAnswer) -> None:
        self._asked.pop(effect.query)(effect.payload)

    def _dns_forward(self, effect: e.DnsForward) -> None:
        self._asked.pop(effect.query)(None)


class SimDaemon:
    """One life of a host's router."""

    def __init__(
        self, peer: Peer, kernel: Kernel, engine: SimEngine, options: LaunchOptions, loop: VirtualLoop
    ) -> None:
        self.peer = peer
        self.options = options
        self.router = SimRouter(peer, kernel)
        self._kernel = kernel
        self._loop = loop
        files = dict(peer.disk.stored)
        name = options.name or files.get(_IDENTITY, b"").decode() or self._new_name()
        peer.disk.write(_IDENTITY, name.encode())
        journal = Journal(self.router.disk, Journal.stored(files))
        config = options.config(name, peer.name)
        self.router.disk.persist(launches.begin(files, config.peers, options.resume))
        if config.password and config.fastdp and options.wireguard != "off":
            key = blake2b(f"{peer.world.seed} {name} {peer.life}".encode(), digest_size=KEY_SIZE).digest()
            config = replace(config, tunnel_key=key)
        self.config = config
        self._plan = vxlan_plan(self.config, UNDERLAY_MTU)
        kernel.mtu = self._plan.mtu
        self.containers = Containers(self.router, engine, _Ports(kernel), self.config, journal)
        if self.config.dns:
            self.containers.resolver = str(engine.bridge.ip)
        self._exposure = Exposure(
            self.router,
            self.containers.bookings,
            _HostPort(kernel, self._plan.bridge_mac),
            self._plan.bridge_mac,
            journal,
        )
        self._parts = Parts(
            router=self.router,
            containers=self.containers,
            exposure=self._exposure,
            options=options,
            watchers=Watchers(self.router),
            report=self.report,
            leave=self.leave,
            lookup=self.lookup,
            resolve=_literal,
        )
        self.on_end: Callable[[], None] = lambda: None
        """Called when the daemon has ended gracefully."""

    @property
    def mtu(self) -> int:
        """The MTU of the overlay."""
        return self._plan.mtu

    def start(self) -> None:
        """Run."""
        tunnelled = bool(self.config.tunnel_key)
        self._kernel.adopt(tunnel_address(self.config.name) if tunnelled else "", self.config.tunnel_key)
        if self._kernel.remote:
            self.peer.world.scheduler.after(self.config.hold, self._hold_is_over, self.peer.life + 1)
        self.router.run(self.config, self._kernel.flood)
        if self.containers.resolver:
            self.router.feed(i.NameServers((self.containers.resolver,)))
        self.containers.begin()
        self._exposure.restore()
        self.router.note("info", f"router {self.config.name} ({self.config.nickname}) runs on port {self.config.port}")

    async def die(self) -> None:
        """The process is gone: pending work is dropped."""
        self.router.stop()
        await self.containers.end()

    async def leave(self, surrender: bool, restart: bool = False) -> None:
        """Send a farewell, then end the process; `restart`: no farewell, and kernel forwarding stays."""
        router = self.router
        if surrender:
            await self.containers.surrender()
            router.surrender()
        if not restart:
            router.disk.persist([launches.ended(self.config.peers)])
            with contextlib.suppress(TimeoutError, OverlayError):
                await router.ask(i.Leave, timeout=_LEAVE_TIMEOUT)
            self._kernel.clear()
        if surrender:
            router.disk.erase()
        router.note("info", f"router {self.config.name} left")
        self.peer.kill()
        self.on_end()
        await self.die()

    def report(self) -> dict[str, Any]:
        """As `overlay.daemon.daemon.Daemon.report`."""
        found: dict[str, Any] = dict(self.router.node.report(self.peer.now()))
        found["driver"] = {
            "pid": 100 + self.peer.life,
            "mtu": self._plan.mtu,
            "bridge": self._plan.bridge,
            "device": self._plan.device,
            "remote_macs": self._kernel.macs,
            "flood": list(self._kernel.flood),
            "dns_address": self.containers.resolver,
            "dns_problem": "",
            "upstreams": [],
            "wireguard": {
                "kind": "kernel" if self.config.tunnel_key else "",
                "peers": len(self._kernel.secure),
                "problem": "" if self.config.tunnel_key else "switched off" if self.config.password else "no password",
            },
            "disk": self.router.disk.check_room(),
            "stalled": self.router.stalled,
            "db": "/var/lib/weave",
        }
        found["version"] = __version__
        return found

    async def lookup(self, name: str) -> tuple[str, ...]:
        """The addresses of `name` as a container of this host resolves it, sorted."""
        return tuple(sorted(self.resolve(name)))

    def resolve(self, name: str) -> list[str]:
        """The addresses of `name` in the order of the answer."""
        found: dict[str, None] = {}
        for kind in ("A", "AAAA"):
            payload = self.router.query(b"\0\0" + question(name, kind)[2:])  # random: the query's number
            for entry in DNSRecord.parse(payload).rr if payload else ():  # type: ignore[no-untyped-call]
                if entry.rtype in (QTYPE.A, QTYPE.AAAA):
                    found[str(entry.rdata)] = None
        return list(found)

    async def request(self, asked: Asked) -> tuple[int, str]:
        """One request to the control API: (status, text)."""
        return await answer(self._parts, asked)

    def _hold_is_over(self, life: int) -> None:
        if self.peer.life == life:
            self._kernel.drop_unconfirmed()

    def _new_name(self) -> str:
        seed = f"{self.peer.world.seed} {self.peer.name} {self.peer.life}"
        octets = bytearray(blake2b(seed.encode(), digest_size=6).digest())
        octets[0] = octets[0] & 0xFC | 0x02
        return octets.hex(":")


async def _literal(host: str) -> str:
    return host

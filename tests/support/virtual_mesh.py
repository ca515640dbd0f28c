"""Cores joined in virtual time, without sockets: `Mesh`es, or whole `Node`s (anything with `handle` and `deadline`).

Every host has one address. TCP is a pair of ordered byte streams through real `Session`s:
in a cut nothing passes, the sender tries again with doubling pauses (as the kernel's retransmission does), and gives
up after `TCP_TIMEOUT`. Datagrams into a cut vanish.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any

from msgspec.structs import replace
from virtual_world import VirtualHost, VirtualWorld

from overlay.config import Address, Config, PeerName
from overlay.crypto.pake import Crypto, StubCrypto
from overlay.effects import CloseTcp, Compute, Dial, Effect, Notify, Secure, SendDatagram, SendProbe, SendTcp, TellClock
from overlay.env import MILLISECOND, SECOND
from overlay.errors import RemoteError
from overlay.inputs import Computed, Datagram, DialFailed, Input, ProbeHeard, TcpClosed, TcpMessage, TcpOpened
from overlay.mesh.mesh import Mesh
from overlay.mesh.session import Session
from overlay.replicated.channel import Channel
from overlay.wire.codec import decode_datagram, encode_datagram

PORT = 6783
COMPUTING = 6 * MILLISECOND
RTO = 200 * MILLISECOND
TCP_TIMEOUT = 20 * SECOND
DIAL_TIMEOUT = 5 * SECOND


class Pipe:
    """One direction of a TCP connection: what was written, in order, and where it goes."""

    def __init__(self, source: Host, target: Host) -> None:
        self.source = source
        self.target = target
        self.chunks: list[bytes | None] = []
        """None: the end of the stream."""
        self.trying = False
        self.stuck_since: int | None = None
        self.broken = False


class Endpoint:
    """One side of a TCP connection."""

    def __init__(self, host: Host, conn: int, pipe: Pipe, local: Address, remote: Address, dialled: Address | None):
        self.host = host
        self.conn = conn
        self.pipe = pipe
        self.other: Endpoint
        self.local = local
        self.remote = remote
        self.dialled = dialled
        self.session = Session()
        self.open = True


class Host(VirtualHost):
    """A place in the network with one address."""

    def __init__(self, world: VirtualWorld, index: int) -> None:
        super().__init__(world, index)
        self.address = Address(f"10.{index >> 16 & 255}.{index >> 8 & 255}.{index & 255}", PORT)
        self.endpoints: dict[int, Endpoint] = {}


class VirtualNet(VirtualWorld):
    """Hosts 0 to `count`-1, joined pairwise by TCP and UDP."""

    def __init__(self, count: int, seed: int = 0, delay: int = MILLISECOND // 2) -> None:
        super().__init__(range(count), seed)
        self.delay = delay
        self.by_ip: dict[str, Host] = {host.address.host: host for host in self.hosts.values()}
        self.one_way: set[tuple[int, int]] = set()
        self.udp_blocked: set[tuple[int, int]] = set()
        self.vxlan_blocked: set[tuple[int, int]] = set()
        self.mtu = 1500
        """Bytes of the largest probe that passes."""
        self.sent: Counter[str] = Counter()
        """Messages by kind (the name of their struct)."""
        self.bytes = 0
        self.tap: Callable[[Endpoint, bytes], None] | None = None
        """Sees every piece of a stream that arrives."""
        self._conn = 0

    def make_host(self, index: int) -> Host:
        return Host(self, index)

    def kill(self, index: int, reset: bool = True) -> None:
        """End the core without a word; `reset`: the host's kernel resets its connections, else it is dead too."""
        super().kill(index)
        host = self.hosts[index]
        for endpoint in list(host.endpoints.values()):
            endpoint.open = False
            endpoint.pipe.broken = True
            if reset:
                self._reset(endpoint.other, host)
        host.endpoints.clear()

    def heal(self) -> None:
        super().heal()
        self.one_way = set()
        self.udp_blocked = set()

    def reach(self, source: Host, target: Host) -> bool:
        return super().reach(source, target) and (source.index, target.index) not in self.one_way

    def carry_out(self, host: Host, effect: Effect) -> None:
        """Do what a core wants."""
        match effect:
            case Dial():
                self._dial(host, effect.address)
            case SendTcp():
                endpoint = host.endpoints.get(effect.conn)
                if endpoint is not None:
                    self.sent[type(effect.message).__name__] += 1
                    self._write(endpoint, endpoint.session.encode(effect.message))
            case TellClock():
                self.carry_out(host, SendTcp(effect.conn, replace(effect.beat, clock=self.now)))
            case CloseTcp():
                endpoint = host.endpoints.pop(effect.conn, None)
                if endpoint is not None:
                    endpoint.open = False
                    self._write(endpoint, None)
            case SendDatagram():
                self.sent[type(effect.message).__name__] += 1
                self._send_datagram(host, effect)
            case Secure():
                endpoint = host.endpoints.get(effect.conn)
                if endpoint is not None:
                    endpoint.session.secure(effect.keys)
                    self.after(0, partial(self._take, endpoint))
            case Compute():
                self.after(COMPUTING, partial(self._computed, host, host.life, effect.job, effect.work()))
            case SendProbe():
                self._send_probe(host, effect)
            case _:
                super().carry_out(host, effect)

    # --- datagrams ------------------------------------------------------------------------------------------------

    def _send_datagram(self, host: Host, effect: SendDatagram) -> None:
        target = self.by_ip.get(effect.destination.host)
        data = encode_datagram(effect.message)
        if target is None or (host.index, target.index) in self.udp_blocked or not self.reach(host, target):
            return

        def arrive() -> None:
            if target.core is not None and effect.destination.port == target.address.port:
                self._handle(target, Datagram(host.address, decode_datagram(data)))

        self.after(self.delay, arrive)

    def _send_probe(self, host: Host, effect: SendProbe) -> None:
        target = self.by_ip.get(effect.address.host)
        blocked = self.vxlan_blocked if effect.fast else self.udp_blocked
        if target is None or (host.index, target.index) in blocked or not self.reach(host, target):
            return
        if effect.size > self.mtu and not effect.answer:
            return
        core: Any = host.core
        heard = ProbeHeard(core.config.name, effect.fast, effect.nonce, effect.size, effect.answer)

        def arrive() -> None:
            if target.core is not None:
                self._handle(target, heard)

        self.after(self.delay, arrive)

    # --- connections ----------------------------------------------------------------------------------------------

    def _dial(self, host: Host, address: Address) -> None:
        life, start = host.life, self.now
        target = self.by_ip.get(address.host)

        def fail(reason: str) -> None:
            if host.life == life and host.core is not None:
                self._handle(host, DialFailed(address, reason))

        def attempt(pause: int) -> None:
            if host.life != life:
                return
            if self.now - start >= DIAL_TIMEOUT:
                fail("timed out")
            elif target is None or not (self.reach(host, target) and self.reach(target, host)):
                self.after(min(pause, start + DIAL_TIMEOUT - self.now), lambda: attempt(pause * 2))
            elif target.core is None or address.port != target.address.port:
                self.after(2 * self.delay, lambda: fail("connection refused"))
            else:
                self.after(2 * self.delay, lambda: connect(target))

        def connect(target: Host) -> None:
            if host.life == life and target.core is not None:
                self._join(host, target, address)
            else:
                fail("connection reset")

        attempt(SECOND)

    def _join(self, host: Host, target: Host, dialled: Address) -> None:
        self._conn += 2
        near = Address(host.address.host, 40000 + self._conn % 20000)
        a = Endpoint(host, self._conn, Pipe(host, target), near, dialled, dialled)
        b = Endpoint(target, self._conn + 1, Pipe(target, host), dialled, near, None)
        a.other, b.other = b, a
        for endpoint in (a, b):
            endpoint.host.endpoints[endpoint.conn] = endpoint
            self._write(endpoint, endpoint.session.outgoing())

    def _write(self, endpoint: Endpoint, chunk: bytes | None) -> None:
        pipe = endpoint.pipe
        self.bytes += len(chunk or b"")
        pipe.chunks.append(chunk)
        if not pipe.trying:
            self._try(endpoint, RTO)

    def _try(self, endpoint: Endpoint, rto: int) -> None:
        pipe = endpoint.pipe
        if pipe.broken or not pipe.chunks:
            pipe.trying = False
            return
        pipe.trying = True
        if self.reach(pipe.source, pipe.target) and self.reach(pipe.target, pipe.source):
            chunks, pipe.chunks, pipe.stuck_since = pipe.chunks, [], None
            self.after(self.delay, lambda: self._arrive(endpoint, chunks))
            self.after(self.delay // 8, lambda: self._try(endpoint, RTO))
            return
        if pipe.stuck_since is None:
            pipe.stuck_since = self.now
        if self.now - pipe.stuck_since >= TCP_TIMEOUT:
            pipe.broken = True
            self._close(endpoint, "connection timed out")
            return
        self.after(rto, lambda: self._try(endpoint, rto * 2))

    def _arrive(self, sender: Endpoint, chunks: list[bytes | None]) -> None:
        receiver = sender.other
        if not receiver.open:
            # Its process is gone or has closed: the kernel answers with a reset, unless the host is dead.
            if receiver.host.core is not None:
                self._reset(sender, receiver.host)
            return
        for chunk in chunks:
            if not receiver.open:  # a chunk before may have closed it
                return  # type: ignore[unreachable]
            if chunk is None:
                self._close(receiver, "closed by the other side")
            else:
                self._receive(receiver, chunk)

    def _receive(self, receiver: Endpoint, chunk: bytes) -> None:
        if self.tap is not None:
            self.tap(receiver, chunk)
        try:
            receiver.session.feed(chunk)
        except RemoteError as error:
            self._write(receiver, None)
            self._close(receiver, str(error))
            return
        self._take(receiver)

    def _take(self, receiver: Endpoint) -> None:
        session = receiver.session
        while receiver.open:
            before = session.agreed
            try:
                message = session.take()
            except RemoteError as error:
                self._write(receiver, None)
                self._close(receiver, str(error))
                return
            if before is None and session.agreed is not None:
                dialled = receiver.dialled
                binding = session.binding(dialled is not None)
                opened = TcpOpened(receiver.conn, receiver.local, receiver.remote, dialled, binding)
                self._handle(receiver.host, opened)
            if message is None:
                return
            if receiver.open:
                self._handle(receiver.host, TcpMessage(receiver.conn, message))

    def _computed(self, host: Host, life: int, job: int, result: object) -> None:
        if host.life == life and host.core is not None:
            self._handle(host, Computed(job, result))

    def _reset(self, endpoint: Endpoint, source: Host) -> None:
        def arrive() -> None:
            if self.reach(source, endpoint.host):
                endpoint.pipe.broken = True
                self._close(endpoint, "connection reset")

        self.after(self.delay, arrive)

    def _close(self, endpoint: Endpoint, reason: str) -> None:
        if not endpoint.open:
            return
        endpoint.open = False
        host = endpoint.host
        if host.endpoints.pop(endpoint.conn, None) is None or host.core is None:
            return
        if endpoint.session.agreed is not None:
            self._handle(host, TcpClosed(endpoint.conn, reason))
        elif endpoint.dialled is not None:
            self._handle(host, DialFailed(endpoint.dialled, reason))


class VirtualMesh(VirtualNet):
    """A `VirtualNet` whose hosts run a bare `Mesh` each; `meshes[i]` is that of host i, if it runs."""

    def __init__(
        self,
        count: int,
        seed: int = 0,
        channels: Callable[[int, PeerName], Sequence[Channel]] = lambda index, name: (),
        **options: Any,
    ) -> None:
        super().__init__(count, seed)
        self.channels = channels
        self.options = options
        self.crypto: Callable[[Random], Crypto] = StubCrypto
        self.meshes: dict[int, Mesh] = {}
        self._uid = 0

    @staticmethod
    def name(index: int) -> PeerName:
        """The name of the peer that host `index` runs."""
        return f"00:00:00:00:{index >> 8:02x}:{index & 255:02x}"

    def launch(self, index: int, peers: Sequence[int] = (), uid: int | None = None, **options: Any) -> Mesh:
        """Start a peer with these hosts' addresses. Without `uid`: a higher one than any before."""
        self._uid += 1
        config = Config(
            name=options.pop("name", self.name(index)),
            nickname=f"host{index}",
            peers=tuple(self.hosts[peer].address for peer in peers),
            **{**self.options, **options},
        )
        stored: Mapping[str, bytes] = self.hosts[index].stored
        rng = Random(self.rng.getrandbits(64))
        channels = self.channels(index, config.name)
        mesh = Mesh(config, self._uid if uid is None else uid, rng, channels, stored, self.crypto(rng))
        self.meshes[index] = mesh
        self.start(index, mesh)
        if mesh.keyring is not None:
            self.do(index, mesh.keyring.start())
        return mesh

    def kill(self, index: int, reset: bool = True) -> None:
        """See `VirtualNet.kill`."""
        del self.meshes[index]
        super().kill(index, reset)

    def converged(self, *group: int) -> bool:
        """Whether these (all that run, if none is named) reach exactly each other and agree on the topology."""
        meshes = [self.meshes[index] for index in group] if group else list(self.meshes.values())
        names = tuple(sorted(mesh.config.name for mesh in meshes))
        digests = {mesh.topology_digest for mesh in meshes}
        return len(digests) == 1 and all(mesh.reachable == names and not mesh.routes.stale for mesh in meshes)

    def notified(self, index: int, kind: type[Input]) -> list[Any]:
        """The notifications of one kind that a peer's mesh has made, in order."""
        effects = self.hosts[index].effects
        return [effect.input for effect in effects if isinstance(effect, Notify) and isinstance(effect.input, kind)]

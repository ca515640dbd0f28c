"""Several `Ipam`s in a virtual world whose network loses and reorders, and whose hosts crash at any effect.

Owns delivery and what each host believes that its containers hold; the tests own what happens when, and what must hold.
Gossip is reduced to broadcasts to whoever can be reached and exchanges between pairs.
"""

from collections.abc import Callable, Iterable
from random import Random

import msgspec
from virtual_world import VirtualHost, VirtualWorld

from overlay.config import Config
from overlay.effects import Broadcast, Effect, Evicted, Log, Reply, Unicast
from overlay.env import MILLISECOND
from overlay.errors import RemoteError
from overlay.inputs import (
    Allocate,
    CancelRequest,
    Claim,
    Deliver,
    Idle,
    Input,
    PeersChanged,
    Prime,
    Release,
    RemovePeer,
)
from overlay.ipam.ipam import Ipam
from overlay.wire.ring import IpamMessage, RingDelta, RingVector

_body = msgspec.msgpack.Decoder(IpamMessage)
_delta = msgspec.msgpack.Decoder(RingDelta)
_vector = msgspec.msgpack.Decoder(RingVector)


class _Crash(Exception):
    """The daemon dies between two effects."""


class World(VirtualWorld):
    """Peers by name. `live` is {(peer, container): addresses} as the hosts were told, whatever daemons forget."""

    def __init__(self, configs: Iterable[Config], seed: int = 0) -> None:
        self.configs = {config.name: config for config in configs}
        self.names = sorted(self.configs)
        super().__init__(self.names, seed)
        self.peers: dict[str, Ipam] = {}
        self.flight: list[tuple[str, str, bytes, bool]] = []
        """Messages under way: (source, destination, MessagePack, whether it is gossip)."""
        self.crash_at: dict[str, int] = {}
        """After so many more effects that peer dies."""
        self.replies: dict[int, Reply] = {}
        self.requests: dict[int, tuple[str, Input]] = {}
        self.live: dict[tuple[str, str], dict[str, str]] = {}
        self.logs: list[tuple[str, Log]] = []
        self.evicted: list[tuple[str, Evicted]] = []
        self._seed = seed
        self._births = 0
        self._numbers = 0
        for name in self.names:
            self.launch(name)

    # --- hosts ------------------------------------------------------------------------------------------------

    def launch(self, name: str) -> None:
        """The daemon of `name` starts on what its disk holds."""
        self._births += 1
        self.crash_at.pop(name, None)
        rng = Random(self._seed * 1000 + self._births)
        self.peers[name] = Ipam(self.configs[name], rng, dict(self.hosts[name].stored))
        self.start(name, self.peers[name])
        self.notice(name)

    def crash(self, name: str) -> None:
        """The daemon of `name` dies; its containers and its disk stay."""
        if self.peers.pop(name, None) is not None:
            self.kill(name)
        self.crash_at.pop(name, None)
        for number, (peer, _) in list(self.requests.items()):
            if peer == name:
                del self.requests[number]

    def connected(self, first: str, second: str) -> bool:
        return {first, second} <= self.peers.keys() and self.reach(self.hosts[first], self.hosts[second])

    def notice(self, name: str) -> None:
        """`name` learns who can be reached. After a cut that is up to the test; after a heal everybody does."""
        self.give(name, PeersChanged(tuple(other for other in self.names if self.connected(name, other))))

    def heal(self) -> None:
        super().heal()
        for name in self.names:
            self.notice(name)

    # --- requests ---------------------------------------------------------------------------------------------

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _request(self, name: str, request: Input, number: int) -> int:
        if name in self.peers:
            self.requests[number] = (name, request)
            self.give(name, request)
        return number

    def allocate(self, name: str, container: str, subnet: str = "") -> int:
        number = self._number()
        return self._request(name, Allocate(number, container, subnet), number)

    def claim(self, name: str, container: str, address: str) -> int:
        number = self._number()
        return self._request(name, Claim(number, container, address), number)

    def stop(self, name: str, container: str) -> None:
        """The container stops, and uses no address until it asks again; its daemon hears of it."""
        self._no_longer_live(name, container)
        self.give(name, Idle(container, idle=True))

    def _no_longer_live(self, name: str, container: str) -> None:
        if name in self.peers:
            self.live.pop((name, container), None)
            for waiting, (peer, request) in list(self.requests.items()):
                if peer == name and isinstance(request, Allocate | Claim) and request.container == container:
                    del self.requests[waiting]

    def release(self, name: str, container: str) -> int:
        """The container is gone from now on, whatever becomes of the request."""
        number = self._number()
        self._no_longer_live(name, container)
        return self._request(name, Release(number, container), number)

    def prime(self, name: str) -> int:
        number = self._number()
        return self._request(name, Prime(number), number)

    def remove_peer(self, name: str, peer: str) -> int:
        number = self._number()
        return self._request(name, RemovePeer(number, peer), number)

    def cancel(self, number: int) -> None:
        name, _ = self.requests.pop(number)
        self.give(name, CancelRequest(number))

    # --- effects ----------------------------------------------------------------------------------------------

    def give(self, name: str, what: Input) -> None:
        if name in self.peers:
            self.handle(name, what)

    def act(self, host: VirtualHost, action: Callable[[], None]) -> None:
        try:
            action()
        except _Crash:
            self.crash(host.index)
        if host.index in self.peers:
            self.peers[host.index].check_invariants()

    def count(self, name: str) -> None:
        """One more effect of this peer is about to be carried out. Raises `_Crash` if it does not live so long."""
        if name in self.crash_at:
            if self.crash_at[name] == 0:
                raise _Crash
            self.crash_at[name] -= 1

    def persist(self, host: VirtualHost, key: str, data: bytes) -> None:
        self.count(host.index)
        super().persist(host, key, data)

    def carry_out(self, host: VirtualHost, effect: Effect) -> None:
        name = host.index
        self.count(name)
        match effect:
            case Broadcast():
                data = msgspec.msgpack.encode(effect.delta)
                self.flight += [(name, other, data, True) for other in self.names if other != name]
            case Unicast():
                self.flight.append((name, effect.destination, msgspec.msgpack.encode(effect.body), False))
            case Reply():
                self._reply(effect)
            case Evicted():
                self.evicted.append((name, effect))
            case Log():
                self.logs.append((name, effect))
            case _:
                raise AssertionError(f"unexpected effect {effect!r}")

    def _reply(self, reply: Reply) -> None:
        assert reply.request not in self.replies, "answered twice"
        self.replies[reply.request] = reply
        peer, request = self.requests.pop(reply.request, ("", None))
        if isinstance(request, Allocate | Claim) and not reply.error:
            assert isinstance(reply.value, str)
            self.live.setdefault((peer, request.container), {})[reply.value.split("/")[0]] = reply.value

    # --- network ----------------------------------------------------------------------------------------------

    def deliver(self, index: int, keep: bool = False) -> None:
        """One message under way arrives (if it can); with `keep` a copy of it will once more."""
        source, destination, data, gossip = self.flight[index]
        if not keep:
            del self.flight[index]
        if not self.connected(source, destination):
            return
        if gossip:
            self.merge(destination, _delta.decode(data))
        else:
            self.give(destination, Deliver(source, "ipam", _body.decode(data)))

    def merge(self, name: str, delta: RingDelta) -> None:
        try:
            _, effects = self.peers[name].merge(delta, self.now)
        except RemoteError as error:
            effects = [Log("warning", str(error))]
        self.do(name, effects)

    def exchange(self, first: str, second: str) -> None:
        """Anti-entropy from `second` to `first`."""
        if self.connected(first, second):
            vector = _vector.decode(msgspec.msgpack.encode(self.peers[first].vector()))
            delta = self.peers[second].missing(vector)
            if delta is not None:
                self.merge(first, _delta.decode(msgspec.msgpack.encode(delta)))

    def deliver_all(self) -> None:
        """Whatever is under way, and whatever that causes, arrives now, in order."""
        steps = 0
        while self.flight:
            self.deliver(0)
            steps += 1
            assert steps < 20_000, "the peers never fall silent"

    def run(self, duration: int, step: int = 20 * MILLISECOND) -> None:
        """Time passes; messages take one step, deadlines are kept, neighbours gossip every half second."""
        for number in range(1, -(-duration // step) + 1):
            self.now += step
            for _ in range(len(self.flight)):
                if self.flight:
                    self.deliver(0)
            self.happen(self.now)
            if number % 25 == 0:
                for first in self.names:
                    for second in self.names:
                        if first != second:
                            self.exchange(first, second)

    # --- what must hold ---------------------------------------------------------------------------------------

    def holders(self) -> dict[str, list[tuple[str, str]]]:
        """address -> the (peer, container)s that were told to use it."""
        found: dict[str, list[tuple[str, str]]] = {}
        for key, addresses in sorted(self.live.items()):
            for address in addresses:
                found.setdefault(address, []).append(key)
        return found

    def check_no_duplicates(self) -> None:
        for address, holders in self.holders().items():
            assert len(holders) == 1, f"{address} is held by {holders}"

    def booked(self) -> dict[str, list[tuple[str, str]]]:
        """address -> the (peer, container)s it is booked for: more than `holders` where an answer never got out."""
        found: dict[str, list[tuple[str, str]]] = {}
        for name, peer in sorted(self.peers.items()):
            addresses = peer.report(self.now)["addresses"]
            assert isinstance(addresses, dict)
            for container, texts in addresses.items():
                for text in texts:
                    found.setdefault(text.split("/")[0], []).append((name, container))
        return found

    def check_nothing_lost(self) -> None:
        """Whatever a running daemon told a container is still booked for it, whatever crashed in between."""
        booked = self.booked()
        for address, holders in self.holders().items():
            for holder in holders:
                assert holder[0] not in self.peers or holder in booked.get(address, []), f"{holder} lost {address}"

    def check_agreed(self) -> None:
        """All rings are equal and without gaps, if there is any."""
        digests = {name: peer.ring_digest for name, peer in self.peers.items()}
        assert len(set(digests.values())) == 1, f"rings differ: {digests}"
        for name, peer in self.peers.items():
            if peer.ready:
                assert peer.report(self.now)["complete"], f"the ring of {name} has gaps"

"""Several `Ipam`s joined without sockets: a disk each, a network that loses and reorders, crashes at any effect.

Owns delivery, partitions, time and what each host believes that its containers hold; the tests own what happens when,
and what must hold. Gossip is reduced to broadcasts to whoever can be reached and exchanges between pairs.
"""

from collections.abc import Callable, Iterable
from functools import partial
from random import Random
from typing import Any

import msgspec

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
from overlay.runtime.node_runner import NodeRunner
from overlay.wire.ring import IpamMessage, RingDelta, RingVector

_body = msgspec.msgpack.Decoder(IpamMessage)
_delta = msgspec.msgpack.Decoder(RingDelta)
_vector = msgspec.msgpack.Decoder(RingVector)


class _Crash(Exception):
    """The daemon dies between two effects."""


class _Host:
    """A daemon's clock and disk, for its runner."""

    latency = 0

    def __init__(self, world: "World", name: str) -> None:
        self.world, self.name = world, name

    def now(self) -> int:
        return self.world.now

    def call_at(self, due: int, action: Callable[..., None], *arguments: Any) -> None:
        self.world.timers.append((due, self.name, self, partial(action, *arguments)))

    def call_after(self, delay: int, action: Callable[..., None], *arguments: Any) -> None:
        self.call_at(self.world.now + delay, action, *arguments)

    def persist(self, items: list[tuple[str, bytes]]) -> None:
        for key, data in items:
            self.world.count(self.name)
            self.world.disks[self.name][key] = data


class World:
    """Peers by name. `live` is {(peer, container): addresses} as the hosts were told, whatever daemons forget."""

    def __init__(self, configs: Iterable[Config], seed: int = 0) -> None:
        self.now = 0
        self.configs = {config.name: config for config in configs}
        self.names = sorted(self.configs)
        self.disks: dict[str, dict[str, bytes]] = {name: {} for name in self.names}
        self.peers: dict[str, Ipam] = {}
        self.hosts: dict[str, _Host] = {}
        self.runners: dict[str, NodeRunner] = {}
        """Of the latest life of each peer."""
        self.timers: list[tuple[int, str, _Host, Callable[[], None]]] = []
        self.groups: dict[str, int] = dict.fromkeys(self.names, 0)
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
            self.start(name)

    # --- hosts ------------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """The daemon of `name` starts on what its disk holds."""
        self._births += 1
        self.crash_at.pop(name, None)
        peer = Ipam(self.configs[name], Random(self._seed * 1000 + self._births), dict(self.disks[name]))
        self.peers[name] = peer
        host = self.hosts[name] = _Host(self, name)
        self.runners[name] = NodeRunner(peer, host, host, {}, other=partial(self._one, name))
        self.notice(name)

    def crash(self, name: str) -> None:
        """The daemon of `name` dies; its containers and its disk stay."""
        if self.peers.pop(name, None) is not None:
            self.runners[name].stop()
        self.crash_at.pop(name, None)
        for number, (peer, _) in list(self.requests.items()):
            if peer == name:
                del self.requests[number]

    def connected(self, first: str, second: str) -> bool:
        return first in self.peers and second in self.peers and self.groups[first] == self.groups[second]

    def notice(self, name: str) -> None:
        """`name` learns who can be reached."""
        self.give(name, PeersChanged(tuple(other for other in self.names if self.connected(name, other))))

    def partition(self, groups: dict[str, int]) -> None:
        """Cut the network; who notices is up to `notice`."""
        self.groups = dict(groups)

    def heal(self) -> None:
        """One network again, and everybody notices."""
        self.groups = dict.fromkeys(self.names, 0)
        for name in self.names:
            if name in self.peers:
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
            self._run(name, partial(self.runners[name].feed, what))

    def carry_out(self, name: str, effects: list[Effect]) -> None:
        """Do what a peer wants that was asked directly."""
        self._run(name, partial(self.runners[name].carry_out, effects))

    def _run(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except _Crash:
            self.crash(name)
        if name in self.peers:
            self.peers[name].check_invariants()

    def count(self, name: str) -> None:
        """One more effect of this peer is about to be carried out. Raises `_Crash` if it does not live so long."""
        if name in self.crash_at:
            if self.crash_at[name] == 0:
                raise _Crash
            self.crash_at[name] -= 1

    def _one(self, name: str, effect: Effect) -> None:
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
        self.carry_out(name, effects)

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
        end = self.now + duration
        rounds = 0
        while self.now < end:
            self.now += step
            rounds += 1
            for _ in range(len(self.flight)):
                if self.flight:
                    self.deliver(0)
            self.wake()
            if rounds % 25 == 0:
                for first in self.names:
                    for second in self.names:
                        if first != second:
                            self.exchange(first, second)

    def wake(self) -> None:
        """Timers that are due go off, in their order."""
        due = sorted((timer for timer in self.timers if timer[0] <= self.now), key=lambda timer: timer[0])
        self.timers = [timer for timer in self.timers if timer[0] > self.now]
        for _, name, host, action in due:
            if name in self.peers and self.hosts[name] is host:
                self._run(name, action)

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

"""Whole `Node`s on a `VirtualNet`: launches and restarts them, keeps each host's kernel forwarding, asks its DNS.

What a host's kernel holds (`kernel`) survives the daemon, as it does in reality; so does what was persisted.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from dnslib import DNSRecord
from virtual_mesh import VirtualNet

from overlay.config import Config, PeerName
from overlay.crypto.pake import StubCrypto
from overlay.effects import DnsAnswer, Log, RemoveForwarding, SetFlood, SetForwarding
from overlay.env import SECOND
from overlay.inputs import Attached, Detached, DnsQuery, Leave, RegisterName
from overlay.node import Node


class Kernel:
    """The forwarding state of one host, built from effects as a driver does."""

    def __init__(self) -> None:
        self.forwarding: dict[str, tuple[str, tuple[str, ...]]] = {}
        self.flood: tuple[str, ...] = ()
        self.removals = 0
        """How often an entry was removed or changed."""


class VirtualNodes(VirtualNet):
    """Hosts 0 to `count`-1; `nodes[i]` is that of host i, while it runs."""

    def __init__(self, count: int, seed: int = 0, **options: Any) -> None:
        super().__init__(count, seed)
        self.options = options
        self.nodes: dict[int, Node] = {}
        self.kernels = [Kernel() for _ in range(count)]
        self.logs: list[list[Log]] = [[] for _ in range(count)]

    @staticmethod
    def name(index: int) -> PeerName:
        return f"00:00:00:00:{index >> 8:02x}:{index & 255:02x}"

    def launch(self, index: int, peers: Sequence[int] = (), lost_disk: bool = False, **options: Any) -> Node:
        """Start a node with these hosts' addresses and what its host has stored."""
        host = self.hosts[index]
        if lost_disk:
            host.stored.clear()
        config = Config(
            name=self.name(index),
            nickname=f"host{index}",
            peers=tuple(self.hosts[peer].address for peer in peers),
            **{**self.options, **options},
        )
        node = Node(config, Random(self.rng.getrandbits(64)), host.stored, 0, StubCrypto(self.rng))
        self.nodes[index] = node
        effects = node.start(self.now)
        self.start(index, node)
        self.do(index, effects)
        return node

    def mesh(self, *group: int) -> None:
        """Launch these hosts (all, if none is named), each dialling the first, until they agree."""
        indices = group or tuple(range(len(self.hosts)))
        for index in indices:
            self.launch(index, [indices[0]] if index != indices[0] else [])
        self.run_until(lambda: self.meshed(*indices), 20 * SECOND)

    def kill(self, index: int, reset: bool = True) -> None:
        del self.nodes[index]
        super().kill(index, reset)

    def leave(self, index: int) -> None:
        """Farewell, then the end of the process."""
        self.handle(index, Leave(0))
        self.run(10_000_000)
        self.kill(index)

    def attach(self, index: int, container: str, *addresses: str, mac: str = "", name: str = "") -> str:
        """Plug a container in, and register its name if there is one. Returns its MAC."""
        mac = mac or "02:" + ":".join(f"{octet:02x}" for octet in Random(f"{index} {container}").randbytes(5))
        self.handle(index, Attached(container, mac, addresses))
        for address in addresses if name else ():
            self.handle(index, RegisterName(container, f"{name}.weave.local.", address.partition("/")[0]))
        return mac

    def detach(self, index: int, container: str) -> None:
        self.handle(index, Detached(container))

    def agree(self, *group: int) -> bool:
        """Whether these (all that run) reach exactly each other and believe the same."""
        nodes = [self.nodes[index] for index in group] if group else list(self.nodes.values())
        views = [node.view(self.now) for node in nodes]
        believed = {(view.topology, view.ring, view.dns, view.endpoints) for view in views}
        return len(believed) == 1 and all(view.reachable == len(nodes) for view in views)

    def meshed(self, *group: int) -> bool:
        """Whether they agree, and each has a connection with each."""
        nodes = [self.nodes[index] for index in group] if group else list(self.nodes.values())
        return self.agree(*group) and all(len(node.mesh.neighbours) == len(nodes) - 1 for node in nodes)

    def resolve(self, index: int, name: str) -> list[str]:
        """What the host's DNS answers, sorted."""
        payload = bytes(DNSRecord.question(name).pack())  # type: ignore[no-untyped-call]
        before = len(self.hosts[index].effects)
        self.handle(index, DnsQuery(1, payload))
        (answer,) = (e for e in self.drain_from(index, before) if isinstance(e, DnsAnswer))
        return sorted(str(rr.rdata) for rr in DNSRecord.parse(answer.payload).rr)  # type: ignore[no-untyped-call]

    def drain_from(self, index: int, start: int) -> list[Any]:
        effects: list[Any] = self.hosts[index].effects
        return effects[start:]

    def kernel(self, index: int) -> Kernel:
        """The forwarding state after all effects so far."""
        kernel, effects = self.kernels[index], self.hosts[index].effects
        for effect in effects:
            match effect:
                case SetForwarding():
                    entry = (effect.remote, effect.addresses)
                    kernel.removals += kernel.forwarding.get(effect.mac, entry) != entry
                    kernel.forwarding[effect.mac] = entry
                case RemoveForwarding():
                    del kernel.forwarding[effect.mac]
                    kernel.removals += 1
                case SetFlood():
                    kernel.flood = effect.remotes
                case Log():
                    self.logs[index].append(effect)
        effects.clear()
        return kernel

    def logged(self, index: int, text: str) -> list[str]:
        self.kernel(index)
        return [log.text for log in self.logs[index] if text in log.text]

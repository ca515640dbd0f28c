"""A group of members and the network between them, without a lab: for experiments with many members.

The same hosts, network and interpreter of effects as in a scenario on `sim` (`lab.sim.member`), driven by a program
instead of a timeline: a thousand kills are a thousand calls. Owns which members run.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lab.links import Links
from lab.protocols.options import settled_options
from lab.sim.garbage import rarely_collected
from lab.sim.group import MemberGroup
from lab.sim.member import MemberPeer
from lab.sim.tracer import Tracer
from lab.sim.world import World
from overlay.env import Random

__all__ = ["MemberWorld"]


class MemberWorld:
    """Members of one protocol, called host1, host2 …"""

    def __init__(
        self,
        make: Callable[[str, Random, dict[str, Any]], Any],
        size: int,
        options: Mapping[str, Any] = {},
        *,
        seed: int = 0,
        links: Links | None = None,
        traced: bool = False,
    ) -> None:
        """`options` override the class's defaults, as in a scenario."""
        self.world = World(seed, links)
        self.group = MemberGroup(bool(getattr(make, "partial", False)))
        self.tracer = Tracer(self.group) if traced else None
        self._make = make
        self._options = settled_options(getattr(make, "defaults", {}), options)
        self.names = [f"host{number}" for number in range(1, size + 1)]
        self.peers: dict[str, MemberPeer] = {}
        for number, name in enumerate(self.names, 1):
            peer = self.world.add(name, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", (), MemberPeer)
            assert isinstance(peer, MemberPeer)
            peer.group, peer.trace = self.group, self.tracer
            self.peers[name] = peer

    @property
    def now(self) -> int:
        """Nanoseconds since the start."""
        return self.world.now

    def begin(self, names: Iterable[str]) -> None:
        """Start members with empty state."""
        for name in names:
            self.peers[name].begin(self._make, dict(self._options))

    def join(self, name: str, seed: str) -> None:
        """Let a member join through another one."""
        self.peers[name].join((seed,))

    def kill(self, names: Iterable[str]) -> None:
        """`kill -9` of all of them at the same time."""
        for name in names:
            self.peers[name].kill()

    def publish(self, name: str, id: str, size: int = 100) -> None:
        """Let a member broadcast a message."""
        self.peers[name].publish(id, size)

    def run(self, duration: int) -> None:
        """Let `duration` nanoseconds pass."""
        with rarely_collected():
            self.world.run(duration)

"""A host that runs a protocol of `lab.protocols`: names become addresses, messages datagrams or connections.

`overlay.runtime.node_runner` owns the order of effects and the timer; the host provides lifecycle, clock and disk as
for any other node (`lab.sim.world.Peer`). Owns the mapping of connections to members. Decides nothing, and knows no
protocol.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from lab.protocols.contract import Believe, Broken, Delivered, Farewell, HangUp, Joined, Measure, Published, Received
from lab.protocols.contract import Send as SendEffect
from lab.sim.group import MemberGroup
from lab.sim.messages import Letter
from lab.sim.streams import End
from lab.sim.tracer import Tracer
from lab.sim.world import FRAME, Peer, World
from overlay.config import Address
from overlay.effects import Log
from overlay.env import Random
from overlay.runtime.node_runner import NodeRunner

__all__ = ["MemberPeer"]

_encode = msgspec.msgpack.Encoder().encode
PORT = 6783
"""The port at which members listen."""


class MemberPeer(Peer):
    """A host that may run one member of a group."""

    __slots__ = (
        "_calls", "_ends_to", "_last", "_last_size", "_payloads", "_peer_of", "changed", "core", "group", "log",
        "trace",
    )  # fmt: skip

    def __init__(self, world: World, name: str, address: str) -> None:
        super().__init__(world, name, address)
        self.core: Any = None
        """The protocol that runs here; None: no member runs."""
        self.group = MemberGroup()
        self.trace: Tracer | None = None
        """Receives events; None: not recorded."""
        self.changed: Callable[[str], None] | None = None
        """Called with the host's name when its member changes a belief."""
        self.log: list[str] = []
        self._payloads: tuple[type, ...] = ()
        self._ends_to: dict[str, dict[int, None]] = {}
        """Member -> open connections to it, the preferred one first."""
        self._peer_of: dict[int, str] = {}
        self._calls: dict[str, list[tuple[Letter, int]]] = {}
        """Member that is being dialled -> messages waiting to be sent."""
        self._last: Any = None
        self._last_size = 0
        self._do = {
            SendEffect: self._send,
            HangUp: self._hang_up,
            Delivered: self._delivered,
            Believe: self._believe,
            Measure: self._measure,
            Log: self._note,
        }

    # --- the member -------------------------------------------------------------------------------------------------

    def begin(self, make: Callable[[str, Random, dict[str, Any]], Any], options: dict[str, Any]) -> None:
        """Start a member with empty state."""
        world = self.world
        assert self.core is None and self.powered
        self.life += 1
        rng = Random(f"{world.seed} {self.name} {self.life}")
        self.core = make(self.name, rng, options)
        self._payloads = tuple(getattr(self.core, "payloads", ()))
        self.listening = True
        self.ends = world.network.ends(self)
        self.runner = NodeRunner(self.core, self, self.disk, self._do)
        self.group.started(self.name, world.now)
        self.runner.carry_out([])

    def join(self, seeds: tuple[str, ...]) -> None:
        """Tell the member about other members."""
        self.feed(Joined(seeds))

    def publish(self, id: str, size: int) -> None:
        """Let the member broadcast a message; does nothing if no member runs."""
        if self.core is not None:
            group, now = self.group, self.world.now
            group.payloads.published(id, self.name, now, size, len(group.standing))
            self.feed(Published(id, size))

    def farewell(self) -> None:
        """The member leaves gracefully."""
        self.feed(Farewell())
        self._over(left=True)
        self.world.network.die(self, power=False)

    def _end(self) -> None:
        self._over(left=False)

    def _over(self, *, left: bool) -> None:
        if self.core is not None:
            self.group.ended(self.name, self.world.now, left=left)
            if self.trace is not None:
                self.trace.ended(self.world.now, self.name)
        self.core = None
        self._ends_to.clear()
        self._peer_of.clear()
        self._calls.clear()
        Peer._end(self)

    # --- effects ----------------------------------------------------------------------------------------------------

    def _bytes(self, effect: SendEffect) -> int:
        """Size of a message on the wire; a message to several members is measured once."""
        if effect.size:
            return effect.size + FRAME
        message = effect.message
        if message is not self._last:
            self._last, self._last_size = message, len(_encode(message)) + FRAME
            if isinstance(message, self._payloads):
                self._last_size += message.size  # type: ignore[attr-defined]
        return self._last_size

    def _send(self, effect: SendEffect) -> None:
        to = self.world.peers.get(effect.to)
        if to is None:
            raise KeyError(f"{self.name} sends to {effect.to!r}, which is no host of this lab")
        size = self._bytes(effect)
        kind = type(effect.message).__name__
        self.sent_bytes += size
        self.group.sends(self.name, kind, size)
        if self.trace is not None:
            self.trace.sent(self.world.now, self.name, effect.to, kind, "tcp" if effect.reliable else "udp", size)
        if not effect.reliable:
            self.sent_datagrams += 1
            letter = Letter(self.name, effect.message, False)
            self.world.network.send_datagram(self, Address(to.address, PORT), letter, size)
            return
        self.sent_messages += 1
        self._write(effect.to, to.address, Letter(self.name, effect.message, True), size)

    def _write(self, name: str, address: str, letter: Letter, size: int) -> None:
        for conn in self._ends_to.get(name, ()):
            end = self.ends.get(conn)
            if end is not None and end.open:
                self.world.network.write(end, letter, size)
                return
        waiting = self._calls.get(name)
        if waiting is not None:
            waiting.append((letter, size))
            return
        self._calls[name] = [(letter, size)]
        life = self.life
        self.world.network.dial(self, Address(address, PORT), lambda: self.life == life)

    def _hang_up(self, effect: HangUp) -> None:
        for conn in self._ends_to.pop(effect.peer, {}):
            self._peer_of.pop(conn, None)
            end = self.ends.get(conn)
            if end is not None:
                self.world.network.close(end)

    def _delivered(self, effect: Delivered) -> None:
        now = self.world.now
        payload = self.group.payloads.delivered(effect.id, self.name, now)
        if payload is not None and self.trace is not None:
            self.trace.delivered(now, self.name, payload)

    def _believe(self, effect: Believe) -> None:
        now = self.world.now
        if self.trace is not None:
            self.trace.believes(now, self.name, effect)
        self.group.believes(self.name, now, effect.members, effect.neighbours, effect.suspects)
        if self.changed is not None:
            self.changed(self.name)

    def _measure(self, effect: Measure) -> None:
        self.group.measures(effect.name, effect.value)
        if self.trace is not None:
            self.trace.measured(self.world.now, self.name, effect.name, effect.value)

    def _note(self, effect: Log) -> None:
        self.log.append(f"{self.world.now / 1e9:.3f} {effect.level.upper():7} {effect.text}")

    # --- lab.sim.network.Site ---------------------------------------------------------------------------------------

    def opened(self, end: End) -> None:
        dialled = end.dialled
        if dialled is None:
            return  # the first message identifies the sender
        for name in self._calls:
            if self.world.peers[name].address == dialled.host:
                self._met(name, end.conn)
                for letter, size in self._calls.pop(name):
                    self.world.network.write(end, letter, size)
                return
        self.world.network.close(end)

    def failed(self, dialled: Address, reason: str) -> None:
        for name in self._calls:
            if self.world.peers[name].address == dialled.host:
                del self._calls[name]
                self._take(Broken(name, reason), None)
                return

    def received(self, end: End, message: Any) -> None:
        if end.conn not in self._peer_of:
            self._met(message.sender, end.conn)
        self._take_letter(message)

    def closed(self, end: End, reason: str) -> None:
        name = self._peer_of.pop(end.conn, "")
        if not name:
            return
        ends = self._ends_to.get(name, {})
        ends.pop(end.conn, None)
        if not ends and name not in self._calls:
            self._ends_to.pop(name, None)
            self._take(Broken(name, reason), None)

    def datagram(self, source: Address, message: Any) -> None:
        self._take_letter(message)

    def _met(self, name: str, conn: int) -> None:
        self._peer_of[conn] = name
        self._ends_to.setdefault(name, {})[conn] = None

    def _take_letter(self, letter: Letter) -> None:
        message = letter.message
        if isinstance(message, self._payloads):
            self.group.payloads.received(message.id, self.name, letter.sender)  # type: ignore[attr-defined]
        self._take(Received(letter.sender, message, letter.reliable), None)

"""Decides which addresses to dial and when: targets, back-off and discovery. Knows no handshake and sends no messages.

A target is an address. *Explicit* targets come from the configuration and from `Connect` and are dialled for ever
(`overlay.mesh.launches` decides which of them a restarted daemon keeps). *Discovered* targets are peers known from
gossip or from an earlier run (`overlay.mesh.memory`); they exist until the peer is connected or forgotten. A target is
not dialled while its peer is connected through any connection.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

import msgspec

from overlay.config import Address, PeerName
from overlay.effects import Dial, Effect, Persist
from overlay.env import Random
from overlay.stored import decode
from overlay.timers import Timers
from overlay.tuning import STANDARD, Tuning

MAX_DISCOVERY_DIALS: Final = 32
"""Limit of simultaneous dials to discovered targets."""
MAX_TARGETS: Final = 1024
"""At this number of targets a beacon from an unknown address adds no target, because its source is easily forged."""
STORED_KEY: Final = "targets"


class TargetState(Enum):
    """The state of a target."""

    WAITING = "waiting"
    DIALLING = "dialling"
    CONNECTED = "connected"
    REFUSED = "refused"
    """The address is this peer itself or a namesake: it is never dialled again."""


class TargetEvent(Enum):
    """The events that change a target's state."""

    DIAL = "dial"
    OPEN = "open"
    FAIL = "fail"
    REFUSE = "refuse"


TRANSITIONS: Final = {
    (TargetState.WAITING, TargetEvent.DIAL): TargetState.DIALLING,
    # A new dial overtakes one that hangs (its first packet was lost in a partition and waits for retransmission).
    (TargetState.DIALLING, TargetEvent.DIAL): TargetState.DIALLING,
    (TargetState.DIALLING, TargetEvent.OPEN): TargetState.CONNECTED,
    (TargetState.DIALLING, TargetEvent.FAIL): TargetState.WAITING,
    (TargetState.CONNECTED, TargetEvent.FAIL): TargetState.WAITING,
    (TargetState.CONNECTED, TargetEvent.REFUSE): TargetState.REFUSED,
    # The overtaken dial has succeeded or failed in the end.
    (TargetState.CONNECTED, TargetEvent.OPEN): TargetState.CONNECTED,
    (TargetState.WAITING, TargetEvent.OPEN): TargetState.CONNECTED,
    (TargetState.REFUSED, TargetEvent.OPEN): TargetState.REFUSED,
}


@dataclass(slots=True, eq=False)
class Target:
    """One address to dial."""

    address: Address
    explicit: bool
    peer: PeerName
    """The peer that last answered there, or is expected to; "" if unknown."""
    backoff: int
    dialled_at: int
    state: TargetState = TargetState.WAITING
    attempts: int = 0
    dials: int = 0
    """Dials in progress; more than one if a dial overtook another."""
    conns: int = 0
    reason: str = ""

    def advance(self, event: TargetEvent) -> None:
        """Apply `event` by the table. Raises KeyError for an impossible transition."""
        self.state = TRANSITIONS[self.state, event]


class Dialler:
    """The targets of one peer."""

    def __init__(
        self, own: PeerName, explicit: Iterable[Address], stored: bytes | None, rng: Random,
        tuning: Tuning = STANDARD,
    ) -> None:  # fmt: skip
        self._own = own
        self._tuning = tuning
        self._rng = rng
        self.timers: Timers[Address] = Timers()
        self.targets: dict[Address, Target] = {}
        self.connected: dict[PeerName, int] = {}
        """Number of connections with each peer, established or in their handshake."""
        self._kept: dict[Address, None]
        """The explicit targets that outlive this process; the stored ones also include those of the configuration."""
        told = explicit if stored is None else decode(STORED_KEY, stored, tuple[Address, ...])
        self._kept = dict.fromkeys(told)
        for address in self._kept:
            self._add(address, explicit=True, peer="", due=0)

    # --- commands -------------------------------------------------------------------------------------------------

    def connect(self, addresses: tuple[Address, ...], replace: bool, now: int) -> list[Effect]:
        """Dial these addresses now and for ever; with `replace`, instead of all earlier explicit ones."""
        if replace:
            for old in [target for target in self.targets.values() if target.explicit]:
                self._remove(old.address)
            self._kept.clear()
        for address in addresses:
            self._kept[address] = None
            target = self.targets.get(address)
            if target is None:
                self._add(address, explicit=True, peer="", due=now)
                continue
            target.explicit = True
            target.backoff = self._tuning.dial_first
            if target.state is TargetState.WAITING:
                self.timers.set(address, now)
        return [self._persist()]

    def forget(self, addresses: tuple[Address, ...]) -> list[Effect]:
        """Stop dialling these addresses."""
        for address in addresses:
            self._kept.pop(address, None)
            self._remove(address)
        return [self._persist()]

    # --- results of dials -------------------------------------------------------------------------------------------

    def opened(self, address: Address) -> None:
        """A dial has opened a TCP connection."""
        target = self.targets.get(address)
        if target is not None:
            target.dials = max(0, target.dials - 1)
            target.conns += 1
            target.advance(TargetEvent.OPEN)
            self.timers.cancel(address)

    def failed(self, address: Address, reason: str, now: int) -> None:
        """A dial has failed."""
        target = self.targets.get(address)
        if target is None:
            return
        target.dials = max(0, target.dials - 1)
        target.reason = reason
        if target.dials == 0 and target.state is TargetState.DIALLING:
            target.advance(TargetEvent.FAIL)
            if target.explicit or target.peer:
                self._retry(target, now)
            else:
                self._remove(address)

    def greeted(self, peer: PeerName, dialled: Address | None) -> None:
        """A connection is identified as one with `peer`."""
        self.connected[peer] = self.connected.get(peer, 0) + 1
        if dialled is not None and dialled in self.targets:
            self.targets[dialled].peer = peer

    def ended(self, peer: PeerName, dialled: Address | None, reason: str, lived: int, now: int) -> None:
        """A connection has ended (`peer` "": before it was identified). `lived`: how long it was established."""
        if peer:
            self.connected[peer] -= 1
            if not self.connected[peer]:
                del self.connected[peer]
        target = self.targets.get(dialled) if dialled is not None else None
        if target is not None and target.state is not TargetState.REFUSED:
            target.reason = reason
            target.conns = max(0, target.conns - 1)
            if target.conns == 0 and target.state is TargetState.CONNECTED:
                target.advance(TargetEvent.FAIL)
                if lived > self._tuning.dial_lasting:
                    target.backoff = self._tuning.dial_first
                if target.explicit or target.peer:
                    self._retry(target, now)
                else:
                    self._remove(target.address)
        if not peer or peer in self.connected:
            return
        for other in self.targets.values():
            if other.peer == peer and other.state is TargetState.WAITING and other.address not in self.timers:
                other.backoff = self._tuning.dial_first if lived > self._tuning.dial_lasting else other.backoff
                self._retry(other, now)

    def refused(self, address: Address, reason: str) -> None:
        """The address belongs to this peer itself or to a namesake."""
        target = self.targets.get(address)
        if target is None:
            return
        if target.explicit:
            target.advance(TargetEvent.REFUSE)
            target.reason = reason
            self.timers.cancel(address)
        else:
            self._remove(address)

    @property
    def explicit(self) -> tuple[Address, ...]:
        """The addresses that are dialled for ever: from the configuration, from `connect`, and from earlier runs."""
        return tuple(target.address for target in self.targets.values() if target.explicit)

    # --- discovered targets -----------------------------------------------------------------------------------------

    def aimed(self) -> dict[PeerName, None]:
        """The peers that have a target."""
        return dict.fromkeys(target.peer for target in self.targets.values() if target.peer)

    def discover(self, peer: PeerName, address: Address, now: int) -> None:
        """Add a target for a peer without target or connection. Of two peers the lower name dials first."""
        if address in self.targets:
            return
        delay = self._rng.randrange(self._tuning.dial_spread) + (
            0 if self._own < peer else self._tuning.dial_polite_delay
        )
        self._add(address, explicit=False, peer=peer, due=now + delay)

    def urge(self, address: Address, peer: PeerName, now: int, delay: int = 0) -> list[Effect]:
        """`peer` is reachable at `address`: reset the back-off and dial, at once or after `delay`."""
        if address not in self.targets and len(self.targets) >= MAX_TARGETS:
            return []
        target = self.targets.get(address) or self._add(address, explicit=False, peer=peer, due=now + delay)
        if target.state in (TargetState.CONNECTED, TargetState.REFUSED):
            return []
        target.peer = peer
        target.backoff = self._tuning.dial_first
        if delay:
            self.timers.set_earlier(address, now + delay)
            return []
        return self._dial(target, now) if now - target.dialled_at >= self._tuning.dial_urge_pause else []

    def refer(self, address: Address, now: int) -> None:
        """A peer without room has named `address` as one that may have some: dial it once."""
        if address not in self.targets:
            self._add(address, explicit=False, peer="", due=now)

    def move(self, target: Target, address: Address) -> None:
        """Use another address for a discovered target's peer at the next dial, with the same back-off."""
        due = self.timers.due(target.address)
        if due is not None and address not in self.targets:
            self._remove(target.address)
            moved = self._add(address, explicit=False, peer=target.peer, due=due)
            moved.backoff, moved.attempts, moved.reason = target.backoff, target.attempts, target.reason

    def drop(self, peer: PeerName) -> None:
        """Remove the discovered targets of `peer`."""
        for target in [target for target in self.targets.values() if target.peer == peer and not target.explicit]:
            self._remove(target.address)

    def explicit_at(self, address: Address, peer: PeerName) -> bool:
        """Whether an explicit target has this address, or this peer answered at it."""
        return any(
            target.explicit and (target.address == address or target.peer == peer) for target in self.targets.values()
        )

    def dialling(self) -> int:
        """Number of discovered targets being dialled."""
        return sum(target.state is TargetState.DIALLING and not target.explicit for target in self.targets.values())

    # --- time -------------------------------------------------------------------------------------------------------

    def wake(self, room: int, now: int) -> list[Effect]:
        """Dial the targets that are due, at most `room` discovered ones."""
        effects: list[Effect] = []
        room = min(room, MAX_DISCOVERY_DIALS) - self.dialling()
        while (address := self.timers.pop(now)) is not None:
            target = self.targets[address]
            if target.peer in self.connected or target.state is not TargetState.WAITING:
                if target.peer in self.connected and not target.explicit:
                    self._remove(address)
                continue
            if not target.explicit:
                if room <= 0:
                    if target.peer:
                        self.timers.set(address, now + self._tuning.dial_room_pause)
                    else:
                        self._remove(address)
                    continue
                room -= 1
            effects += self._dial(target, now)
        return effects

    def next_attempt(self, target: Target) -> int | None:
        """When `target` is dialled next, if it is waiting."""
        return self.timers.due(target.address)

    # --- internals --------------------------------------------------------------------------------------------------

    def _add(self, address: Address, explicit: bool, peer: PeerName, due: int) -> Target:
        target = self.targets[address] = Target(
            address, explicit, peer, self._tuning.dial_first, -self._tuning.dial_urge_pause
        )
        self.timers.set(address, due)
        return target

    def _remove(self, address: Address) -> None:
        self.targets.pop(address, None)
        self.timers.cancel(address)

    def _dial(self, target: Target, now: int) -> list[Effect]:
        target.advance(TargetEvent.DIAL)
        target.dials += 1
        target.attempts += 1
        target.dialled_at = now
        self.timers.cancel(target.address)
        return [Dial(target.address)]

    def _retry(self, target: Target, now: int) -> None:
        backoff = target.backoff
        self.timers.set(target.address, now + self._rng.randrange(backoff // 2, backoff * 3 // 2))
        target.backoff = min(backoff * 3 // 2, self._tuning.dial_longest)

    def _persist(self) -> Persist:
        return Persist(STORED_KEY, msgspec.msgpack.encode(tuple(self._kept)))

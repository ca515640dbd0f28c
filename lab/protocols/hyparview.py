"""HyParView: a small active view of connections, and a larger passive view from which broken ones are replaced.

After Leitão, Pereira and Rodrigues ("HyParView: a Membership Protocol for Reliable Gossip-Based Broadcast", DSN 2007).
Joins are random walks of `arwl` hops through active views; passive views are shuffled with random walks. A broken
connection is the failure detector. Owns both views; a broadcast protocol over the active view
(`lab.protocols.plumtree`) learns of its neighbours by `up` and `down`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct

from lab.protocols.contract import HangUp, Send
from overlay.effects import Effect
from overlay.env import Random

__all__ = ["OPTIONS", "HyParView"]

OPTIONS: Mapping[str, bool | int | str] = {
    "active": 5,
    "passive": 30,
    "arwl": 6,
    "prwl": 3,
    "shuffle": "10s",
    "shuffle-active": 3,
    "shuffle-passive": 4,
}


class Join(Struct, frozen=True):
    """A new member asks to join."""


class ForwardJoin(Struct, frozen=True):
    """A new member, forwarded on a random walk."""

    member: str
    ttl: int


class AskNeighbour(Struct, frozen=True):
    """Request to enter the receiver's active view; `high`: must be accepted, because the sender's active
    view is empty."""

    high: bool


class NeighbourReply(Struct, frozen=True):
    """The request was accepted, or refused for lack of room."""

    accepted: bool


class Disconnect(Struct, frozen=True):
    """The receiver was removed from the sender's active view, but may stay in the passive one."""


class Shuffle(Struct, frozen=True):
    """A sample of views on a random walk."""

    origin: str
    members: tuple[str, ...]
    ttl: int


class ShuffleReply(Struct, frozen=True):
    """A sample of the passive view at the end of the walk, for the origin."""

    members: tuple[str, ...]


Told = Callable[[str], list[Effect]]


class HyParView:
    """Both views of one member. Messages on active links are reliable."""

    def __init__(self, me: str, rng: Random, options: Mapping[str, Any], up: Told, down: Told) -> None:
        self._me = me
        self._rng = rng
        self._o = options
        self._up = up
        self._down = down
        self.active: dict[str, None] = {}
        self.passive: dict[str, None] = {}
        self._asked: dict[str, None] = {}
        """Members that were asked to become neighbours and have not answered."""
        self._refused: dict[str, None] = {}
        """Members that had no room since the last shuffle: asked again only after the next one."""
        self._contacts: tuple[str, ...] = ()
        self._sample: tuple[str, ...] = ()
        """The sample sent by the last shuffle."""

    def join(self, contacts: tuple[str, ...]) -> list[Effect]:
        """Join through these contacts."""
        self._contacts = contacts
        return [Send(contact, Join(), reliable=True) for contact in contacts if contact not in self.active]

    def leave(self) -> list[Effect]:
        """Disconnect from all neighbours."""
        return [Send(name, Disconnect(), reliable=True) for name in self.active]

    def every_shuffle(self) -> list[Effect]:
        """Shuffle the passive view, and fill the active one."""
        self._refused.clear()
        effects = self._fill()
        if not self.active:
            return effects or (self.join(self._contacts) if self._contacts else [])
        o, rng = self._o, self._rng
        to = rng.choice(list(self.active))
        some = _some(rng, (name for name in self.active if name != to), o["shuffle-active"])
        self._sample = _some(rng, self.passive, o["shuffle-passive"])
        shuffle = Shuffle(self._me, (self._me, *some, *self._sample), o["arwl"])
        return [*effects, Send(to, shuffle, reliable=True)]

    def received(self, sender: str, message: Any) -> list[Effect]:
        """Handle a message of this protocol; returns no effects for other messages."""
        match message:
            case Join():
                return self._joins(sender)
            case ForwardJoin(member, ttl):
                return self._walks(sender, member, ttl)
            case AskNeighbour(high):
                if sender in self.active:
                    return [Send(sender, NeighbourReply(True), reliable=True)]
                if high or len(self.active) < self._o["active"]:
                    return [*self._take(sender), Send(sender, NeighbourReply(True), reliable=True)]
                return [Send(sender, NeighbourReply(False), reliable=True)]
            case NeighbourReply(accepted):
                self._asked.pop(sender, None)
                if accepted:
                    return self._take(sender)
                self._refused[sender] = None
                return [HangUp(sender), *self._fill()] if sender not in self.active else []
            case Disconnect():
                if sender not in self.active:
                    return []
                del self.active[sender]
                return [*self._down(sender), HangUp(sender), *self._fill(but=sender), *self._remember((sender,))]
            case Shuffle(origin, members, ttl):
                return self._shuffled(sender, origin, members, ttl - 1)
            case ShuffleReply(members):
                return self._remember(members, self._sample)
        return []

    def broken(self, peer: str) -> list[Effect]:
        """A connection has ended, or could not be made: its member has failed."""
        effects: list[Effect] = []
        asked = peer in self._asked
        self._asked.pop(peer, None)
        self.passive.pop(peer, None)
        if peer in self.active:
            del self.active[peer]
            effects += self._down(peer)
        elif not asked:
            return []
        return effects + self._fill(but=peer)

    # Internals

    def _joins(self, new: str) -> list[Effect]:
        others = [name for name in self.active if name != new]
        effects = [*self._take(new), Send(new, NeighbourReply(True), reliable=True)]
        forward = ForwardJoin(new, self._o["arwl"])
        return effects + [Send(name, forward, reliable=True) for name in others if name in self.active]

    def _walks(self, sender: str, new: str, ttl: int) -> list[Effect]:
        if new == self._me or new in self.active:
            return []
        others = [name for name in self.active if name not in (sender, new)]
        if ttl <= 0 or not others:
            self._asked[new] = None
            return [Send(new, AskNeighbour(True), reliable=True)]
        effects = self._remember((new,)) if ttl == self._o["prwl"] else []
        return [*effects, Send(self._rng.choice(others), ForwardJoin(new, ttl - 1), reliable=True)]

    def _take(self, name: str) -> list[Effect]:
        """Put a member into the active view; if the view is full, another one is removed."""
        if name in self.active or name == self._me:
            return []
        effects: list[Effect] = []
        while len(self.active) >= self._o["active"]:
            dropped = self._rng.choice(list(self.active))
            del self.active[dropped]
            effects += [*self._down(dropped), Send(dropped, Disconnect(), reliable=True)]
            effects += self._remember((dropped,))
        self.passive.pop(name, None)
        self.active[name] = None
        return effects + self._up(name)

    def _fill(self, but: str = "") -> list[Effect]:
        """Ask a member of the passive view to become a neighbour, if there is room and no request is pending."""
        if len(self.active) + len(self._asked) >= self._o["active"]:
            return []
        busy = {*self._asked, *self._refused, but}
        found = [name for name in self.passive if name not in busy]
        if not found:
            return []
        name = self._rng.choice(found)
        self._asked[name] = None
        return [Send(name, AskNeighbour(not self.active), reliable=True)]

    def _shuffled(self, sender: str, origin: str, members: tuple[str, ...], ttl: int) -> list[Effect]:
        others = [name for name in self.active if name not in (sender, origin)]
        if ttl > 0 and len(self.active) > 1 and others:
            return [Send(self._rng.choice(others), Shuffle(origin, members, ttl), reliable=True)]
        if origin == self._me:
            return []
        answer = _some(self._rng, self.passive, len(members))
        return [Send(origin, ShuffleReply(answer)), *self._remember(members, answer)]

    def _remember(self, members: Iterable[str], sent: tuple[str, ...] = ()) -> list[Effect]:
        """Put members into the passive view; if it is full, others are removed, those in `sent` first."""
        for name in members:
            if name == self._me or name in self.active or name in self.passive:
                continue
            while len(self.passive) >= self._o["passive"]:
                there = [one for one in sent if one in self.passive] or list(self.passive)
                del self.passive[self._rng.choice(there)]
            self.passive[name] = None
        return []


def _some(rng: Random, names: Iterable[str], most: int) -> tuple[str, ...]:
    found = list(names)
    return tuple(rng.sample(found, min(most, len(found))))

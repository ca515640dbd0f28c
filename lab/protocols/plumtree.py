"""Plumtree on HyParView: payload along a spanning tree of the overlay, message ids over all other links.

After Leitão, Pereira and Rodrigues ("Epidemic Broadcast Trees", SRDS 2007). A member sends payload immediately to its
eager neighbours and announces its id to the lazy ones; a duplicate payload prunes the link, an announced id whose
payload does not arrive grafts it. `tree: false` floods: payload goes to all neighbours, and links are never pruned.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from msgspec import Struct

from lab.protocols.alarms import Alarms
from lab.protocols.contract import Believe, Broken, Delivered, Farewell, Joined, Published, Received, Send
from lab.protocols.hyparview import OPTIONS, HyParView
from overlay.effects import Effect
from overlay.env import Random
from overlay.inputs import Input

__all__ = ["Plumtree"]


class Payload(Struct, frozen=True):
    """A message with its content, and the number of hops so far."""

    id: str
    round: int
    size: int


class IHave(Struct, frozen=True):
    """Ids of messages, each with its hops."""

    ids: tuple[tuple[str, int], ...]


class TreePrune(Struct, frozen=True):
    """From now on send only ids on this link."""


class TreeGraft(Struct, frozen=True):
    """From now on send payload on this link, and this message now (empty: none)."""

    id: str


class Plumtree:
    """One member."""

    about: ClassVar = "Plumtree on HyParView: a broadcast tree in an overlay of partial views"
    defaults: ClassVar[Mapping[str, bool | int | str]] = {
        **OPTIONS,
        "tree": True,
        "lazy-delay": "50ms",
        "graft-timeout": "500ms",
        "graft-again": "250ms",
        "threshold": 7,
        "keep": 1000,
    }
    partial: ClassVar = True
    payloads: ClassVar = (Payload,)

    def __init__(self, me: str, rng: Random, options: Mapping[str, Any]) -> None:
        self._rng = rng
        self._o = options
        self._views = HyParView(me, rng, options, self._up, self._down)
        self._alarms = Alarms()
        self._eager: dict[str, None] = {}
        self._lazy: dict[str, None] = {}
        self._have: dict[str, tuple[int, int]] = {}
        """Message -> (round, size), the latest last."""
        self._missing: dict[str, list[tuple[str, int]]] = {}
        """Id of a missing message -> members that announced it, each with its round."""
        self._unsaid: dict[str, list[tuple[str, int]]] = {}
        """Lazy neighbour -> ids to announce to it."""
        self._said: Believe | None = None

    def deadline(self) -> int | None:
        """See `SimulatedProtocol`."""
        return self._alarms.deadline()

    def handle(self, input: Input, now: int) -> list[Effect]:
        """See `SimulatedProtocol`."""
        if "shuffle" not in self._alarms:
            self._alarms.set("shuffle", now + self._rng.randrange(self._o["shuffle"]))
        effects: list[Effect] = []
        match input:
            case Joined(seeds):
                effects += self._views.join(seeds)
            case Published(id, size):
                effects += [Delivered(id), *self._push(id, 0, size, "", now)]
            case Received(sender, message):
                effects += self._received(sender, message, now)
            case Broken(peer):
                effects += self._views.broken(peer)
            case Farewell():
                effects += self._views.leave()
        for name in self._alarms.past(now):
            effects += self._due(name, now)
        return effects + self._believed()

    def _received(self, sender: str, message: Any, now: int) -> list[Effect]:
        match message:
            case Payload(id, round, size):
                return self._payload(sender, id, round, size, now)
            case IHave(ids):
                for id, round in ids:
                    if id not in self._have:
                        self._missing.setdefault(id, []).append((sender, round))
                        if ("graft", id) not in self._alarms:
                            self._alarms.set(("graft", id), now + self._o["graft-timeout"])
                return []
            case TreePrune():
                if sender in self._eager:
                    self._move(sender, self._eager, self._lazy)
                return []
            case TreeGraft(id):
                if sender in self._lazy:
                    self._move(sender, self._lazy, self._eager)
                known = self._have.get(id)
                return [Send(sender, Payload(id, *known), reliable=True)] if known is not None else []
        return self._views.received(sender, message)

    def _payload(self, sender: str, id: str, round: int, size: int, now: int) -> list[Effect]:
        if id in self._have:
            if not self._o["tree"]:
                return []
            if sender in self._eager:
                self._move(sender, self._eager, self._lazy)
            return [Send(sender, TreePrune(), reliable=True)]
        if sender in self._lazy:
            self._move(sender, self._lazy, self._eager)
        shorter = self._shorter(id, sender, round + 1)
        return [Delivered(id), *self._push(id, round + 1, size, sender, now), *shorter]

    def _shorter(self, id: str, sender: str, round: int) -> list[Effect]:
        """Replace the link if the id was announced with far fewer hops ("optimization" in the paper)."""
        told = self._missing.pop(id, [])
        self._alarms.drop(("graft", id))
        for name, hops in told:
            if self._o["threshold"] and round - hops >= self._o["threshold"] and name in self._lazy:
                self._move(name, self._lazy, self._eager)
                if sender in self._eager:
                    self._move(sender, self._eager, self._lazy)
                return [Send(name, TreeGraft(""), reliable=True), Send(sender, TreePrune(), reliable=True)]
        return []

    def _push(self, id: str, round: int, size: int, sender: str, now: int) -> list[Effect]:
        self._have[id] = (round, size)
        while len(self._have) > self._o["keep"]:
            del self._have[next(iter(self._have))]
        for name in self._lazy:
            if name != sender:
                self._unsaid.setdefault(name, []).append((id, round))
        if self._unsaid and "lazy" not in self._alarms:
            self._alarms.set("lazy", now + self._o["lazy-delay"])
        payload = Payload(id, round, size)
        return [Send(name, payload, reliable=True) for name in self._eager if name != sender]

    def _due(self, name: Any, now: int) -> list[Effect]:
        if name == "shuffle":
            self._alarms.set("shuffle", now + self._o["shuffle"])
            return self._views.every_shuffle()
        if name == "lazy":
            unsaid, self._unsaid = self._unsaid, {}
            return [Send(to, IHave(tuple(ids)), reliable=True) for to, ids in unsaid.items() if to in self._lazy]
        id = name[1]
        told = self._missing.get(id)
        if not told:
            self._missing.pop(id, None)
            return []
        self._alarms.set(name, now + self._o["graft-again"])
        sender, _ = told.pop(0)
        if sender in self._lazy:
            self._move(sender, self._lazy, self._eager)
        return [Send(sender, TreeGraft(id), reliable=True)] if sender in self._eager else []

    # Neighbours

    def _up(self, name: str) -> list[Effect]:
        self._eager[name] = None
        return []

    def _down(self, name: str) -> list[Effect]:
        self._eager.pop(name, None)
        self._lazy.pop(name, None)
        self._unsaid.pop(name, None)
        for told in self._missing.values():
            told[:] = [one for one in told if one[0] != name]
        return []

    def _move(self, name: str, source: dict[str, None], to: dict[str, None]) -> None:
        del source[name]
        to[name] = None

    def _believed(self) -> list[Effect]:
        believed = Believe(neighbours=tuple(self._views.active), tree=tuple(self._eager))
        if believed == self._said:
            return []
        self._said = believed
        return [believed]

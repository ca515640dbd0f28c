"""Plain push-pull gossip: members by heartbeat counters, messages by exchange with a random member each round.

Membership after van Renesse, Minsky and Hayden ("A Gossip-Style Failure Detection Service", 1998): each round a member
increments its own counter and exchanges all counters with another one; a member whose counter does not change for
`fail` is removed. Messages after Demers et al. ("Epidemic Algorithms", 1987), with push and pull: each side sends what
the other lacks. The traffic of a member grows with the group, which the other two protocols of this folder avoid.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from msgspec import Struct

from lab.protocols.contract import Believe, Delivered, Joined, Published, Received, Send
from overlay.effects import Effect
from overlay.env import Random
from overlay.inputs import Input

__all__ = ["PushPull"]

Beats = tuple[tuple[str, int], ...]


class GossipExchange(Struct, frozen=True):
    """First message of a round: all counters, and the messages that the sender has."""

    beats: Beats
    have: tuple[str, ...]


class Answer(Struct, frozen=True):
    """Second message: the other side's counters and messages, and the messages that it lacks."""

    beats: Beats
    want: tuple[str, ...]


class Rumour(Struct, frozen=True):
    """A published message."""

    id: str
    size: int


class PushPull:
    """One member."""

    about: ClassVar = "plain push-pull gossip with heartbeat counters"
    defaults: ClassVar[Mapping[str, bool | int | str]] = {"every": "1s", "fail": "10s", "fanout": 1, "keep": 100}
    payloads: ClassVar = (Rumour,)

    def __init__(self, me: str, rng: Random, options: Mapping[str, Any]) -> None:
        self._me = me
        self._rng = rng
        self._every: int = options["every"]
        self._fail: int = options["fail"]
        self._fanout: int = options["fanout"]
        self._keep: int = options["keep"]
        self._beats: dict[str, int] = {}
        self._risen: dict[str, int] = {}
        """Member -> local time of its counter's last increase; removed members have none."""
        self._have: dict[str, int] = {}
        """Message -> size, the latest last."""
        self._beat = 0
        self._next: int | None = None
        self._said: tuple[str, ...] | None = None

    def deadline(self) -> int | None:
        """Time of the next round."""
        return self._next

    def handle(self, input: Input, now: int) -> list[Effect]:
        """See `SimulatedProtocol`."""
        if self._next is None:
            self._next = now + self._rng.randrange(self._every)
            self._beat = now  # counters of a later life are greater than those of an earlier one
        effects: list[Effect] = []
        match input:
            case Joined(seeds):
                effects += [Send(seed, self._exchange()) for seed in seeds]
            case Published(id, size):
                effects += self._got(id, size)
            case Received(sender, message):
                effects += self._received(sender, message, now)
        if now >= self._next:
            self._next += -(-(now - self._next + 1) // self._every) * self._every
            self._beat += 1
            effects += self._round(now)
        return effects + self._believed()

    def _round(self, now: int) -> list[Effect]:
        for name in [name for name, risen in self._risen.items() if now - risen >= self._fail]:
            del self._risen[name]
        others = list(self._risen)
        chosen = self._rng.sample(others, min(self._fanout, len(others)))
        exchange = self._exchange()
        return [Send(name, exchange) for name in chosen]

    def _exchange(self) -> GossipExchange:
        return GossipExchange(self._counters(), tuple(self._have))

    def _counters(self) -> Beats:
        return ((self._me, self._beat), *((name, self._beats[name]) for name in self._risen))

    def _received(self, sender: str, message: Any, now: int) -> list[Effect]:
        match message:
            case GossipExchange(beats, have):
                self._learn(beats, now)
                there = set(have)
                want = tuple(id for id in have if id not in self._have)
                rumours = [Send(sender, Rumour(id, size)) for id, size in self._have.items() if id not in there]
                return [Send(sender, Answer(self._counters(), want)), *rumours]
            case Answer(beats, want):
                self._learn(beats, now)
                return [Send(sender, Rumour(id, self._have[id])) for id in want if id in self._have]
            case Rumour(id, size):
                return self._got(id, size)
        return []

    def _learn(self, beats: Beats, now: int) -> None:
        for name, beat in beats:
            if name != self._me and beat > self._beats.get(name, -1):
                self._beats[name] = beat
                self._risen[name] = now

    def _got(self, id: str, size: int) -> list[Effect]:
        if id in self._have:
            return []
        self._have[id] = size
        while len(self._have) > self._keep:
            del self._have[next(iter(self._have))]
        return [Delivered(id)]

    def _believed(self) -> list[Effect]:
        members = tuple(sorted(self._risen))
        if members == self._said:
            return []
        self._said = members
        return [Believe(members=members, neighbours=members)]

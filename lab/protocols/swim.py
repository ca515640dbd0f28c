"""SWIM with Lifeguard: failure detection by random probes, membership updates piggybacked on them.

After Das, Gupta and Motivala ("SWIM: Scalable Weakly-consistent Infection-style Process Group Membership Protocol", DSN
2002). Once per period a member pings the next one of a shuffled list. Without an ack in time it asks `indirect` others
to ping it. Without any ack by the end of the period it suspects the member (`suspicion: false`: removes it), and a
suspect that does not refute in time is removed. Updates are piggybacked on pings and acks.

With `lifeguard`, after Dadgar, Phillips and Currey ("Lifeguard: Local Health Awareness for More Accurate Failure
Detection", DSN-W 2018): a member that seems slow itself waits longer (local health), a suspicion ends earlier the more
members share it, and a suspect learns of the suspicion by the ping.

Not in the papers: `aligned` begins all periods at multiples of the period, as the analysis assumes; `reconnect`
occasionally contacts a removed member, without which separated groups never merge again.
"""

from collections.abc import Mapping
from math import ceil, log2, log10
from typing import Any, ClassVar

from msgspec import Struct

from lab.protocols.alarms import Alarms
from lab.protocols.contract import Broken, Farewell, HangUp, Joined, Received, Send
from lab.protocols.swim_table import GONE, SUSPECT, MemberTable, Rumours, Update
from overlay.effects import Effect
from overlay.env import Random
from overlay.inputs import Input

__all__ = ["Swim"]

Updates = tuple[Update, ...]
HEALTH = 8
"""The worst local health (Lifeguard's S)."""
CONFIRMATIONS = 3
"""Number of other members sharing a suspicion that reduces it to the minimum (Lifeguard's K)."""
LONGEST = 6
"""Ratio of the longest suspicion to the shortest (Lifeguard's beta)."""


class Ping(Struct, frozen=True):
    """Probe of a member."""

    number: int
    updates: Updates


class PingRequest(Struct, frozen=True):
    """Request to ping another member."""

    number: int
    target: str
    updates: Updates


class Ack(Struct, frozen=True):
    """Answer to a ping, possibly on behalf of another member."""

    number: int
    updates: Updates


class Nack(Struct, frozen=True):
    """The requested member has not answered, but the sender is alive (Lifeguard)."""

    number: int


class Ask(Struct, frozen=True):
    """Request for the whole member table (on a connection)."""

    updates: Updates


class Tell(Struct, frozen=True):
    """The whole member table."""

    updates: Updates


class Swim:
    """One member."""

    about: ClassVar = (
        "SWIM with Lifeguard: failure detection and membership at a load that does not grow with the group"
    )
    defaults: ClassVar[Mapping[str, bool | int | str]] = {
        "period": "1s",
        "timeout": "200ms",
        "indirect": 3,
        "suspicion": True,
        "suspicion-factor": 5,
        "piggyback": 6,
        "spread": 3,
        "lifeguard": True,
        "aligned": False,
        "reconnect": "0s",
    }

    def __init__(self, me: str, rng: Random, options: Mapping[str, Any]) -> None:
        self._me = me
        self._rng = rng
        self._o = options
        self._table = MemberTable(me, rng)
        self._rumours = Rumours(options["piggyback"])
        self._alarms = Alarms()
        self._seeds: tuple[str, ...] = ()
        self._health = 0
        self._number = 0
        self._target = ""
        """Target of this period's probe; empty if it was answered."""
        self._probe = 0
        """The number of this period's probe."""
        self._nacks = 0
        """Answers of any kind that are still expected from the members asked to ping."""
        self._asked: dict[int, tuple[str, int]] = {}
        """Number of a ping sent on request -> (the requesting member, the number of its request)."""
        self._next_reconnect = 0

    def deadline(self) -> int | None:
        """See `SimulatedProtocol`."""
        return self._alarms.deadline()

    def handle(self, input: Input, now: int) -> list[Effect]:
        """See `SimulatedProtocol`."""
        if not self._number:
            self._number = 1
            self._alarms.set("period", self._first(now))
        effects: list[Effect] = []
        match input:
            case Joined(seeds):
                self._seeds = seeds
                effects += self._ask(seeds)
            case Received(sender, message):
                effects += self._received(sender, message, now)
            case Broken(peer) if peer in self._seeds and not self._table.alive:
                self._alarms.set("ask", now + self._o["period"])
            case Farewell():
                gone = Update(self._me, GONE, self._table.incarnation)
                effects += [Send(name, Ping(0, (gone,))) for name in self._pick(self._o["indirect"])]
        for name in self._alarms.past(now):
            effects += self._due(name, now)
        return effects + self._table.believed()

    # Periods

    def _first(self, now: int) -> int:
        period: int = self._o["period"]
        return -(-now // period) * period if self._o["aligned"] else now + self._rng.randrange(period)

    def _due(self, name: Any, now: int) -> list[Effect]:
        if name == "period":
            return [*self._period_ends(now), *self._period_begins(now)]
        if name == "timeout":
            return self._ask_others()
        if name == "ask":
            return self._ask(self._seeds) if not self._table.alive else []
        if name[0] == "nack":
            sender, number = self._asked.get(name[1], ("", 0))
            return [Send(sender, Nack(number))] if sender else []
        self._news(Update(name[1], GONE, self._table.incarnation_of(name[1])), now)
        return []

    def _period_ends(self, now: int) -> list[Effect]:
        if not self._target:
            return []
        target, self._target = self._target, ""
        self._worse(1 + self._nacks)
        self._nacks = 0
        incarnation = self._table.incarnation_of(target)
        if self._table.status(target) is not None:
            self._news(Update(target, SUSPECT if self._o["suspicion"] else GONE, incarnation), now, by=self._me)
        return []

    def _period_begins(self, now: int) -> list[Effect]:
        slow = self._health + 1
        period: int = self._o["period"] * slow
        self._alarms.set("period", (now // period + 1) * period if self._o["aligned"] else now + period)
        self._asked = {number: one for number, one in self._asked.items() if ("nack", number) in self._alarms}
        effects = self._reconnect(now)
        target = self._table.next_to_probe()
        if not target:
            return effects
        self._number += 1
        self._probe, self._target = self._number, target
        self._alarms.set("timeout", now + min(self._o["timeout"] * slow, period - 1))
        return [*effects, Send(target, Ping(self._probe, self._updates_for(target)))]

    def _ask_others(self) -> list[Effect]:
        if not self._target:
            return []
        others = self._pick(self._o["indirect"], self._target)
        self._nacks = len(others) if self._o["lifeguard"] else 0
        updates = self._updates()
        return [Send(name, PingRequest(self._probe, self._target, updates)) for name in others]

    def _reconnect(self, now: int) -> list[Effect]:
        pause: int = self._o["reconnect"]
        if not pause or now < self._next_reconnect or not self._table.gone:
            return []
        self._next_reconnect = now + pause
        return [Send(self._rng.choice(list(self._table.gone)), Ask(self._table.all()), reliable=True)]

    # Messages

    def _received(self, sender: str, message: Any, now: int) -> list[Effect]:
        fresh = isinstance(message, Tell) and not self._table.alive  # a joiner learns nothing that is new to others
        for update in getattr(message, "updates", ()):
            self._news(update, now, by=sender, tell=not fresh)
        match message:
            case Ping(number) if number:
                if self._table.status(sender) is None and sender not in self._table.gone:
                    self._news(Update(sender, 0, 0), now)
                return [Send(sender, Ack(number, self._updates_for(sender)))]
            case PingRequest(number, target):
                self._number += 1
                self._asked[self._number] = sender, number
                if self._o["lifeguard"]:
                    self._alarms.set(("nack", self._number), now + self._o["timeout"])
                return [Send(target, Ping(self._number, self._updates_for(target)))]
            case Ack(number):
                return self._answered(number)
            case Nack(number) if number == self._probe and self._nacks:
                self._nacks -= 1
            case Ask():
                return [Send(sender, Tell(self._table.all()), reliable=True)]
            case Tell():
                self._tell(Update(self._me, 0, self._table.incarnation))
                return [HangUp(sender)]
        return []

    def _answered(self, number: int) -> list[Effect]:
        if number == self._probe and self._target:
            self._target, self._nacks = "", 0
            self._alarms.drop("timeout")
            self._health = max(0, self._health - 1)
        elif number in self._asked:
            sender, theirs = self._asked.pop(number)
            self._alarms.drop(("nack", number))
            return [Send(sender, Ack(theirs, self._updates()))]
        return []

    def _ask(self, seeds: tuple[str, ...]) -> list[Effect]:
        return [Send(seed, Ask(self._table.all()), reliable=True) for seed in seeds]

    # News

    def _news(self, update: Update, now: int, by: str = "", *, tell: bool = True) -> None:
        """Apply an update; gossip it if it is new, refute it if it is about this member."""
        if update.member == self._me:
            if self._table.refutes(update):
                self._worse(1)
                self._tell(Update(self._me, 0, self._table.incarnation))
            return
        suspicion = ("suspect", update.member)
        if self._table.takes(update):
            if tell:
                self._tell(update)
            self._alarms.drop(suspicion)
            if update.status == SUSPECT:
                self._table.doubters[update.member] = {by: None} if by else {}
                self._alarms.set(suspicion, now + self._patience(update.member))
                self._table.suspected_at[update.member] = now
        elif self._table.shares(update) and by and self._o["lifeguard"]:
            doubters = self._table.doubters[update.member]
            if by not in doubters and len(doubters) <= CONFIRMATIONS:
                doubters[by] = None
                self._tell(update)
                self._alarms.set(suspicion, self._table.suspected_at[update.member] + self._patience(update.member))

    def _patience(self, member: str) -> int:
        """Duration of a suspicion before its subject is removed."""
        size = len(self._table.alive) + 1
        least = int(self._o["suspicion-factor"] * max(1.0, log10(max(1, size))) * self._o["period"])
        if not self._o["lifeguard"] or size <= CONFIRMATIONS + 1:
            return least
        more = max(0, len(self._table.doubters[member]) - 1)
        share = log2(more + 1) / log2(CONFIRMATIONS + 1)
        return max(least, int(LONGEST * least - (LONGEST - 1) * least * share))

    def _tell(self, update: Update) -> None:
        self._rumours.add(update, ceil(self._o["spread"] * log10(len(self._table.alive) + 2)))

    def _updates(self) -> Updates:
        return self._rumours.take()

    def _updates_for(self, target: str) -> Updates:
        """Lifeguard's buddy system: a ping tells a suspect of the suspicion. A member that was removed is told when it
        pings."""
        updates = self._updates()
        if target in self._table.gone:
            return (Update(target, GONE, self._table.gone[target]), *updates)
        if self._o["lifeguard"] and self._table.status(target) == SUSPECT:
            told = Update(target, SUSPECT, self._table.incarnation_of(target))
            return (told, *(update for update in updates if update.member != target))
        return updates

    def _worse(self, by: int) -> None:
        if self._o["lifeguard"]:
            self._health = min(HEALTH, self._health + by)

    def _pick(self, number: int, but: str = "") -> list[str]:
        others = [name for name in self._table.alive if name != but]
        return self._rng.sample(others, min(number, len(others)))

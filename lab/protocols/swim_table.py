"""A SWIM member's knowledge of the others, and the updates that it still has to gossip. Owns which update overrides
which.
"""

from msgspec import Struct

from lab.protocols.contract import Believe
from overlay.effects import Effect
from overlay.env import Random

__all__ = ["ALIVE", "GONE", "SUSPECT", "MemberTable", "Rumours", "Update"]

ALIVE, SUSPECT, GONE = 0, 1, 2


class Update(Struct, frozen=True):
    """An update about a member. Within one incarnation, which only the member itself increments, the greater status
    wins."""

    member: str
    status: int
    incarnation: int


class MemberTable:
    """Members by name."""

    def __init__(self, me: str, rng: Random) -> None:
        self._me = me
        self._rng = rng
        self.incarnation = 0
        """Incarnation of this member."""
        self.alive: dict[str, tuple[int, int]] = {}
        """Member -> (status, incarnation), including suspects."""
        self.gone: dict[str, int] = {}
        """Removed member -> its incarnation then."""
        self.doubters: dict[str, dict[str, None]] = {}
        """Suspect -> members that suspect it."""
        self.suspected_at: dict[str, int] = {}
        self._queue: list[str] = []
        self._said: Believe | None = None
        self._stale = False

    def status(self, member: str) -> int | None:
        """ALIVE or SUSPECT; None: the member is unknown or removed."""
        found = self.alive.get(member)
        return found[0] if found is not None else None

    def incarnation_of(self, member: str) -> int:
        """The latest known incarnation."""
        found = self.alive.get(member)
        return found[1] if found is not None else self.gone.get(member, 0)

    def takes(self, update: Update) -> bool:
        """Apply an update about another member; return whether it was new."""
        member, status, incarnation = update.member, update.status, update.incarnation
        known = self.alive.get(member)
        if known is None:
            before = self.gone.get(member, -1)
            if incarnation <= before:
                return False
            if status == GONE:
                self.gone[member] = incarnation
                return True
        elif (incarnation, status) <= (known[1], known[0]):
            return False
        self.doubters.pop(member, None)
        self._stale = True
        if status == GONE:
            del self.alive[member]
            self.gone[member] = incarnation
            return True
        self.gone.pop(member, None)
        if known is None:  # at a random place in the current round, so that all are probed equally often
            self._queue.insert(self._rng.randrange(len(self._queue) + 1), member)
        self.alive[member] = (status, incarnation)
        return True

    def shares(self, update: Update) -> bool:
        """Whether an update only confirms that a suspect is suspected."""
        return update.status == SUSPECT and self.alive.get(update.member) == (SUSPECT, update.incarnation)

    def refutes(self, update: Update) -> bool:
        """Whether an update about this member must be refuted; increments the own incarnation beyond the update's."""
        if update.status == ALIVE or update.incarnation < self.incarnation:
            return False
        self.incarnation = update.incarnation + 1
        return True

    def next_to_probe(self) -> str:
        """The next member of the shuffled round; empty if there is none."""
        while True:
            while self._queue:
                name = self._queue.pop()
                if name in self.alive:
                    return name
            if not self.alive:
                return ""
            self._queue = list(self.alive)
            self._rng.shuffle(self._queue)

    def all(self) -> tuple[Update, ...]:
        """The whole table as updates."""
        own = Update(self._me, ALIVE, self.incarnation)
        there = (Update(name, status, incarnation) for name, (status, incarnation) in self.alive.items())
        return (own, *there, *(Update(name, GONE, incarnation) for name, incarnation in self.gone.items()))

    def believed(self) -> list[Effect]:
        """The effect that reports the table, if it has changed."""
        if not self._stale:
            return []
        self._stale = False
        members = tuple(sorted(self.alive))
        suspects = tuple(name for name in members if self.alive[name][0] == SUSPECT)
        believed = Believe(members=members, neighbours=members, suspects=suspects)
        if believed == self._said:
            return []
        self._said = believed
        return [believed]


class Rumours:
    """Updates piggybacked on other messages, each a limited number of times: the least often sent first, and of these
    the latest."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._left: dict[str, tuple[int, int, Update]] = {}
        """Member -> (times sent, times left to send, update)."""

    def add(self, update: Update, times: int) -> None:
        """Gossip this update instead of older ones about the member."""
        self._left.pop(update.member, None)
        self._left[update.member] = (0, times, update)

    def take(self) -> tuple[Update, ...]:
        """The updates for the next message."""
        if not self._left:
            return ()
        latest = list(self._left.values())[::-1]
        chosen = sorted(latest, key=lambda one: one[0])[: self._most]
        for told, left, update in chosen:
            if left > 1:
                self._left[update.member] = (told + 1, left - 1, update)
            else:
                del self._left[update.member]
        return tuple(update for _, _, update in chosen)

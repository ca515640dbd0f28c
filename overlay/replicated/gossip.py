"""How changes of replicated states spread: along a broadcast tree that grows by itself, mended by digests.

Plumtree (Leitão, Pereira, Rodrigues: "Epidemic Broadcast Trees", SRDS 2007), on states instead of messages. News go
at once to the eager neighbours; a peer that gets nothing new over a link prunes it. A few lazy neighbours are told
digests; a peer that still differs from one after the time that the tree needs asks for what it lacks, and if there is
anything, the tree has failed and the link is grafted back. On new connections, and now and then with a random
neighbour, digests of all states are compared.

Knows neighbours by name and connection number, and channels by their contract; who is a neighbour is decided in
`overlay.mesh.mesh`. Lazy announcements go to `announce_fanout` neighbours and not to all (as in the paper), so that a
change costs a full mesh of N peers O(N) messages, not O(N²).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from overlay.config import PeerName
from overlay.effects import Effect, Log, SendTcp
from overlay.env import SECOND, Random
from overlay.errors import RemoteError
from overlay.replicated.channel import Channel
from overlay.timers import Timers
from overlay.tuning import STANDARD, Tuning
from overlay.wire.codec import Delta, Vector
from overlay.wire.envelopes import DigestKind, Digests, Graft, News, Prune, Want
from overlay.wire.origins import OriginDelta, OriginVector
from overlay.wire.policy import PolicyDelta, PolicyVector
from overlay.wire.ring import RingDelta, RingVector
from overlay.wire.topology import TopologyDelta, TopologyVector

HISTORY: Final = 128
"""Past digests of each channel that are remembered: who announces one of them knows nothing new."""

GossipMessage = News | Digests | Want | Prune | Graft

_VECTOR_OF: Final[dict[type[Delta], type[Vector]]] = {
    TopologyDelta: TopologyVector,
    RingDelta: RingVector,
    OriginDelta: OriginVector,
    PolicyDelta: PolicyVector,
}

_FLUSH: Final = "flush"
_ANNOUNCE: Final = "announce"
_ROUND: Final = "round"
_SUSPECTS: Final = "suspects"


@dataclass(slots=True, eq=False)
class GossipNeighbour:
    """What gossip keeps of one established connection."""

    name: PeerName
    conn: int
    eager: bool
    pending: list[int] = field(default_factory=list)
    """Which news go to it with the next flush: positions in `Gossip._fresh`, in their order."""
    announced: dict[str, int] = field(default_factory=dict)
    """The digest of each channel that this neighbour was last known to have."""
    suspects: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Digests it announced that differ from ours, and since when."""
    wanted_at: dict[str, int] = field(default_factory=dict)
    asks: bool = False
    """It compares on hearing our opening digests, so that we need not compare on hearing its."""
    skipped: bool = False
    """It was lazy when there were news since the last announcement, so it may lack them."""
    prune_from: int = 0
    """Before this time it is not pruned."""


class Gossip:
    """Spreads the channels' news among this peer's neighbours."""

    def __init__(
        self, channels: Sequence[Channel], rng: Random, round_interval: int, flush_delay: int,
        tuning: Tuning = STANDARD,
    ) -> None:  # fmt: skip
        self._tuning = tuning
        self._channels = {channel.name: channel for channel in sorted(channels, key=lambda channel: channel.name)}
        self._rng = rng
        self._round_interval = round_interval
        self._flush_delay = flush_delay
        self._neighbours: dict[PeerName, GossipNeighbour] = {}
        self._fresh: list[tuple[str, Delta]] = []
        """News since the last flush, with their channels. Neighbours to which the same go share one message."""
        self.timers: Timers[str] = Timers()
        self._unannounced: dict[str, None] = {}
        self._kinds: dict[str, type[Vector]] = {}
        self._history: dict[str, dict[int, None]] = {name: {} for name in self._channels}
        self._changed_at = dict.fromkeys(self._channels, 0)
        self._pushed_at = dict.fromkeys(self._channels, -SECOND)
        """When news of each channel came over the tree last."""
        self._compared_at = dict.fromkeys(self._channels, -self._tuning.graft_delay)
        self._awaited: dict[str, tuple[PeerName, int]] = {}
        """Which peer was asked last for the whole difference of a channel, and when; until something came of it."""
        self._announce_by = 0
        self._announce_delay = self._tuning.announce_delay
        self._announced_at = -self._tuning.announce_pause
        self._broken_until = 0
        self._flush_gap = flush_delay
        self._flushed_at = -self._tuning.flush_gap_max
        self.conflicts: dict[tuple[PeerName, str], str] = {}
        """(neighbour, channel) whose states cannot be merged, and why; until they can."""

    # --- neighbours -----------------------------------------------------------------------------------------------

    def add_neighbour(self, name: PeerName, conn: int, joins: bool, now: int, asks: bool = False) -> list[Effect]:
        """A connection is established. `joins`: the peer was out of reach so far, so the link carries the tree.

        `asks`: where both sides open with a comparison, it is the other one that asks.
        """
        eager = joins or not self._neighbours
        neighbour = self._neighbours[name] = GossipNeighbour(name, conn, eager)
        neighbour.asks = asks and eager
        neighbour.prune_from = now + self._tuning.prune_grace
        if len(self._neighbours) == 1:
            self._schedule_round(now)
        return [self._digests(neighbour, DigestKind.OPENING if eager else DigestKind.ANNOUNCE)]

    def remove_neighbour(self, name: PeerName, now: int) -> list[Effect]:
        """The connection is gone, with all that was to be sent on it."""
        self._neighbours.pop(name)
        for key in [key for key in self.conflicts if key[0] == name]:
            del self.conflicts[key]
        for channel in [channel for channel, (asked, _) in self._awaited.items() if asked == name]:
            del self._awaited[channel]
        lazy = self._lazy()
        if not lazy or len(lazy) < len(self._neighbours):
            return []
        return self._graft(self._rng.choice(lazy), now)

    def is_eager(self, name: PeerName) -> bool:
        """Whether news go to this neighbour at once."""
        return self._neighbours[name].eager

    @property
    def eager(self) -> tuple[PeerName, ...]:
        """The neighbours to which news go at once, sorted."""
        return tuple(sorted(name for name, neighbour in self._neighbours.items() if neighbour.eager))

    # --- inputs ---------------------------------------------------------------------------------------------------

    def broadcast(self, channel: str, delta: Delta, now: int) -> None:
        """Spread a change that the channel has merged already."""
        self._push(channel, delta, None, now)

    def flush(self) -> list[Effect]:
        """Send what is pending, to everybody: a farewell cannot wait."""
        self.timers.cancel(_FLUSH)
        effects: list[Effect] = []
        made: dict[tuple[int, ...], News] = {}
        for neighbour in self._neighbours.values():
            if neighbour.pending:
                numbers = tuple(neighbour.pending)
                neighbour.pending.clear()
                news = made.get(numbers)
                if news is None:
                    news = made[numbers] = self._news_of(numbers)
                effects.append(SendTcp(neighbour.conn, news))
        self._fresh.clear()
        return effects

    def _news_of(self, numbers: tuple[int, ...]) -> News:
        by_channel: dict[str, list[Delta]] = {}
        for number in numbers:
            channel, delta = self._fresh[number]
            by_channel.setdefault(channel, []).append(delta)
        return News(
            tuple(
                (channel, deltas[0] if len(deltas) == 1 else self._channels[channel].join(*deltas))
                for channel, deltas in sorted(by_channel.items())
            )
        )

    def farewell(self, channel: str, delta: Delta) -> list[Effect]:
        """Send this change to every neighbour at once, eager or not, with all that is pending."""
        for neighbour in self._neighbours.values():
            neighbour.pending.append(len(self._fresh))
        self._fresh.append((channel, delta))
        return self.flush()

    def receive(self, name: PeerName, message: GossipMessage, now: int) -> list[Effect]:
        """One gossip message of a neighbour."""
        neighbour = self._neighbours[name]
        match message:
            case News():
                return self._receive_news(neighbour, message, now)
            case Digests():
                return self._receive_digests(neighbour, message, now)
            case Want():
                return self._receive_want(neighbour, message, now)
            case Graft():
                neighbour.eager = True
                self._broken(now)
                return []
            case Prune():
                if any(other.eager for other in self._neighbours.values() if other is not neighbour):
                    neighbour.eager = False
                    return []
                # Our only link of the tree: without it nothing would reach us but by announcements.
                return self._graft(neighbour, now)

    def wake(self, now: int) -> list[Effect]:
        """Do what is due."""
        effects: list[Effect] = []
        while (key := self.timers.pop(now)) is not None:
            if key == _FLUSH:
                self._flushed_at = now
                effects += self.flush()
            elif key == _ANNOUNCE:
                effects += self._announce(now)
            elif key == _ROUND:
                effects += self._round(now)
            else:
                effects += self._check_suspects(now)
        return effects

    # --- news -----------------------------------------------------------------------------------------------------

    def _receive_news(self, sender: GossipNeighbour, message: News, now: int) -> list[Effect]:
        effects: list[Effect] = []
        fresh = total = 0
        clash = flowing = False
        for name, delta in message.items:
            channel = self._channels.get(name)
            if channel is None:
                continue
            total += _weight(delta)
            try:
                self._check_kind(name, _VECTOR_OF[type(delta)])
                news, consequences = channel.merge(delta, now)
            except RemoteError as error:
                clash = True
                effects += self._mark_conflict(sender, name, str(error))
                continue
            self.conflicts.pop((sender.name, name), None)
            effects += consequences
            if message.answer:
                self._answered(sender, name)
                sender.wanted_at.pop(name, None)
                sender.prune_from = max(sender.prune_from, now + self._tuning.prune_grace)
            if news is not None:
                fresh += _weight(news)
                # While the tree brings news all the time an answer is but ahead of it.
                flowing = flowing or now - self._pushed_at[name] < self._tree_time
                self._push(name, news, sender, now)
                if not message.answer:
                    self._pushed_at[name] = now
        if message.answer:
            failed = fresh and not sender.eager and not flowing
            return effects + self._graft(sender, now) if failed else effects
        if 2 * fresh >= total:
            sender.eager = sender.eager or total > 0
        elif not clash:
            # Most of it came over another link first: this one is not of the tree.
            effects += self._prune(sender, now)
        return effects

    def _check_kind(self, channel: str, kind: type[Vector]) -> None:
        """No channel has to cope with the structs of another one."""
        if channel not in self._kinds:
            self._kinds[channel] = type(self._channels[channel].vector())
        if kind is not self._kinds[channel]:
            raise RemoteError(f"{kind.__name__} or its delta found, {self._kinds[channel].__name__} expected")

    def _mark_conflict(self, sender: GossipNeighbour, channel: str, text: str) -> list[Effect]:
        key = (sender.name, channel)
        before, self.conflicts[key] = self.conflicts.get(key), text
        if before == text:
            return []
        return [Log("warning", f"channel {channel} conflicts with that of {sender.name}: {text}")]

    def _prune(self, sender: GossipNeighbour, now: int) -> list[Effect]:
        others = any(other.eager for other in self._neighbours.values() if other is not sender)
        if not others or now < sender.prune_from:
            return []
        sender.eager = False
        sender.prune_from = now + self._tuning.prune_pause
        return [SendTcp(sender.conn, Prune())]

    def _push(self, name: str, delta: Delta, sender: GossipNeighbour | None, now: int) -> None:
        waiting = False
        number = len(self._fresh)
        for neighbour in self._neighbours.values():
            if neighbour is sender:
                continue
            if not neighbour.eager:
                neighbour.skipped = True
                continue
            neighbour.pending.append(number)
            waiting = True
        if waiting:
            self._fresh.append((name, delta))
            if _FLUSH not in self.timers:
                self._schedule_flush(now)
        self._note_change(name, now)

    def _schedule_flush(self, now: int) -> None:
        pause = now - self._flushed_at
        if pause < 2 * self._flush_gap:
            self._flush_gap = min(2 * self._flush_gap, self._tuning.flush_gap_max)
        elif pause >= self._tuning.flush_pause * self._flush_gap:
            self._flush_gap = self._flush_delay
        self.timers.set(_FLUSH, max(now + self._flush_delay, self._flushed_at + self._flush_gap))

    def _note_change(self, name: str, now: int) -> None:
        history = self._history[name]
        digest = self._channels[name].digest()
        history.pop(digest, None)
        history[digest] = None
        if len(history) > HISTORY:
            del history[next(iter(history))]
        self._changed_at[name] = now
        self._unannounced[name] = None
        self._schedule_announcement(now)

    def _schedule_announcement(self, now: int) -> None:
        if _ANNOUNCE not in self.timers:
            if now - self._announced_at < self._tuning.announce_pause:
                self._announce_delay = min(2 * self._announce_delay, self._tuning.announce_delay_max)
            else:
                self._announce_delay = self._tuning.announce_delay
            self._announce_by = now + self._tuning.announce_latest * self._announce_delay
        self.timers.set(_ANNOUNCE, min(now + self._announce_delay, self._announce_by))

    # --- digests --------------------------------------------------------------------------------------------------

    def _lazy(self) -> list[GossipNeighbour]:
        return [neighbour for neighbour in self._neighbours.values() if not neighbour.eager]

    def _digests(self, neighbour: GossipNeighbour, kind: DigestKind) -> SendTcp:
        items = tuple((name, channel.digest()) for name, channel in self._channels.items())
        return SendTcp(neighbour.conn, Digests(kind, items))

    def _broken(self, now: int) -> None:
        """A branch of the tree is missing: others that were skipped may be cut off just the same."""
        self._broken_until = now + self._tuning.graft_broken
        if any(neighbour.skipped for neighbour in self._neighbours.values()):
            self._unannounced.update(dict.fromkeys(self._channels))
            self._schedule_announcement(now)

    def _announce(self, now: int) -> list[Effect]:
        self._announced_at = now
        items = tuple((name, self._channels[name].digest()) for name in sorted(self._unannounced))
        self._unannounced.clear()
        behind = [
            neighbour
            for neighbour in self._neighbours.values()
            if neighbour.skipped and any(neighbour.announced.get(name) != digest for name, digest in items)
        ]
        # One that has become eager in between is told in any case: no later push repeats what it was not sent.
        chosen = [neighbour for neighbour in behind if neighbour.eager]
        lazy = [neighbour for neighbour in behind if not neighbour.eager]
        everybody = len(lazy) <= self._tuning.announce_fanout or now < self._broken_until
        chosen += lazy if everybody else self._rng.sample(lazy, self._tuning.announce_fanout)
        for neighbour in chosen:
            neighbour.announced.update(items)
            neighbour.skipped = False
        message = Digests(DigestKind.ANNOUNCE, items)
        return [SendTcp(neighbour.conn, message) for neighbour in chosen]

    def _schedule_round(self, now: int) -> None:
        interval = self._round_interval
        self.timers.set(_ROUND, now + self._rng.randrange(interval * 3 // 4, interval * 5 // 4 + 1))

    def _round(self, now: int) -> list[Effect]:
        if not self._neighbours:
            return []
        self._schedule_round(now)
        chosen = self._rng.choice(list(self._neighbours.values()))
        return [self._digests(chosen, DigestKind.ROUND)]

    def _receive_digests(self, sender: GossipNeighbour, message: Digests, now: int) -> list[Effect]:
        effects: list[Effect] = []
        for name, digest in message.items:
            channel = self._channels.get(name)
            if channel is None:
                continue
            sender.announced[name] = digest
            if digest == channel.digest():
                sender.suspects.pop(name, None)
                self.conflicts.pop((sender.name, name), None)
            elif message.kind == DigestKind.OPENING and sender.asks:
                pass
            elif message.kind == DigestKind.ROUND or (
                message.kind == DigestKind.OPENING and not self._awaits(name, now)
            ):
                effects.append(self._ask(sender, Want(name, channel.vector(), True), now))
            elif digest not in self._history[name] and name not in sender.suspects:
                self._suspect(sender, name, digest, now)
        return effects

    def _suspect(self, neighbour: GossipNeighbour, channel: str, digest: int, now: int) -> None:
        neighbour.suspects[channel] = (digest, now)
        self.timers.set_earlier(_SUSPECTS, now + self._tree_time)

    @property
    def _tree_time(self) -> int:
        """How long news take to reach everybody."""
        return self._tuning.graft_delay + self._tuning.graft_hops * self._flush_gap

    def _check_suspects(self, now: int) -> list[Effect]:
        """Ask those whose announced difference has lasted for long enough; the others are looked at again later."""
        effects: list[Effect] = []
        due: int | None = None
        for neighbour in self._neighbours.values():
            for channel, (digest, since) in list(neighbour.suspects.items()):
                settled = digest == self._channels[channel].digest() or digest in self._history[channel]
                if settled or (neighbour.name, channel) in self.conflicts:
                    del neighbour.suspects[channel]
                    continue
                ready_at = self._ready_at(channel, since)
                if now < ready_at:
                    due = ready_at if due is None or ready_at < due else due
                    continue
                del neighbour.suspects[channel]
                self._compared_at[channel] = now
                # Where many change at once, each peer passes through states that no other does: what was announced
                # proves nothing. Only an answer that holds news shows that the tree has failed (`_receive_news`).
                items = ((channel, self._channels[channel].digest()),)
                effects.append(SendTcp(neighbour.conn, Digests(DigestKind.ROUND, items)))
        if due is not None:
            self.timers.set(_SUSPECTS, due)
        return effects

    def _ready_at(self, channel: str, since: int) -> int:
        """When a difference that was announced at `since` has lasted for long enough, as it looks now."""
        wait = self._tree_time
        quiet_at = min(self._changed_at[channel] + wait, since + self._tuning.graft_patience * wait)
        return max(since + wait, quiet_at, self._compared_at[channel] + wait)

    def _graft(self, neighbour: GossipNeighbour, now: int) -> list[Effect]:
        neighbour.eager = True
        self._broken(now)
        return [SendTcp(neighbour.conn, Graft()), self._digests(neighbour, DigestKind.ROUND)]

    def _ask(self, neighbour: GossipNeighbour, want: Want, now: int) -> SendTcp:
        neighbour.wanted_at[want.channel] = now
        self._awaited[want.channel] = (neighbour.name, now)
        return SendTcp(neighbour.conn, want)

    def _awaits(self, channel: str, now: int) -> bool:
        """Whether another neighbour is telling us all about this channel just now: what it says need not come twice.

        Who differs all the same is found by the digest that it has sent, a moment later.
        """
        _, at = self._awaited.get(channel, ("", now - self._tuning.want_pause))
        return now - at < self._tuning.want_pause

    def _answered(self, neighbour: GossipNeighbour, channel: str) -> None:
        if self._awaited.get(channel, ("", 0))[0] == neighbour.name:
            del self._awaited[channel]

    def _receive_want(self, sender: GossipNeighbour, message: Want, now: int) -> list[Effect]:
        channel = self._channels.get(message.channel)
        if channel is None:
            return []
        self._answered(sender, message.channel)
        effects: list[Effect] = []
        try:
            self._check_kind(message.channel, type(message.vector))
            delta = channel.missing(message.vector, message.named)
        except RemoteError as error:
            return self._mark_conflict(sender, message.channel, str(error))
        if delta is not None:
            effects.append(SendTcp(sender.conn, News(((message.channel, delta),), answer=True)))
        # Whatever is pending the answer says too, or the sender's vector has said it.
        sender.pending = [number for number in sender.pending if self._fresh[number][0] != message.channel]
        sender.prune_from = max(sender.prune_from, now + self._tuning.prune_grace)
        asked = sender.wanted_at.get(message.channel)
        if message.echo and (asked is None or now - asked >= self._tuning.want_pause):
            effects += self._ask_back(sender, message, delta is not None, now)
        return effects

    def _ask_back(self, sender: GossipNeighbour, message: Want, differs: bool, now: int) -> list[Effect]:
        """Ask for what the vector has shown to be lacked here; all, if it shows no difference: pieces are ahead."""
        name, channel = message.channel, self._channels[message.channel]
        lacked = channel.lacking(message.vector)
        if lacked is None and differs:
            return []
        if self._awaits(name, now):
            self._suspect(sender, name, sender.announced.get(name, 0), now)
            return []
        want = Want(name, channel.vector(), False) if lacked is None else Want(name, lacked, False, True)
        return [self._ask(sender, want, now)]


def _weight(delta: Delta) -> int:
    """How many things a delta tells."""
    if isinstance(delta, TopologyDelta):
        return len(delta.records)
    if isinstance(delta, PolicyDelta):
        return len(delta.spans)
    return len(delta.states) if isinstance(delta, OriginDelta) else len(delta.tokens)

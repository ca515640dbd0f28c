"""Spreads changes of replicated states along a self-organising broadcast tree, which is repaired by digests.

Plumtree (Leitão, Pereira, Rodrigues: "Epidemic Broadcast Trees", SRDS 2007), on states instead of messages. Changes go
at once to the eager neighbours; a peer that receives nothing new over a link prunes it. Digests go to a few lazy
neighbours. If a digest still differs after the time that the tree needs, the peer requests the difference; if the reply
contains something new, the tree has failed and the link is grafted back. Digests of all states are compared on new
connections, and periodically with a random neighbour.

Knows neighbours by name and connection number, and channels by their contract; `overlay.mesh.mesh` decides which peers
are neighbours. Lazy announcements go to `announce_fanout` neighbours and not to all (as in the paper), so that a change
costs a full mesh of N peers O(N) messages, not O(N²).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from overlay.config import PeerName
from overlay.effects import Effect, Log, SendTcp
from overlay.env import SECOND, Random
from overlay.errors import RemoteError
from overlay.replicated.channel import Channel
from overlay.replicated.parts import MOST_PUSHED, Place, part_of, size
from overlay.timers import Timers
from overlay.tuning import STANDARD, Tuning
from overlay.wire.codec import Delta, Vector
from overlay.wire.envelopes import DigestKind, Digests, Graft, News, Prune, Want
from overlay.wire.origins import OriginDelta, OriginVector
from overlay.wire.policy import PolicyDelta, PolicyVector
from overlay.wire.ring import RingDelta, RingVector
from overlay.wire.topology import TopologyDelta, TopologyVector

HISTORY: Final = 128
"""Number of past digests remembered per channel: a neighbour that announces one of them has nothing new."""

SERIES: Final = 60 * SECOND
"""Nanoseconds after which an answer that has stopped between two parts begins again."""

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
    """The gossip state of one established connection."""

    name: PeerName
    conn: int
    eager: bool
    pending: list[int] = field(default_factory=list)
    """Deltas to send with the next flush: positions in `Gossip._fresh`, ascending."""
    announced: dict[str, int] = field(default_factory=dict)
    """The last known digest of each channel on this neighbour."""
    suspects: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Announced digests that differ from ours, and since when."""
    wanted_at: dict[str, int] = field(default_factory=dict)
    asks: bool = False
    """The neighbour requests the difference after our opening digests, so we need not do so after its."""
    skipped: bool = False
    """It was lazy when a change was pushed after the last announcement, so it may lack that change."""
    prune_from: int = 0
    """It is not pruned before this time."""
    series: dict[str, tuple[Place, int]] = field(default_factory=dict)
    """Per channel, the end of the last part of an answer that has more parts, and when it was sent."""


class Gossip:
    """Spreads the channels' changes among this peer's neighbours."""

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
        """Changes since the last flush, with their channels. Neighbours that get the same changes share one message."""
        self.timers: Timers[str] = Timers()
        self._unannounced: dict[str, None] = {}
        self._kinds: dict[str, type[Vector]] = {}
        self._history: dict[str, dict[int, None]] = {name: {} for name in self._channels}
        self._changed_at = dict.fromkeys(self._channels, 0)
        self._pushed_at = dict.fromkeys(self._channels, -SECOND)
        """When a change of each channel last arrived over the tree."""
        self._compared_at = dict.fromkeys(self._channels, -self._tuning.graft_delay)
        self._awaited: dict[str, tuple[PeerName, int]] = {}
        """The peer last asked for the full difference of a channel, and when; removed once it replies."""
        self._announce_by = 0
        self._announce_delay = self._tuning.announce_delay
        self._announced_at = -self._tuning.announce_pause
        self._broken_until = 0
        self._flush_gap = flush_delay
        self._flushed_at = -self._tuning.flush_gap_max
        self.conflicts: dict[tuple[PeerName, str], str] = {}
        """(neighbour, channel) whose states cannot be merged, and the reason; removed once they can."""

    # --- neighbours -----------------------------------------------------------------------------------------------

    def add_neighbour(self, name: PeerName, conn: int, joins: bool, now: int, asks: bool = False) -> list[Effect]:
        """A connection is established. `joins`: the peer was unreachable before, so the link becomes part of the tree.

        `asks`: if both sides open with a comparison, the other side sends the request.
        """
        eager = joins or not self._neighbours
        neighbour = self._neighbours[name] = GossipNeighbour(name, conn, eager)
        neighbour.asks = asks and eager
        neighbour.prune_from = now + self._tuning.prune_grace
        if len(self._neighbours) == 1:
            self._schedule_round(now)
        return [self._digests(neighbour, DigestKind.OPENING if eager else DigestKind.ANNOUNCE)]

    def remove_neighbour(self, name: PeerName, now: int) -> list[Effect]:
        """The connection has ended; everything pending on it is dropped."""
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
        """Whether changes are pushed to this neighbour at once."""
        return self._neighbours[name].eager

    @property
    def eager(self) -> tuple[PeerName, ...]:
        """The neighbours to which changes are pushed at once, sorted."""
        return tuple(sorted(name for name, neighbour in self._neighbours.items() if neighbour.eager))

    # --- inputs ---------------------------------------------------------------------------------------------------

    def broadcast(self, channel: str, delta: Delta, now: int) -> None:
        """Spread a change that the channel has merged already."""
        self._push(channel, delta, None, now)

    def flush(self) -> list[Effect]:
        """Send everything pending to all neighbours now, because a farewell cannot wait."""
        self.timers.cancel(_FLUSH)
        effects: list[Effect] = []
        made: dict[tuple[int, ...], News | Digests] = {}
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

    def _news_of(self, numbers: tuple[int, ...]) -> News | Digests:
        """The message with these changes. If it would be too large, digests instead: the neighbour requests parts."""
        by_channel: dict[str, list[Delta]] = {}
        total = 0
        for number in numbers:
            channel, delta = self._fresh[number]
            by_channel.setdefault(channel, []).append(delta)
            total += size(delta)
        if total > MOST_PUSHED:
            return Digests(
                DigestKind.ROUND, tuple((name, self._channels[name].digest()) for name in sorted(by_channel))
            )
        return News(
            tuple(
                (channel, deltas[0] if len(deltas) == 1 else self._channels[channel].join(*deltas))
                for channel, deltas in sorted(by_channel.items())
            )
        )

    def farewell(self, channel: str, delta: Delta) -> list[Effect]:
        """Send this change to every neighbour at once, eager or lazy, with everything pending."""
        for neighbour in self._neighbours.values():
            neighbour.pending.append(len(self._fresh))
        self._fresh.append((channel, delta))
        return self.flush()

    def receive(self, name: PeerName, message: GossipMessage, now: int) -> list[Effect]:
        """Handle one gossip message of a neighbour."""
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
                # This is our only link of the tree: without it only announcements would reach us.
                return self._graft(neighbour, now)

    def wake(self, now: int) -> list[Effect]:
        """Handle the timers that are due."""
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
                # While the tree delivers changes continuously, a reply is merely faster than the tree.
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
            # Most of it arrived over another link first, so this link is not part of the tree.
            effects += self._prune(sender, now)
        return effects

    def _check_kind(self, channel: str, kind: type[Vector]) -> None:
        """Raise if a vector's type is not that of the channel, so that channels see only their own structs."""
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
        """A branch of the tree is missing: other skipped neighbours may be cut off too."""
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
        # A skipped neighbour that has become eager is always told, because no later push repeats the skipped change.
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
                sender.series.pop(name, None)
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
        """The time in which a change reaches all peers over the tree."""
        return self._tuning.graft_delay + self._tuning.graft_hops * self._flush_gap

    def _check_suspects(self, now: int) -> list[Effect]:
        """Request the announced differences that have lasted long enough; recheck the others later."""
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
                # When many peers change at once, each passes through states that no other has, so an announced digest
                # proves nothing. Only a reply with something new shows that the tree has failed (`_receive_news`).
                items = ((channel, self._channels[channel].digest()),)
                effects.append(SendTcp(neighbour.conn, Digests(DigestKind.ROUND, items)))
        if due is not None:
            self.timers.set(_SUSPECTS, due)
        return effects

    def _ready_at(self, channel: str, since: int) -> int:
        """When a difference announced at `since` will have lasted long enough, as known now."""
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
        """Whether another neighbour is sending us its full difference of this channel, which need not arrive twice.

        A peer that still differs is found by its announced digest shortly afterwards.
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
            effects += self._answer(sender, message.channel, delta, now)
        # The reply, or the sender's own vector, already covers everything pending.
        sender.pending = [number for number in sender.pending if self._fresh[number][0] != message.channel]
        sender.prune_from = max(sender.prune_from, now + self._tuning.prune_grace)
        asked = sender.wanted_at.get(message.channel)
        if message.echo and (asked is None or now - asked >= self._tuning.want_pause):
            effects += self._ask_back(sender, message, delta is not None, now)
        return effects

    def _answer(self, sender: GossipNeighbour, channel: str, delta: Delta, now: int) -> list[Effect]:
        """Send the difference, or its next part. The digest behind a part makes the neighbour request the one after
        it, so only one is under way; a place that it refuses is not sent again in the same series."""
        place, at = sender.series.pop(channel, (None, 0))
        part, last, too_large = part_of(delta, place if now - at < SERIES else None)
        effects: list[Effect] = []
        if part is not None:
            effects.append(SendTcp(sender.conn, News(((channel, part),), answer=True)))
        if last is not None:
            sender.series[channel] = (last, now)
            items = ((channel, self._channels[channel].digest()),)
            effects.append(SendTcp(sender.conn, Digests(DigestKind.ROUND, items)))
        if too_large:
            names = ", ".join(too_large[:3])
            effects += self._mark_conflict(sender, channel, f"the entries of {names} are too large for a message")
        return effects

    def _ask_back(self, sender: GossipNeighbour, message: Want, differs: bool, now: int) -> list[Effect]:
        """Request what the vector shows to be missing here.

        If it shows nothing and neither side seems to lack anything, request everything: some pieces are ahead of a gap.
        """
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
    """Number of items in a delta."""
    if isinstance(delta, TopologyDelta):
        return len(delta.records)
    if isinstance(delta, PolicyDelta):
        return len(delta.spans)
    return len(delta.states) if isinstance(delta, OriginDelta) else len(delta.tokens)

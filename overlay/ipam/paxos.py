"""The first agreement: which peers divide the range. Single-decree Paxos; knows no ring, no addresses, no requests.

Lamport, "Paxos Made Simple" (2001). Every peer except observers is an acceptor and may be a proposer; promises and
accepted values are on disk before they are sent. To avoid duels the electors with lower names go first: the others ask
the lowest reachable one to propose, and propose themselves only if that has no result.

The number of electors is not known for sure, because peers may be launched alone and connected later. It is the
configured number or the number of addresses that this peer dials plus one, but at least the number of peers seen within
`config.hold`. If two agreements happen anyway (two networks that never met), there are two lineages, and the rings
merge.
"""

from collections.abc import Mapping

import msgspec

from overlay.config import Address, Config, PeerName
from overlay.effects import Effect, Log, Persist, Unicast
from overlay.env import Random
from overlay.stored import decode
from overlay.wire.ring import (
    Abstention,
    Accepted,
    Ballot,
    PaxosMessage,
    Prepare,
    Promise,
    Proposal,
    Propose,
    Refusal,
    Trigger,
)

CHANNEL = "ipam"
KEY = "ipam.paxos"


class Acceptor(msgspec.Struct, frozen=True, array_like=True):
    """The acceptor state that must survive restarts."""

    range: str
    promised: Ballot
    accepted: Ballot | None = None
    value: Proposal | None = None


class _Round:
    """A proposal of this peer in progress."""

    def __init__(self, ballot: Ballot, electors: list[PeerName], quorum: int) -> None:
        self.ballot = ballot
        self.electors = electors
        self.quorum = quorum
        self.promises: dict[PeerName, Promise] = {}
        self.value: Proposal | None = None
        self.accepted: dict[PeerName, None] = {}
        self.grace: int | None = None


class Agreement:
    """One peer's part in the first agreement. `decided` is the outcome, once this peer knows it as proposer."""

    def __init__(self, config: Config, range_text: str, rng: Random, stored: Mapping[str, bytes]) -> None:
        """Raises `EnvironmentProblem` if the stored data cannot be read."""
        self.decided: Proposal | None = None
        self.wanted = False
        """A ring is needed: an address was requested here, or an observer asked this peer."""
        self.other_ranges: dict[PeerName, str] = {}
        """Peers that use a different range."""
        self._config = config
        self._name = config.name
        self._range = range_text
        self._rng = rng
        self._observer = config.ipam_init == "observer"
        self._observers: set[PeerName] = set()
        self._targets: dict[Address, None] = dict.fromkeys(config.peers)
        self._reachable: tuple[PeerName, ...] = (self._name,)
        self._lost: dict[PeerName, int] = {}
        """Peers that were reachable, and when they became unreachable."""
        self._acceptor = Acceptor(range_text, Ballot(0, self._name))
        self._highest = 0
        self._round: _Round | None = None
        self._attempts = 0
        self._deadline: int | None = None
        self._since: int | None = None
        self._over = False
        if KEY in stored:
            kept: Acceptor = decode(KEY, stored[KEY], Acceptor)
            if kept.range == range_text:
                self._acceptor = kept

    # --- inputs -----------------------------------------------------------------------------------------------

    def start(self, now: int) -> list[Effect]:
        """Request a ring. Idempotent."""
        if self.wanted:
            return []
        self.wanted = True
        self._since = now
        return self._begin(now)

    def stop(self) -> None:
        """Stop for good, because there is a ring."""
        self._over = True
        self.wanted = False
        self._round = None
        self._deadline = None
        self._since = None
        self._attempts = 0

    def expect(self, addresses: tuple[Address, ...], replace: bool) -> None:
        """Count the peers at these addresses, which this peer was told to dial, as electors."""
        if replace:
            self._targets.clear()
        self._targets.update(dict.fromkeys(addresses))

    def forget(self, addresses: tuple[Address, ...], now: int) -> list[Effect]:
        """This peer was told to stop dialling these addresses."""
        for address in addresses:
            self._targets.pop(address, None)
        return self._again(now)

    def drop(self, peer: PeerName, now: int) -> list[Effect]:
        """`peer` has left for good; do not wait for it."""
        self._lost.pop(peer, None)
        self._reachable = tuple(other for other in self._reachable if other != peer)
        return self._again(now)

    def peers_changed(self, reachable: tuple[PeerName, ...], now: int) -> list[Effect]:
        """The set of reachable peers has changed."""
        if self._over:
            return []
        self._lost = {peer: since for peer, since in self._lost.items() if now - since < self._config.hold}
        present = frozenset(reachable)
        for peer in self._reachable:
            if peer not in present:
                self._lost[peer] = now
        for peer in reachable:
            self._lost.pop(peer, None)
        grown = not present.issubset(self._reachable)
        self._reachable = reachable
        return self._again(now) if grown else []

    def _again(self, now: int) -> list[Effect]:
        # A proposal in progress continues: it keeps the quorum of its start, and has its own timeout.
        if not self.wanted or self._round is not None:
            return []
        self._attempts = 0
        return self._begin(now)

    def wake(self, now: int) -> list[Effect]:
        """Handle the deadline."""
        effects: list[Effect] = []
        if self._since is not None and now - self._since >= self._config.tuning.paxos_patience:
            self._since = None
            effects.append(Log("warning", f"no address can be given yet: {self.waiting_for(now)}"))
        current = self._round
        if current is not None and current.grace is not None and now >= current.grace:
            current.grace = None
            return effects + self._second_phase(current, now)
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            self._round = None
            if self.wanted:
                effects += self._propose(now) if self._turn(now) else self._begin(now)
        return effects

    def deadline(self) -> int | None:
        """When `wake` must run."""
        if self._deadline is None and self._round is None and self._since is None:
            return None
        times = [time for time in (self._deadline, self._round.grace if self._round else None) if time is not None]
        if self._since is not None:
            times.append(self._since + self._config.tuning.paxos_patience)
        return min(times, default=None)

    # --- electors ---------------------------------------------------------------------------------------------

    def _electors(self) -> list[PeerName]:
        return [
            peer
            for peer in self._reachable
            if peer not in self._observers
            and peer not in self.other_ranges
            and not (self._observer and peer == self._name)
        ]

    def quorum(self, now: int) -> int:
        """How many electors must agree: more than half of the electors, as far as this peer knows."""
        lost = [
            peer
            for peer, since in self._lost.items()
            if now - since < self._config.hold and peer not in self._observers and peer not in self.other_ranges
        ]
        seen = len(self._electors()) + len(lost)
        return max(seen, self._config.initial_peer_count or len(self._targets) + 1) // 2 + 1

    def waiting_for(self, now: int) -> str:
        """Text for users: what the first agreement waits for, and how to fix it."""
        electors = self._electors()
        lost = sorted(peer for peer, since in self._lost.items() if now - since < self._config.hold)
        text = f"the first agreement needs {self.quorum(now)} peers and {len(electors)} can be reached"
        if lost:
            text += f"; unreachable: {', '.join(lost)} (`weave rmpeer {lost[0]}` if it will not come back)"
        if not self._config.initial_peer_count and self._targets:
            text += f"; `weave forget PEER` drops one that will not answer, of {', '.join(map(str, self._targets))}"
        for peer, other in sorted(self.other_ranges.items()):
            text += (
                f"; {peer} divides {other}, not {self._range} (reset and launch one of them again with the same range)"
            )
        return text

    # --- proposer ---------------------------------------------------------------------------------------------

    def _turn(self, now: int) -> bool:
        return not self._observer and len(self._electors()) >= self.quorum(now)

    def _wait(self, now: int, base: int) -> None:
        limit = min(base << min(self._attempts, 5), self._config.tuning.paxos_backoff_limit)
        self._attempts += 1
        self._deadline = now + limit // 2 + self._rng.randrange(limit)

    def _begin(self, now: int) -> list[Effect]:
        electors = self._electors()
        if not electors or (not self._observer and electors[0] == self._name):
            if self._turn(now):
                return self._propose(now)
            self._wait(now, self._config.tuning.paxos_backoff)
            return []
        self._wait(now, self._config.tuning.paxos_backoff)
        # An observer tries the electors one after another, because it cannot propose and the first may not respond.
        index = (self._attempts - 1) % len(electors) if self._observer else 0
        return [Unicast(electors[index], CHANNEL, Trigger(self._range, self._observer))]

    def _propose(self, now: int) -> list[Effect]:
        self._highest = max(self._highest, self._acceptor.promised.round) + 1
        ballot = Ballot(self._highest, self._name)
        electors = self._electors()
        current = self._round = _Round(ballot, electors, self.quorum(now))
        self._wait(now, self._config.tuning.paxos_backoff)
        # Our own promise on disk also keeps a round from being used twice after a crash.
        effects, promise = self._promise(ballot)
        current.promises[self._name] = promise
        effects += [Unicast(peer, CHANNEL, Prepare(self._range, ballot)) for peer in electors if peer != self._name]
        return effects + self._first_phase(current, now)

    def _first_phase(self, current: _Round, now: int) -> list[Effect]:
        if current.value is not None or len(current.promises) < current.quorum:
            return []
        if len(current.promises) >= len(current.electors):
            return self._second_phase(current, now)
        if current.grace is None:
            current.grace = now + self._config.tuning.paxos_grace
        return []

    def _second_phase(self, current: _Round, now: int) -> list[Effect]:
        current.grace = None
        earlier = [
            (promise.accepted, promise.value)
            for promise in current.promises.values()
            if promise.accepted is not None and promise.value is not None
        ]
        if earlier:
            value = max(earlier, key=lambda pair: pair[0])[1]
        else:
            value = Proposal(tuple(current.electors), self._rng.getrandbits(64))
        current.value = value
        effects: list[Effect] = []
        if self._acceptor.promised == current.ballot:
            effects += self._accept(current.ballot, value)
            current.accepted[self._name] = None
        effects += [
            Unicast(peer, CHANNEL, Propose(self._range, current.ballot, value))
            for peer in current.electors
            if peer != self._name
        ]
        self._decide(current)
        return effects

    def _decide(self, current: _Round) -> None:
        if len(current.accepted) >= current.quorum:
            self.decided = current.value

    # --- acceptor ---------------------------------------------------------------------------------------------

    def _promise(self, ballot: Ballot) -> tuple[list[Effect], Promise]:
        kept = self._acceptor
        if ballot > kept.promised:
            self._acceptor = msgspec.structs.replace(kept, promised=ballot)
        return self._persist(), Promise(ballot, kept.accepted, kept.value)

    def _accept(self, ballot: Ballot, value: Proposal) -> list[Effect]:
        self._acceptor = Acceptor(self._range, ballot, ballot, value)
        return self._persist()

    def _persist(self) -> list[Effect]:
        return [Persist(KEY, msgspec.msgpack.encode(self._acceptor))]

    # --- messages ---------------------------------------------------------------------------------------------

    def deliver(self, source: PeerName, message: PaxosMessage, now: int) -> list[Effect]:
        """Handle a message of another peer. If this peer has a ring, it sends the ring instead of calling this."""
        match message:
            case Trigger():
                return self._on_trigger(source, message, now)
            case Prepare() | Propose():
                if self._observer or message.range != self._range:
                    return [Unicast(source, CHANNEL, Abstention(message.ballot, self._range))]
                return self._on_ballot(source, message)
            case Promise() | Accepted() | Refusal() | Abstention():
                current = self._round
                if current is None or message.ballot != current.ballot:
                    return []
                return self._on_answer(current, source, message, now)

    def _on_trigger(self, source: PeerName, message: Trigger, now: int) -> list[Effect]:
        if message.range != self._range:
            self.other_ranges[source] = message.range
            return []
        if message.observer:
            self._observers.add(source)
        self.other_ranges.pop(source, None)
        if self._observer or self._round is not None:
            return []
        self.wanted = True
        return self._propose(now) if self._turn(now) else self._begin(now) if self._deadline is None else []

    def _on_ballot(self, source: PeerName, message: Prepare | Propose) -> list[Effect]:
        ballot = message.ballot
        self._highest = max(self._highest, ballot.round)
        if ballot < self._acceptor.promised:
            return [Unicast(source, CHANNEL, Refusal(ballot, self._acceptor.promised))]
        if isinstance(message, Prepare):
            effects, promise = self._promise(ballot)
            return [*effects, Unicast(source, CHANNEL, promise)]
        return [*self._accept(ballot, message.value), Unicast(source, CHANNEL, Accepted(ballot))]

    def _on_answer(
        self, current: _Round, source: PeerName, message: Promise | Accepted | Refusal | Abstention, now: int
    ) -> list[Effect]:
        match message:
            case Promise() if source in current.electors:
                current.promises.setdefault(source, message)
                return self._first_phase(current, now)
            case Accepted() if source in current.electors and current.value is not None:
                current.accepted[source] = None
                self._decide(current)
            case Refusal():
                self._highest = max(self._highest, message.promised.round)
                if current.value is None or len(current.accepted) < current.quorum:
                    self._round = None
                    self._wait(now, self._config.tuning.paxos_backoff // 4)
            case Abstention():
                if message.range == self._range:
                    self._observers.add(source)
                else:
                    self.other_ranges[source] = message.range
                if current.value is None and source in current.electors:
                    # An abstention changes only the value of a round; its quorum stays what it was at the start.
                    current.electors.remove(source)
                    current.promises.pop(source, None)
                    if len(current.electors) < current.quorum:
                        self._round = None
                        return self._propose(now) if self._turn(now) else self._again(now)
                    return self._first_phase(current, now)
        return []

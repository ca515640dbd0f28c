"""The replicated registry of names: announces this host's names, and indexes the entries that may be answered.

Owns the channel `dns` and the stored list of this host's names. An entry is answered while its origin is reachable and
its address is not quarantined. Must not know the format of DNS packets; that is `resolver`.
"""

from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from ipaddress import ip_address
from typing import Any, NamedTuple

import msgspec

from overlay.config import Config, PeerName
from overlay.dns.batch import MAX_NAMES_SIZE, checked, key_of, size, wanted
from overlay.dns.names import check_name, fold, packed
from overlay.effects import Broadcast, Effect, Log, Persist
from overlay.errors import UsageError
from overlay.inputs import (
    Detached,
    Input,
    NameEntry,
    OriginChanged,
    PeerForgotten,
    PeerLeft,
    PeersChanged,
    QuarantineChanged,
    RegisterName,
    RegisterNames,
    UnregisterName,
    UnregisterNames,
)
from overlay.replicated.interned import shared
from overlay.replicated.numbered import Index, add, discard, table
from overlay.replicated.origin_map import OriginMap
from overlay.stored import decode, understood
from overlay.wire.origins import NameValue, OriginDelta, Value

CHANNEL = "dns"
STORE_KEY = "names"
UNREAD = 1024
"""Changed names that are kept for a reader in any case, and twice as many as there are names."""


class _Answer(NamedTuple):
    """The indexed form of one entry."""

    name: str
    """Folded."""
    address: str
    container: str
    term: int
    """Its share in the digest (combined by XOR)."""
    one: dict[tuple[PeerName, str], NameValue]


class NameRegistry:
    """All names of all peers, and the index of the entries that are answered."""

    def __init__(self, config: Config, uid: int, stored: Mapping[str, bytes]) -> None:
        self._config = config
        self._own = config.name
        self.channel = OriginMap(CHANNEL, config.name, uid, config.tuning)
        self.generation = 0
        """Counts changes of the answers."""
        self.changed: dict[str, None] | None = None
        """Names whose answers have changed, for a reader that takes them out; None: nobody reads, or too many."""
        self._domain = fold(config.dns_domain)
        self._stored: list[NameValue] = []
        if STORE_KEY in stored:
            self._stored = decode(STORE_KEY, stored[STORE_KEY], list[NameValue])
        with understood(STORE_KEY):
            for value in self._stored:
                if packed(value.address) is None:
                    raise ValueError(f"{value.address!r:.60} is no address")
        self._quarantine: dict[tuple[PeerName, str, str], None] = {}
        self._by_name: Index[tuple[PeerName, str], NameValue] = table("DNS name")
        self._by_address: Index[tuple[PeerName, str], NameValue] = table("address")
        self._digest = 0
        self._handlers: dict[type[Input], Callable[[Any], list[Effect]]] = {
            RegisterName: self._register,
            UnregisterName: self._unregister,
            RegisterNames: self._register_all,
            UnregisterNames: self._unregister_all,
            Detached: self._detached,
            OriginChanged: self._origin_changed,
            PeersChanged: self._peers_changed,
            PeerLeft: self._peer_gone,
            PeerForgotten: self._peer_gone,
            QuarantineChanged: self._quarantine_changed,
        }

    def start(self, now: int) -> list[Effect]:
        """Announce the names of the earlier run; those of containers that are gone are removed by their `Detached`."""
        values = {key_of(value): value for value in self._stored}
        for key, value in values.items():
            self._show(self._own, key, value)
        self.channel.change_all(values)
        return []

    def handle(self, input: Input, now: int) -> list[Effect]:
        return self._handlers[type(input)](input)

    # --- this host's names --------------------------------------------------------------------------------------

    def _register(self, input: RegisterName) -> list[Effect]:
        try:
            check_name(input.name)
        except UsageError as error:
            return [Log("error", f"container {input.container}: {error}")]
        if packed(input.address) is None:
            return [Log("error", f"name {input.name}: found the address {input.address!r}, expected an IP literal")]
        value = NameValue(input.name, str(ip_address(input.address)), input.container)
        key = key_of(value)
        before = self.channel.get(self._own, key)
        if before == value:
            return []
        if before is not None:
            self._hide(self._own, key, before)
        self._show(self._own, key, value)
        effects = self._publish([self.channel.put(key, value)])
        if not self.in_domain(fold(input.name)):
            domain = self._domain
            effects.append(Log("warning", f"name {input.name} is outside of {domain} and will not be answered"))
        return effects

    def _unregister(self, input: UnregisterName) -> list[Effect]:
        name = fold(input.name) if input.name else ""
        address = str(ip_address(input.address)) if packed(input.address) else input.address
        return self._change(
            {
                key: None
                for key, value in self.channel.entries_of(self._own)
                if isinstance(value, NameValue)
                and value.container == input.container
                and name in ("", fold(value.name))
                and address in ("", value.address)
            }
        )

    def _register_all(self, input: RegisterNames) -> list[Effect]:
        try:
            values = checked(input.entries)
        except UsageError as error:
            return [Log("error", f"no name of a batch is registered: {error}")]
        get = self.channel.get
        return self._change({key: value for key, value in values.items() if get(self._own, key) != value})

    def _unregister_all(self, input: UnregisterNames) -> list[Effect]:
        going = wanted(input.entries)
        gone: dict[str, NameValue | None] = {}
        for key, value in self.channel.entries_of(self._own):
            if isinstance(value, NameValue):
                addresses = going.get((value.container, fold(value.name)), {})
                if "" in addresses or value.address in addresses:
                    gone[key] = None
        return self._change(gone)

    def _change(self, values: Mapping[str, NameValue | None]) -> list[Effect]:
        """Set or remove these names of this host at once."""
        for key, value in values.items():
            before = self.channel.get(self._own, key)
            if before is not None:
                self._hide(self._own, key, before)
            if value is not None:
                self._show(self._own, key, value)
        delta = self.channel.change_all(values)
        return self._publish([] if delta is None else [delta])

    def excess(self, entries: Iterable[NameEntry]) -> str:
        """Why this host cannot take these names in addition to its own; empty if it can. Raises `UsageError`."""
        values = {key: v for key, v in self.channel.entries_of(self._own) if isinstance(v, NameValue)}
        values.update(checked(entries))
        total = size(values)
        if total <= MAX_NAMES_SIZE:
            return ""
        return f"found {len(values)} names of {total} bytes, expected at most {MAX_NAMES_SIZE} bytes of one host"

    def _detached(self, input: Detached) -> list[Effect]:
        return self._unregister(UnregisterName(input.container))

    def _publish(self, deltas: list[OriginDelta]) -> list[Effect]:
        if not deltas:
            return []
        values = [value for _, value in self.channel.entries_of(self._own)]
        persist = Persist(STORE_KEY, msgspec.msgpack.encode(values))
        return [*(Broadcast(CHANNEL, delta) for delta in deltas), persist]

    # --- other peers --------------------------------------------------------------------------------------------

    def _origin_changed(self, input: OriginChanged) -> list[Effect]:
        for change in input.changes:
            if self.channel.reaches(change.origin):
                if change.old is not None:
                    self._hide(change.origin, change.key, change.old)
                if change.new is not None:
                    self._show(change.origin, change.key, change.new)
        return []

    def _peers_changed(self, input: PeersChanged) -> list[Effect]:
        came, gone = self.channel.changed(input.reachable)
        effects: list[Effect] = []
        for peer in came:
            news, _ = self.channel.admit(peer)
            if news is not None:
                effects.append(Broadcast(CHANNEL, news))
            for key, value in self.channel.entries_of(peer):
                self._show(peer, key, value)
        for peer in gone:
            self.channel.retire(peer)
            for key, value in self.channel.entries_of(peer):
                self._hide(peer, key, value)
        return effects

    def _peer_gone(self, input: PeerLeft | PeerForgotten) -> list[Effect]:
        for change in self.channel.forget(input.peer):
            if self.channel.reaches(input.peer) and change.old is not None:
                self._hide(input.peer, change.key, change.old)
        return []

    def _quarantine_changed(self, input: QuarantineChanged) -> list[Effect]:
        for lifted in input.removed:
            del self._quarantine[lifted]
            for key, value in self._matching(*lifted):
                self._show(lifted[0], key, value)
        for blocked in input.added:
            for key, value in self._matching(*blocked):
                self._hide(blocked[0], key, value)
            self._quarantine[blocked] = None
        return []

    def _matching(self, origin: PeerName, container: str, address: str) -> list[tuple[str, NameValue]]:
        """The names that a reachable `origin` has registered for this address of this container."""
        entries = self.channel.entries_of(origin) if self.channel.reaches(origin) else iter(())
        return [
            (key, value)
            for key, value in entries
            if isinstance(value, NameValue) and value.container == container and value.address == address
        ]

    # --- the index ----------------------------------------------------------------------------------------------

    def _show(self, origin: PeerName, key: str, value: Value) -> None:
        """Answer with `value` from now on, unless it is malformed or quarantined."""
        answer = self._answer(origin, key, value)
        if answer is not None:
            add(self._by_name, answer.name, answer.one)
            add(self._by_address, answer.address, answer.one)
            self._note_change(answer)

    def _hide(self, origin: PeerName, key: str, value: Value) -> None:
        answer = self._answer(origin, key, value)
        if answer is not None:
            discard(self._by_name, answer.name, (origin, key))
            discard(self._by_address, answer.address, (origin, key))
            self._note_change(answer)

    def _note_change(self, answer: "_Answer") -> None:
        self._digest ^= answer.term
        self.generation += 1
        if self.changed is not None:
            self.changed[answer.name] = None
            if len(self.changed) > 2 * len(self._by_name) + UNREAD:
                self.changed = None

    def _answer(self, origin: PeerName, key: str, value: Value) -> "_Answer | None":
        """The indexed form of an entry; None if it is malformed or quarantined."""
        answer = _answer.of(origin, key, value)
        if answer is not None and self._quarantine and (origin, answer.container, answer.address) in self._quarantine:
            return None
        return answer

    # --- queries ------------------------------------------------------------------------------------------------

    @property
    def domain(self) -> str:
        """The overlay's domain, folded."""
        return self._domain

    def in_domain(self, name: str) -> bool:
        """Whether the folded `name` is the overlay's domain or below it."""
        return name == self._domain or name.endswith("." + self._domain)

    def qualify(self, name: str) -> str | None:
        """The folded local name that a folded question refers to; None if it is not ours to answer."""
        if self.in_domain(name):
            return name
        return name + self._domain if name.count(".") == 1 and name != "." else None

    def follow(self) -> dict[str, None]:
        """Begin to keep `changed`, with all names in it."""
        self.changed = dict.fromkeys(self._by_name)
        return self.changed

    @property
    def count(self) -> int:
        """The number of names that have an answer."""
        return len(self._by_name)

    def exists(self, name: str) -> bool:
        """Whether the folded `name` has an answer, or is the domain itself."""
        return name in self._by_name or name == self._domain

    def addresses(self, name: str) -> tuple[str, ...]:
        """IP literals of a folded, qualified name, unique and sorted."""
        return tuple(sorted({value.address: None for value in self._by_name.get(name, {}).values()}))

    def names(self, address: str) -> tuple[str, ...]:
        """Names (as registered) of an IP literal, unique and sorted."""
        found = {fold(value.name): value.name for _, value in sorted(self._by_address.get(address, {}).items())}
        return tuple(found[name] for name in sorted(found))

    def lookup(self, name: str) -> tuple[str, ...]:
        """The output of `weave dns-lookup`: the addresses of a name, with or without the domain, sorted."""
        folded = fold(name)
        return self.addresses(self.qualify(folded) or folded)

    @property
    def dns_digest(self) -> int:
        """64 bits over all answers; equal on peers with equal answers."""
        return self._digest

    def report(self, now: int) -> dict[str, Any]:
        """Every entry, with the reason if it is not answered."""
        entries = []
        origins = [origin for origin, _, _ in self.channel.vector().known]
        for origin, key, value in self.channel.live_entries(origins):
            if not isinstance(value, NameValue):
                continue
            if not self.channel.reaches(origin):
                state = "unreachable"
            elif self._answer(origin, key, value) is None:
                state = "quarantined"
            else:
                state = "answered"
            entries.append(
                {
                    "name": value.name,
                    "address": value.address,
                    "container": value.container,
                    "peer": origin,
                    "state": state,
                }
            )
        return {"domain": self._domain, "ttl": self._config.dns_ttl, "entries": entries}

    def check_invariants(self) -> None:
        """Assert that the index matches the map, the reachable peers and the quarantine."""
        self.channel.check_invariants()
        digest = 0
        shown = {}
        for origin, key, value in self.channel.live_entries(self.channel.reachable):
            answer = self._answer(origin, key, value)
            if answer is not None:
                shown[origin, key] = value
                digest ^= answer.term
        for index in (self._by_name, self._by_address):
            assert {i: v for entries in index.values() for i, v in entries.items()} == shown
            assert all(index.values())
        assert digest == self._digest


@shared(1 << 17)
def _answer(origin: PeerName, key: str, value: Value) -> _Answer | None:
    """The answer of an entry; None if it is malformed."""
    if not isinstance(value, NameValue) or packed(value.address) is None:
        return None
    name = fold(value.name)
    said = f"{origin} {name} {value.address} {value.container}"
    term = int.from_bytes(blake2b(said.encode(), digest_size=8).digest(), "big")
    return _Answer(name, value.address, value.container, term, {(origin, key): value})

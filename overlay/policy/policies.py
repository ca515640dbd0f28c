"""Which containers may talk to each other: all peers' policies, and their effect on this host.

Also gives the objections to a new policy. Owns the channel `policy`, its stored state, and when the packet filter is
updated. Names and labels come from the endpoints, where each peer announces only its own containers. Must not know the
kernel (a driver applies `SetPolicy`) nor how gossip travels.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import msgspec
from msgspec import Struct

from overlay.compiled_policy import Address, CompiledPolicy, Protocol
from overlay.config import Config, PeerName
from overlay.effects import Broadcast, Effect, Notify, Persist, Reply, SetPolicy
from overlay.env import SECOND
from overlay.errors import RemoteError, UsageError
from overlay.inputs import (
    ChangePolicy,
    Enforcing,
    Input,
    NameServers,
    PoliciesChanged,
    PolicyEnforced,
    RemovePolicies,
    Wake,
)
from overlay.policy.advice import explain, objections
from overlay.policy.directory import Directory, Member, Said, compile_policies
from overlay.policy.table import CHANNEL, PolicyTable
from overlay.policy.words import Policy, Selector, parse, parse_target, selector
from overlay.stored import decode, understood
from overlay.wire.origins import EnforcerValue
from overlay.wire.policy import PolicyDelta, PolicyEntry

__all__ = ["Policies"]

STORE_KEY = "policies"
KNOWN_KEY = "policies.known"
LAZY = 10 * SECOND
"""How long the stored addresses may be out of date; the next run gets the current ones from other peers."""


class _Known(Struct, frozen=True, array_like=True):
    """A container of another peer, as stored."""

    peer: PeerName
    nickname: str
    container: str
    names: tuple[str, ...]
    labels: tuple[tuple[str, str], ...]
    literals: tuple[str, ...]


class Policies:
    """The policy core of one peer. `look` returns the overlay's members, `generation` changes if they may have."""

    def __init__(
        self,
        config: Config,
        uid: int,
        stored: Mapping[str, bytes],
        look: Callable[[], Iterable[Said]],
        generation: Callable[[], int],
    ) -> None:
        self._config = config
        self._look = look
        self._generation = generation
        kept = decode(STORE_KEY, stored[STORE_KEY], PolicyDelta) if STORE_KEY in stored else None
        with understood(STORE_KEY):
            try:
                self.channel = PolicyTable(config.name, uid, kept)
            except RemoteError as error:
                raise ValueError(str(error)) from None
        self._remembered = _remembered(stored)
        """Containers of other peers from an earlier run, used until those peers announce theirs."""
        self._forget_at: int | None = None
        self._known_due: int | None = None
        self._told: tuple[Member, ...] = ()
        """Containers of other peers, as stored."""
        self._members: dict[Said, Member] = {}
        """The members at the last look; an unchanged member stays the same object and keeps its cached values."""
        self._policies: dict[PolicyEntry, Policy | None] = {}
        """The entries at the last look, parsed; None: not understood."""
        self._directory = Directory()
        self._seen: tuple[int, int] | None = None
        self._protected: tuple[Address, ...] = ()
        self._compiled = CompiledPolicy()
        self._card: EnforcerValue | None = None
        self._state = self._problem = ""
        self._handlers: dict[type[Input], Callable[[Any, int], list[Effect]]] = {
            ChangePolicy: self._change,
            RemovePolicies: self._remove,
            PoliciesChanged: lambda input, now: [self._persist()],
            NameServers: self._name_servers,
            PolicyEnforced: self._enforced,
            Wake: self._wake,
        }

    # --- contract -------------------------------------------------------------------------------------------------

    def start(self, now: int) -> list[Effect]:
        """Enforce the stored policies at once, because containers are running."""
        if self._remembered:
            self._forget_at = now + self._config.hold
        return self.settle(now)

    def handle(self, input: Input, now: int) -> list[Effect]:
        return self._handlers[type(input)](input, now)

    def deadline(self) -> int | None:
        due = [each for each in (self._forget_at, self._known_due) if each is not None]
        return min(due, default=None)

    @property
    def active(self) -> bool:
        """Whether any policy or default is enforced here, or was until now."""
        return bool(self.channel) or self._config.default_deny or not self._compiled.empty

    @property
    def watching(self) -> bool:
        """Whether `settle` may have work: other peers may still have this peer's announcement of removed policies."""
        return self.active or self._card is not None

    def settle(self, now: int) -> list[Effect]:
        """Update the packet filter if needed. Its effects go before the other effects of the same input."""
        seen = (self._generation(), self.channel.digest())
        if self._seen == seen:
            return []
        self._seen = seen
        effects: list[Effect] = []
        if self.active:
            self._look_again(now)
            compiled = self._compile(closed=self._config.default_deny)
            if compiled != self._compiled:
                self._compiled = compiled
                effects.append(SetPolicy(compiled))
        return effects + self._tell()

    def _tell(self) -> list[Effect]:
        card = EnforcerValue(self.channel.digest(), self._config.default_deny, self._state)
        quiet = self._card is None and not self.channel.digest() and not self._config.default_deny
        if quiet or card == self._card:
            return []
        self._card = card
        return [Notify(Enforcing(card))]

    # --- members --------------------------------------------------------------------------------------------------

    def _look_again(self, now: int) -> None:
        members = self._present()
        if self._remembered:
            heard = {member.peer for member in members}
            taken = {literal for member in members for literal in member.literals}
            self._remembered = tuple(
                each for each in self._remembered if each.peer not in heard and taken.isdisjoint(each.literals)
            )
        self._directory = Directory((*members, *self._remembered))
        others = tuple(each for each in self._directory.members if each.peer != self._config.name)
        if others == self._told:
            self._known_due = None
        elif self._known_due is None:
            self._known_due = now + LAZY

    def _present(self) -> tuple[Member, ...]:
        before = self._members
        self._members = {said: before.get(said) or Member(*said) for said in self._look()}
        return tuple(self._members.values())

    def _fresh(self) -> Directory:
        """The current directory, even if nothing is enforced yet."""
        return self._directory if self.active else Directory(self._present())

    def _compile(self, *, closed: bool) -> CompiledPolicy:
        return compile_policies(self._understood(), self._directory, not closed, self._protected)

    def _understood(self) -> list[Policy]:
        found = (policy for policy in self._read().values() if policy is not None)
        return sorted(found, key=lambda policy: policy.order)

    def _read(self) -> dict[PolicyEntry, Policy | None]:
        before = self._policies
        self._policies = {each: before[each] if each in before else _policy(each) for each in self.channel.entries()}
        return self._policies

    # --- changes ----------------------------------------------------------------------------------------------------

    def _change(self, input: ChangePolicy, now: int) -> list[Effect]:
        try:
            policy = self._local(parse(input.accept, input.rule))
            if input.remove:
                return self._take_back(input.request, policy)
            return self._set(input, policy)
        except UsageError as error:
            return [Reply(input.request, error=str(error))]

    def _local(self, policy: Policy) -> Policy:
        """The policy with names as they are announced: without the domain."""
        return replace(policy, source=self._bare(policy.source), target=self._bare(policy.target))

    def _bare(self, one: Selector) -> Selector:
        domain = "." + self._config.dns_domain.lower().rstrip(".")
        return Selector("name", one.text.removesuffix(domain)) if one.kind == "name" else one

    def _set(self, input: ChangePolicy, policy: Policy) -> list[Effect]:
        before = self.channel.get(policy.rule)
        directory = self._fresh()
        meaning = f"{policy.text} ({_count(policy.source, directory)} to {_count(policy.target, directory)})"
        if before is not None and before.accept == policy.accept:
            return [Reply(input.request, meaning)]
        problems = list(objections(policy, self._understood(), directory, self._protected))
        if problems and not input.force:
            error = "; ".join(problems)
            return [Reply(input.request, error=f"{policy.text}: {error}. Nothing is changed; --force sets it anyway")]
        delta = self.channel.put(policy.accept, policy.rule)
        return [*self._publish([delta]), Reply(input.request, "\n".join((meaning, *problems)))]

    def _take_back(self, request: int, policy: Policy) -> list[Effect]:
        entry = self.channel.get(policy.rule)
        if entry is None or entry.accept != policy.accept:
            other = f": there is `{_text(entry)}`" if entry is not None else ""
            return [
                Reply(request, error=f"there is no policy `{policy.text}`{other}; `weave policies` lists all there are")
            ]
        delta = self.channel.remove(policy.rule)
        assert delta is not None
        return [*self._publish([delta]), Reply(request, _text(entry))]

    def _remove(self, input: RemovePolicies, now: int) -> list[Effect]:
        table = self._table()
        wrong = [number for number in input.numbers if not 0 < number <= len(table)]
        if wrong:
            there = f"there are 1 to {len(table)}" if table else "there are none"
            return [Reply(input.request, error=f"there is no policy {wrong[0]}: {there} (`weave policies`)")]
        numbers = range(1, len(table) + 1) if input.all else dict.fromkeys(input.numbers)
        gone = [table[number - 1][0] for number in numbers]
        deltas = [delta for entry in gone if (delta := self.channel.remove(entry.rule)) is not None]
        effects = self._publish(deltas) if deltas else []
        return [*effects, Reply(input.request, "\n".join(map(_text, gone)))]

    def _publish(self, deltas: list[PolicyDelta]) -> list[Effect]:
        """Store before sending, so that a number is never used for two writes."""
        return [self._persist(), *(Broadcast(CHANNEL, delta) for delta in deltas)]

    def _persist(self) -> Persist:
        return Persist(STORE_KEY, msgspec.msgpack.encode(self.channel.stored()))

    # --- the driver -------------------------------------------------------------------------------------------------

    def _name_servers(self, input: NameServers, now: int) -> list[Effect]:
        self._protected = tuple(map(ip_address, input.addresses))
        self._seen = None
        return []

    def _enforced(self, input: PolicyEnforced, now: int) -> list[Effect]:
        self._state, self._problem = input.state, input.problem
        return self._tell()

    def _wake(self, input: Wake, now: int) -> list[Effect]:
        effects: list[Effect] = []
        if self._forget_at is not None and now >= self._forget_at:
            self._forget_at = None
            self._remembered = ()
            self._seen = None
        if self._known_due is not None and now >= self._known_due:
            self._known_due = None
            self._told = tuple(each for each in self._directory.members if each.peer != self._config.name)
            known = [
                _Known(each.peer, each.nickname, each.container, each.names, each.labels, each.literals)
                for each in self._told
            ]
            effects.append(Persist(KNOWN_KEY, msgspec.msgpack.encode(known)))
        return effects

    # --- queries ----------------------------------------------------------------------------------------------------

    @property
    def digest(self) -> int:
        """Equal on peers with equal policies."""
        return self.channel.digest()

    @property
    def compiled(self) -> CompiledPolicy:
        """The policy that this host's packet filter was last given."""
        return self._compiled

    def _table(self) -> list[tuple[PolicyEntry, Policy | None]]:
        """The entries in the order in which they decide; those not understood come last."""
        return sorted(self._read().items(), key=_place)

    def explain(self, source: str, target: str, closed: Callable[[PeerName], bool]) -> list[str]:
        """Which policy decides about flows between these (`words.parse_target`). Raises `UsageError`.

        `closed` returns whether a peer was launched with --default-deny.
        """
        directory = self._directory = self._fresh()
        to, ranges, protocol = parse_target(target)
        sources = _meant(self._bare(selector(source)), directory)
        targets = _meant(self._bare(to), directory)
        protocols: tuple[Protocol | None, ...] = (protocol,)
        if ranges and protocol is None:
            protocols = ("tcp", "udp")
        ports = [(each, low) for each in protocols for low, _ in ranges or ((0, 0),)]
        open_one, closed_one = self._compile(closed=False), self._compile(closed=True)
        peers = [self._config.name, *(member.peer for member in directory.members)]
        filters = {peer: closed_one if closed(peer) else open_one for peer in dict.fromkeys(peers)}
        found = explain(sources, targets, filters, self._config.name, ports)
        if not found:
            raise UsageError(f"no packet goes from {source} to {target}: they are one, or of two families")
        return found

    def report(self, peers: Iterable[tuple[PeerName, str, EnforcerValue | None]]) -> dict[str, Any]:
        """The table, and which of the reachable peers (name, nickname, announced value) enforce the same one."""
        directory = self._fresh()
        policies = []
        for number, (entry, policy) in enumerate(self._table(), 1):
            policies.append(
                {
                    "number": number,
                    "policy": _text(entry),
                    "from": _count(policy.source, directory) if policy is not None else "",
                    "to": _count(policy.target, directory) if policy is not None else "",
                    "version": entry.version,
                    "writer": entry.writer.partition("@")[0],
                    "understood": policy is not None,
                }
            )
        return {
            "default": "deny" if self._config.default_deny else "allow",
            "digest": f"{self.channel.digest():016x}",
            "policies": policies,
            "state": self._state if self.active else "",
            "problem": self._problem if self.active else "",
            "peers": [
                {"name": name, "nickname": nickname, "differs": self._differs(value)} for name, nickname, value in peers
            ],
        }

    def _differs(self, value: EnforcerValue | None) -> str:
        """The difference in another peer's announcement; empty: no difference."""
        table, closed, state = (value.table, value.closed, value.state) if value is not None else (0, False, "")
        if table != self.channel.digest():
            return "has other policies"
        if closed != self._config.default_deny:
            return f"is launched {'with' if closed else 'without'} --default-deny"
        return "has no packet filter" if state == "off" and self.active else ""

    def check_invariants(self) -> None:
        """Assert that the packet filter's policy matches the table and the endpoints."""
        self.channel.check_invariants()
        if self._seen != (self._generation(), self.channel.digest()):
            return
        if self.active:
            fresh = compile_policies(
                self._understood(),
                Directory((*self._present(), *self._remembered)),
                not self._config.default_deny,
                self._protected,
            )
            assert fresh == self._compiled, "the packet filter goes by other policies"


def _remembered(stored: Mapping[str, bytes]) -> tuple[Member, ...]:
    if KNOWN_KEY not in stored:
        return ()
    with understood(KNOWN_KEY):
        found = tuple(
            Member(each.peer, each.nickname, each.container, each.names, each.labels, each.literals)
            for each in decode(KNOWN_KEY, stored[KNOWN_KEY], list[_Known])
        )
        for member in found:
            assert all(member.addresses), "an address"
    return found


def _policy(entry: PolicyEntry) -> Policy | None:
    """The policy of an entry; None: it is malformed, or from a newer version."""
    try:
        policy = parse(entry.accept, entry.rule)
    except UsageError:
        return None
    return policy if policy.rule == entry.rule else None


def _text(entry: PolicyEntry) -> str:
    return f"{'allow' if entry.accept else 'deny'} {entry.rule}"


def _place(standing: tuple[PolicyEntry, Policy | None]) -> tuple[object, ...]:
    entry, policy = standing
    return (0, *policy.order) if policy is not None else (1, entry.rule)


def _count(one: Selector, directory: Directory) -> str:
    return "all" if one.kind == "all" else str(len(directory.find(one)))


def _meant(one: Selector, directory: Directory) -> list[Member | Address]:
    if one.kind == "subnet" and one.network.prefixlen == one.network.max_prefixlen:
        address = one.network.network_address
        member = directory.at(address)
        if member is None or len(member.addresses) == 1:
            return [member or address]
        return [replace(member, literals=(str(address),))]
    found = list(directory.find(one))
    if not found:
        raise UsageError(f"`{one.text}` is nobody now: name a container, KEY=VALUE, an address, a subnet or peer:NAME")
    return list(found)

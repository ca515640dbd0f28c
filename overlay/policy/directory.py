"""Who is on the overlay, as policies see it: each container with its names, labels and addresses. Pure data.

Knows nothing of how that was announced. `compile_policies` turns policies and a directory into what a packet filter
takes, so equal policies and equal directories give equal filters on all peers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address, ip_network

from overlay.compiled_policy import Address, CompiledPolicy, FlowRule, Network, Protocol
from overlay.config import PeerName
from overlay.owners import PLUGIN
from overlay.policy.words import Policy, Selector

__all__ = ["Directory", "Member", "Said", "compile_policies"]

WAITING = "waiting for the engine to name a container"
"""What the rules are called by which nothing passes to or from an endpoint of the plugin without a name."""
MAX_NAME = 200
"""Characters of a rule's name."""


Said = tuple[PeerName, str, str, tuple[str, ...], tuple[tuple[str, str], ...], tuple[str, ...]]
"""The fields of a `Member`."""


@dataclass(frozen=True)
class Member:
    """One container (or a host's own place) on the overlay, as its own peer announces it."""

    peer: PeerName
    nickname: str
    container: str
    names: tuple[str, ...]
    labels: tuple[tuple[str, str], ...]
    literals: tuple[str, ...]
    """Its addresses, without those that it has lost to another container."""

    @cached_property
    def addresses(self) -> tuple[Address, ...]:
        """The same as data."""
        return tuple(map(ip_address, self.literals))

    @cached_property
    def places(self) -> tuple[tuple[tuple[int, int], Network], ...]:
        """The same as networks of one address, each with what it is sorted by."""
        return tuple(((each.version, int(each)), ip_network(each)) for each in self.addresses)

    @cached_property
    def words(self) -> tuple[tuple[str, str], ...]:
        """The selectors of names, labels and peers that mean it, as (kind, text)."""
        peers = (f"peer:{self.nickname}", f"peer:{self.peer}")
        words = [("name", name) for name in self.names] + [("label", f"{key}={value}") for key, value in self.labels]
        return tuple(dict.fromkeys((*words, *(("peer", peer) for peer in peers))))

    @cached_property
    def shown(self) -> str:
        """What people call it."""
        return self.names[0] if self.names else self.container.partition(":")[0][:12] or self.container

    @property
    def nameless(self) -> bool:
        """An endpoint of the plugin that is plugged in while its engine has not said yet which container it is in."""
        return self.container.startswith(PLUGIN)

    def fits(self, selector: Selector) -> bool:
        """Whether this is meant. Of a subnet: whether one of its addresses is in it."""
        kind, text = selector.kind, selector.text
        if kind == "name":
            return text in self.names
        if kind == "label":
            key, _, value = text.partition("=")
            return (key, value) in self.labels
        if kind == "peer":
            return text in (f"peer:{self.nickname}", f"peer:{self.peer}")
        if kind == "subnet":
            network = selector.network
            return any(each.version == network.version and each in network for each in self.addresses)
        return True


class Directory:
    """All members, by what selectors call them. Each selector is looked up once."""

    def __init__(self, members: Iterable[Member] = ()) -> None:
        self.members = tuple(members)
        self._index: dict[tuple[str, str], list[Member]] = {}
        self._networks: dict[Selector, tuple[Network, ...] | None] = {}

    def find(self, selector: Selector) -> tuple[Member, ...]:
        """Those that a selector means."""
        if selector.kind in ("all", "subnet"):
            return tuple(member for member in self.members if member.fits(selector))
        if not self._index:
            for member in self.members:
                for word in member.words:
                    self._index.setdefault(word, []).append(member)
        return tuple(self._index.get((selector.kind, selector.text), ()))

    def at(self, address: Address) -> Member | None:
        """Who has an address."""
        return next((member for member in self.members if address in member.addresses), None)

    def networks(self, selector: Selector) -> tuple[Network, ...] | None:
        """The addresses that a selector means; (): all there are; None: nobody's."""
        if selector not in self._networks:
            self._networks[selector] = self._look_up(selector)
        return self._networks[selector]

    def _look_up(self, selector: Selector) -> tuple[Network, ...] | None:
        if selector.kind == "all":
            return ()
        if selector.kind == "subnet":
            return (selector.network,)
        return _sorted(self.find(selector)) or None


def compile_policies(
    policies: Sequence[Policy], directory: Directory, accept_rest: bool, protected: tuple[Address, ...] = ()
) -> CompiledPolicy:
    """What a packet filter decides by. Policies about nobody are left out."""
    rules = _nameless(policies, directory)
    for policy in sorted(policies, key=lambda policy: policy.order):
        source, target = directory.networks(policy.source), directory.networks(policy.target)
        if source is None or target is None or not _meet(source, target):
            continue
        protocols: tuple[Protocol | None, ...] = (policy.protocol,)
        if policy.ports and policy.protocol is None:
            protocols = ("tcp", "udp")
        rules.extend(
            FlowRule(policy.accept, source, target, protocol, policy.ports, policy.text[:MAX_NAME])
            for protocol in protocols
        )
    return CompiledPolicy(tuple(rules), accept_rest, protected)


def _nameless(policies: Sequence[Policy], directory: Directory) -> list[FlowRule]:
    """Of a container that nobody can name yet, nobody can say that it may: it waits for the moment that this takes."""
    if not any(each.kind in ("name", "label") for policy in policies for each in (policy.source, policy.target)):
        return []
    addresses = _sorted(member for member in directory.members if member.nameless)
    if not addresses:
        return []
    return [
        FlowRule(False, addresses, (), None, (), WAITING),
        FlowRule(False, (), addresses, None, (), WAITING),
    ]


def _meet(source: tuple[Network, ...], target: tuple[Network, ...]) -> bool:
    """Whether a packet can have one address of each: they are of one family."""
    return not source or not target or not {net.version for net in source}.isdisjoint(net.version for net in target)


def _sorted(members: Iterable[Member]) -> tuple[Network, ...]:
    """The addresses of all, IPv4 first, each once."""
    found = {place: network for member in members for place, network in member.places}
    return tuple(found[place] for place in sorted(found))

"""The members of the overlay, as policies see them: each container's names, labels and addresses. Pure data.

Knows nothing of how they were announced. `compile_policies` turns policies and a directory into a packet filter, so
equal policies and equal directories give equal filters on all peers.
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
"""Name of the rules that block an endpoint of the plugin while it has no name."""
MAX_NAME = 200
"""Maximum characters of a rule's name."""


Said = tuple[PeerName, str, str, tuple[str, ...], tuple[tuple[str, str], ...], tuple[str, ...]]
"""The fields of a `Member`."""


@dataclass(frozen=True)
class Member:
    """One container (or a host's own addresses) on the overlay, as its own peer announces it."""

    peer: PeerName
    nickname: str
    container: str
    names: tuple[str, ...]
    labels: tuple[tuple[str, str], ...]
    literals: tuple[str, ...]
    """Its addresses, without those it has lost to another container."""

    @cached_property
    def addresses(self) -> tuple[Address, ...]:
        """The addresses as objects."""
        return tuple(map(ip_address, self.literals))

    @cached_property
    def places(self) -> tuple[tuple[tuple[int, int], Network], ...]:
        """The addresses as networks of one address, each with its sort key."""
        return tuple(((each.version, int(each)), ip_network(each)) for each in self.addresses)

    @cached_property
    def words(self) -> tuple[tuple[str, str], ...]:
        """The selectors of names, labels and peers that match it, as (kind, text)."""
        peers = (f"peer:{self.nickname}", f"peer:{self.peer}")
        words = [("name", name) for name in self.names] + [("label", f"{key}={value}") for key, value in self.labels]
        return tuple(dict.fromkeys((*words, *(("peer", peer) for peer in peers))))

    @cached_property
    def shown(self) -> str:
        """The name shown to users."""
        return self.names[0] if self.names else self.container.partition(":")[0][:12] or self.container

    @property
    def nameless(self) -> bool:
        """Whether it is an attached endpoint of the plugin whose engine has not reported its container yet."""
        return self.container.startswith(PLUGIN)

    def fits(self, selector: Selector) -> bool:
        """Whether the selector matches. A subnet matches if it contains one of the addresses."""
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
    """All members, indexed by selector. Each selector is looked up once."""

    def __init__(self, members: Iterable[Member] = ()) -> None:
        self.members = tuple(members)
        self._index: dict[tuple[str, str], list[Member]] = {}
        self._networks: dict[Selector, tuple[Network, ...] | None] = {}

    def find(self, selector: Selector) -> tuple[Member, ...]:
        """The members that a selector matches."""
        if selector.kind in ("all", "subnet"):
            return tuple(member for member in self.members if member.fits(selector))
        if not self._index:
            for member in self.members:
                for word in member.words:
                    self._index.setdefault(word, []).append(member)
        return tuple(self._index.get((selector.kind, selector.text), ()))

    def at(self, address: Address) -> Member | None:
        """The member that has an address."""
        return next((member for member in self.members if address in member.addresses), None)

    def networks(self, selector: Selector) -> tuple[Network, ...] | None:
        """The addresses that a selector matches; (): all addresses; None: no addresses."""
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
    """Compile policies for a packet filter. Policies that match nobody are left out."""
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
    """Rules that block a container without a name until its name is known, because no policy could match it."""
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
    """Whether a packet can have a source and a target from these: they have a common IP version."""
    return not source or not target or not {net.version for net in source}.isdisjoint(net.version for net in target)


def _sorted(members: Iterable[Member]) -> tuple[Network, ...]:
    """The addresses of all members, IPv4 first, unique."""
    found = {place: network for member in members for place, network in member.places}
    return tuple(found[place] for place in sorted(found))

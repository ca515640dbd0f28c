"""Which mechanism impairs which direction of the underlay now: the active links, and the texts that implement them.

Pure: knows the choice of `mechanisms.py`, and assigns each relayed direction a mark, each queued one a class. A
direction is identified by entry and exit ports if its hosts share a network, and by addresses if it crosses routers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from lab.fabric import plan, queues, rules, steering
from lab.fabric.mechanisms import LinkKernel, Mechanism, choose
from lab.fabric.plan import Interface, Underlay
from lab.fabric.relay.orders import SteeredWay
from lab.links import Link
from lab.links.changes import ChangedLinks, LinkChange

__all__ = ["Impairments"]

Pair = tuple[str, str]


class Impairments:
    """The links of one fabric. `kernel` is called once a link needs more than rules."""

    def __init__(
        self, underlay: Underlay, interfaces: Mapping[str, Sequence[Interface]], kernel: Callable[[], LinkKernel]
    ) -> None:
        self._underlay = underlay
        self._interfaces = interfaces
        self._kernel = kernel
        self._changed = ChangedLinks(underlay.links)
        self._minors = {host: 2 + number for number, host in enumerate(interfaces)}
        self._links: dict[Pair, Link] = {}
        """Links of every direction that is not perfect now."""
        self._wire_ports: set[str] | None = None
        """Cached result of `wire_ports`, because every host requests it as it boots."""
        self._by: dict[Pair, Mechanism] = {}
        self._ports: dict[Pair, list[tuple[str, str]]] = {}
        """(entry port, exit port) in the networks that both ends share."""
        self._ways: dict[Pair, list[SteeredWay]] = {}
        """Marks of every direction that was ever relayed, in the order of `_ends`; a host's addresses may change."""
        self._last_mark = 0
        self._steered: set[str] = set()
        """Exit ports that match marks."""
        self._queued: set[Pair] = set()
        """Directions that have a kernel queue, in use or not."""
        self._delayed: set[Pair] = set()
        """Those whose queue is netem."""
        for sender, receiver, link in underlay.links.impaired(list(underlay.hosts)):
            self._put((sender, receiver), link)

    def change(self, key: int, change: LinkChange | None) -> dict[Pair, Link]:
        """Set the change with this key, or remove it; returns the directions whose link changed."""
        changed = self._changed.set(key, change)
        for pair, link in changed.items():
            self._put(pair, link)
        return changed

    def join(self, underlay: Underlay, host: str) -> None:
        """Add a host, whose links are perfect."""
        self._underlay = underlay
        self._minors[host] = 2 + len(self._minors)

    def _put(self, pair: Pair, link: Link) -> None:
        self._wire_ports = None
        if link.perfect:
            self._links.pop(pair, None)
            self._by.pop(pair, None)
            return
        if pair not in self._ports:
            self._ports[pair] = list(plan.ports_between(self._interfaces, *pair))
        self._links[pair] = link
        self._by[pair] = choose(link, self._kernel, routed=not self._ports[pair])
        if self._by[pair] is Mechanism.RELAY and pair not in self._ways:
            self._ways[pair] = [self._way(pair, port) for _, port in self._ends(pair)]
        if self._by[pair] is Mechanism.QUEUES:
            self._queued.add(pair)

    def _way(self, pair: Pair, port: str) -> SteeredWay:
        self._last_mark += 1
        return SteeredWay(self._last_mark, *pair, port)

    def _ends(self, pair: Pair) -> Iterable[tuple[tuple[str, str], str]]:
        """((entry, exit) or (address, address), exit port) of a direction."""
        if ports := self._ports[pair]:
            return [(each, each[1]) for each in ports]
        sources, targets = (self._interfaces[host] for host in pair)
        return [
            ((source.address, target.address), target.port)
            for source in sources
            for target in targets
            if rules.family_of(source.address) == rules.family_of(target.address)
            and (self._underlay.routers or self._underlay.aliases)
        ]

    # Current state

    def mechanism(self, pair: Pair) -> Mechanism | None:
        """The mechanism that impairs a direction; None: it is not impaired."""
        return self._by.get(pair)

    def relayed(self) -> dict[Pair, Link]:
        """Directions that the relay handles."""
        return {pair: self._links[pair] for pair, by in self._by.items() if by is Mechanism.RELAY}

    def ways(self, pairs: Iterable[Pair]) -> list[SteeredWay]:
        """The marks of relayed directions."""
        return [way for pair in pairs for way in self._ways[pair]]

    def wire_ports(self) -> set[str]:
        """Ports on which offloads must be off, so that each packet passes individually."""
        if self._wire_ports is None:
            found: set[str] = set()
            for pair in self._links:
                ports = self._ports[pair]
                found.update(*ports) if ports else found.update(one.port for one in self._interfaces[pair[0]])
            self._wire_ports = found
        return self._wire_ports

    # Texts

    def bridge_rules(self) -> list[str]:
        """Rules for links between hosts of one network."""
        told = [(pair, self._ports[pair]) for pair in self._links if self._ports[pair]]
        classes = {
            ports: self._minors[pair[0]]
            for pair, listed in told
            if self._by[pair] is Mechanism.QUEUES
            for ports in listed
        }
        marks = self._marks(pair for pair, _ in told)
        drops = [(self._links[pair], rules.port_pairs(ports)) for pair, ports in told if self._drops(pair)]
        return [
            *rules.link_drops(rules.FABRIC.match, drops),
            *rules.class_rules(classes),
            *steering.mark_ports(marks),
            *self._sender_rules(),
        ]

    def _sender_rules(self) -> list[str]:
        """The same between hosts of different nodes of a topology: at the exit port to the receiver."""
        if not self._underlay.aliases:
            return []
        far = [pair for pair in self._links if not self._ports[pair]]
        drops = [
            (self._links[pair], [rules.from_sender(ends[0], port) for ends, port in self._ends(pair)])
            for pair in far
            if self._drops(pair)
        ]
        marks = {
            rules.from_sender(ends[0], port): way.mark
            for pair in far
            if self._by[pair] is Mechanism.RELAY
            for (ends, port), way in zip(self._ends(pair), self._ways[pair], strict=False)
        }
        return [*rules.link_drops(rules.SENDERS, drops), *steering.mark_elements(rules.SENDERS, marks)]

    def router_rules(self) -> list[str]:
        """Rules for links that cross routers."""
        routed = [pair for pair in self._links if not self._ports[pair]]
        drops = [(self._links[pair], [ends for ends, _ in self._ends(pair)]) for pair in routed if self._drops(pair)]
        return [*rules.routed_drops(drops), *steering.mark_addresses(self._marks(routed))]

    def _drops(self, pair: Pair) -> bool:
        """Whether rules implement a link's loss and MTU."""
        return self._by[pair] is not Mechanism.RELAY

    def _marks(self, pairs: Iterable[Pair]) -> dict[tuple[str, str], int]:
        return {
            ends: way.mark
            for pair in pairs
            if self._by[pair] is Mechanism.RELAY
            for (ends, _), way in zip(self._ends(pair), self._ways[pair], strict=False)
        }

    def port_commands(self, ports: Iterable[str]) -> str:
        """For `tc -batch`: queues of these new exit ports."""
        wanted = set(ports)
        made_again = {pair for pair in self._queued if any(port in wanted for _, port in self._ports[pair])}
        self._queued -= made_again.difference(self._queued_now())
        self._delayed -= made_again
        steered = {way.port: None for ways in self._ways.values() for way in ways if way.port in wanted}
        self._steered.update(steered)
        lines = [steering.steer_commands(port) for port in steered]
        queued = [(exit_, pair) for pair in self._queued_now() for _, exit_ in self._ports[pair] if exit_ in wanted]
        for port in dict.fromkeys(port for port, _ in queued):
            lines += [line + "\n" for line in queues.root_commands(port)]
        lines += [line + "\n" for port, pair in queued for line in self._queue(port, pair)]
        return "".join(lines)

    def change_commands(self, pairs: Iterable[Pair], known: Iterable[str]) -> str:
        """For `tc -batch`: changes at existing ports, because the links of these directions changed.

        `known`: the exit ports that have queues already.
        """
        rooted = set(known)
        lines = []
        for pair in pairs:
            if self._by.get(pair) is Mechanism.RELAY:
                ports = dict.fromkeys(way.port for way in self._ways[pair] if way.port not in self._steered)
                lines += [steering.steer_commands(port) for port in ports]
                self._steered.update(ports)
            if pair not in self._queued:
                continue
            for _, port in self._ports[pair]:
                if port not in rooted:
                    rooted.add(port)
                    lines += [line + "\n" for line in queues.root_commands(port)]
                lines += [line + "\n" for line in self._queue(port, pair)]
        return "".join(dict.fromkeys(lines))

    def rooted(self) -> set[str]:
        """The exit ports that have queues."""
        return {exit_ for pair in self._queued for _, exit_ in self._ports[pair]}

    def _queued_now(self) -> list[Pair]:
        return [pair for pair, by in self._by.items() if by is Mechanism.QUEUES]

    def _queue(self, port: str, pair: Pair) -> list[str]:
        minor = self._minors[pair[0]]
        if self._by.get(pair) is not Mechanism.QUEUES:
            return queues.drain_commands(port, minor, delayed=pair in self._delayed)
        link = self._links[pair]
        (self._delayed.add if link.timed else self._delayed.discard)(pair)
        return queues.queue_commands(port, minor, link)

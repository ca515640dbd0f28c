"""Evaluates a compiled policy for single flows, fast enough for all flows of a host.

Pure. Each address, and each protocol with its port, is matched against the rules once. A flow then needs one `and` of
bit sets in which each bit is a matching rule.
"""

import socket
from collections.abc import Iterable
from functools import cache

from overlay.compiled_policy import Address, CompiledPolicy, FlowRule, Network
from overlay.kernel.policy_keys import FlowKey

__all__ = ["PolicyEvaluator"]

_PROTOCOLS = {"tcp": (socket.IPPROTO_TCP,), "udp": (socket.IPPROTO_UDP,), "icmp": (1, 58)}
_DNS = 53


class PolicyEvaluator:
    """Evaluates one policy."""

    def __init__(self, policy: CompiledPolicy) -> None:
        self._policy = policy
        # Keyed by identity, because hashing a thousand networks takes longer than scanning them.
        sides = {id(side): _Side(side) for rule in policy.rules for side in (rule.source, rule.destination)}
        sources = [sides[id(rule.source)] for rule in policy.rules]
        destinations = [sides[id(rule.destination)] for rule in policy.rules]
        self._sources = cache(lambda address: _bits(side.has(address) for side in sources))
        self._destinations = cache(lambda address: _bits(side.has(address) for side in destinations))
        self._services = cache(lambda service: _bits(_serves(rule, service) for rule in policy.rules))

    def denies(self, flow: FlowKey) -> bool:
        """Whether the policy denies opening such a flow."""
        if flow.port == _DNS and flow.destination in self._policy.protected:
            return False
        matching = self._sources(flow.source) & self._destinations(flow.destination)
        matching &= self._services((flow.protocol, flow.port))
        if not matching:
            return not self._policy.accept_rest
        return not self._policy.rules[(matching & -matching).bit_length() - 1].accept


class _Side:
    """The addresses of one side of a rule."""

    def __init__(self, networks: tuple[Network, ...]) -> None:
        self._any = not networks
        self._hosts = frozenset(each.network_address for each in networks if each.prefixlen == each.max_prefixlen)
        self._wide = tuple(each for each in networks if each.prefixlen < each.max_prefixlen)

    def has(self, address: Address) -> bool:
        return self._any or address in self._hosts or any(address in each for each in self._wide)


def _bits(matching: Iterable[bool]) -> int:
    return sum(1 << place for place, matches in enumerate(matching) if matches)


def _serves(rule: FlowRule, service: tuple[int, int]) -> bool:
    protocol, port = service
    if rule.protocol is not None and protocol not in _PROTOCOLS[rule.protocol]:
        return False
    return not rule.ports or any(low <= port <= high for low, high in rule.ports)

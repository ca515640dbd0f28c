"""What a compiled policy says of single flows, fast enough for all flows that a host knows.

Pure. Each address, and each protocol with its port, is held against the rules once; a flow is then one `and` of numbers
whose bits are the rules that match.
"""

import socket
from collections.abc import Callable
from functools import cache
from typing import TypeVar

from overlay.drivers.policy_keys import Flow
from overlay.policy.compiled import Address, CompiledPolicy, FlowRule, Network

__all__ = ["Judge"]

_PROTOCOLS = {"tcp": (socket.IPPROTO_TCP,), "udp": (socket.IPPROTO_UDP,), "icmp": (1, 58)}
_DNS = 53
_What = TypeVar("_What")


class Judge:
    """See above."""

    def __init__(self, policy: CompiledPolicy) -> None:
        self._policy = policy
        self._sources = cache(self._matching(lambda rule, address: _within(address, rule.source)))
        self._destinations = cache(self._matching(lambda rule, address: _within(address, rule.destination)))
        self._services = cache(self._matching(_serves))

    def denies(self, flow: Flow) -> bool:
        """No such flow may be opened."""
        if flow.port == _DNS and flow.destination in self._policy.protected:
            return False
        matching = self._sources(flow.source) & self._destinations(flow.destination)
        matching &= self._services((flow.protocol, flow.port))
        if not matching:
            return not self._policy.accept_rest
        return not self._policy.rules[(matching & -matching).bit_length() - 1].accept

    def _matching(self, matches: Callable[[FlowRule, _What], bool]) -> Callable[[_What], int]:
        def found(what: _What) -> int:
            return sum(1 << place for place, rule in enumerate(self._policy.rules) if matches(rule, what))

        return found


def _within(address: Address, networks: tuple[Network, ...]) -> bool:
    return not networks or any(address in each for each in networks)


def _serves(rule: FlowRule, service: tuple[int, int]) -> bool:
    protocol, port = service
    if rule.protocol is not None and protocol not in _PROTOCOLS[rule.protocol]:
        return False
    return not rule.ports or any(low <= port <= high for low, high in rule.ports)

"""`weave check`: judges from facts everything that goes wrong on real hosts. Pure.

Owns the order of the checks. Each check is one function from `Facts` to at least one `Finding`. Checks and drivers
share only the module `facts`, so each check can be tested without a host.
"""

from collections.abc import Callable, Iterator, Mapping

from msgspec.structs import replace

from overlay.check.addresses import addresses
from overlay.check.bridge import bridge
from overlay.check.clocks import clocks
from overlay.check.environment import engine, policy, routes, state
from overlay.check.facts import Facts, HostFacts
from overlay.check.finding import Finding, Level
from overlay.check.firewall import firewall
from overlay.check.kernel import kernel, settings
from overlay.check.mtu import mtu
from overlay.check.names import dns
from overlay.check.peers import peers
from overlay.check.ports import ports
from overlay.check.programs import plugin, proxy, router

__all__ = ["CHECKS", "Facts", "Finding", "HostFacts", "Level", "judge"]

CHECKS: Mapping[str, Callable[[Facts], Iterator[Finding]]] = {
    "router": router,
    "proxy": proxy,
    "plugin": plugin,
    "engine": engine,
    "kernel": kernel,
    "sysctl": settings,
    "firewall": firewall,
    "routes": routes,
    "peers": peers,
    "ports": ports,
    "mtu": mtu,
    "clocks": clocks,
    "bridge": bridge,
    "addresses": addresses,
    "dns": dns,
    "policy": policy,
    "state": state,
}
"""Checks by the name in the table, in the order of the table: prerequisites of others come first."""


def judge(facts: Facts) -> tuple[Finding, ...]:
    """All findings, at least one for each check."""
    return tuple(replace(found, check=name) for name, check in CHECKS.items() for found in check(facts))

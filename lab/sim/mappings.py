"""A router's UDP address translation state, for any mapping and filtering behaviour of RFC 4787. Pure.

Owns mappings (a router port for a hidden host's address and port), the remotes that each lets in, and their expiry:
some time after the last packet from inside. `lab.sim.routers` owns the behaviour of Linux masquerade.
"""

from dataclasses import dataclass, field
from typing import Final

from lab.calibration import CALIBRATION, Calibration
from lab.translation import Behaviour, Translation
from overlay.config import Address

__all__ = ["Mapping", "Mappings"]

_FIRST_PORT: Final = 40_000
_PORTS: Final = 20_000

Remote = tuple[str, int]
"""A host's address, and its port or 0; part of a key."""


@dataclass(slots=True, eq=False)
class Mapping:
    """One mapping: the hidden host, the router's port, and when a packet was last sent to each remote."""

    host: str
    inside: Address
    port: int
    expires: int = 0
    sent_to: dict[Remote, int] = field(default_factory=dict)
    """Remote -> the time until which its packets are let in."""


class Mappings:
    """All mappings of one router."""

    def __init__(self, translation: Translation, model: Calibration = CALIBRATION) -> None:
        self._translation = translation
        self._lifetime = translation.timeout or model.nat_mapping
        self._made: dict[tuple[Address, Remote], Mapping] = {}
        """(hidden sender, the relevant part of the destination) -> mapping."""
        self._by_port: dict[int, Mapping] = {}
        self._next = 0

    def outgoing(self, host: str, source: Address, target: Address, now: int) -> Mapping:
        """The mapping for an outgoing packet of a hidden host, created if missing; its lifetime restarts now."""
        key = source, _counts(self._translation.mapping, target)
        mapping = self._made.get(key)
        if mapping is None or mapping.expires <= now:
            mapping = Mapping(host, source, self._free_port(now))
            self._made[key] = self._by_port[mapping.port] = mapping
        mapping.expires = now + self._lifetime
        mapping.sent_to[_counts(self._translation.filtering, target)] = mapping.expires
        return mapping

    def incoming(self, port: int, source: Address, now: int) -> Mapping | None:
        """The mapping of a port, if it lets this sender in; does not extend its lifetime (RFC 4787 REQ-6)."""
        mapping = self._by_port.get(port)
        if mapping is None or mapping.expires <= now:
            return None
        allowed = mapping.sent_to.get(_counts(self._translation.filtering, source), 0)
        return mapping if allowed > now else None

    def _free_port(self, now: int) -> int:
        for _ in range(_PORTS):
            port = _FIRST_PORT + self._next % _PORTS
            self._next += 1
            other = self._by_port.get(port)
            if other is None or other.expires <= now:
                return port
        return _FIRST_PORT + self._next % _PORTS


def _counts(behaviour: Behaviour, remote: Address) -> Remote:
    """The part of a remote's address that is relevant."""
    if behaviour == "endpoint-independent":
        return ("", 0)
    return (remote.host, 0 if behaviour == "address-dependent" else remote.port)

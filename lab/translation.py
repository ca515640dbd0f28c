"""How a router translates addresses, in the terms of RFC 4787: one model for the simulator and for real routers. Pure.

A *mapping* is the router port that represents a hidden host's address and port. Its behaviour defines for which
destinations it is the same; the *filtering* defines who may send to it. The classic types (RFC 3489) are four pairs of
these.
"""

from typing import Final, Literal

from msgspec import Struct

__all__ = ["KINDS", "LINUX", "MASQUERADE", "Behaviour", "Translation"]

Behaviour = Literal["endpoint-independent", "address-dependent", "address-and-port-dependent"]
LINUX: Final = "linux"
"""The kernel's masquerade: a mapping for each flow, the sender's port kept if it is free, replies accepted only from
the flow's destination."""
KINDS: Final[dict[str, tuple[Behaviour, Behaviour]]] = {
    LINUX: ("address-and-port-dependent", "address-and-port-dependent"),
    "full-cone": ("endpoint-independent", "endpoint-independent"),
    "restricted-cone": ("endpoint-independent", "address-dependent"),
    "port-restricted-cone": ("endpoint-independent", "address-and-port-dependent"),
    "symmetric": ("address-and-port-dependent", "address-and-port-dependent"),
}
"""Name -> mapping and filtering."""


class Translation(Struct, frozen=True, omit_defaults=True):
    """How UDP of hidden hosts is translated; other protocols are translated as Linux does."""

    mapping: Behaviour = "address-and-port-dependent"
    filtering: Behaviour = "address-and-port-dependent"
    linux: bool = True
    """The kernel's own translation: ports are kept if they are free."""
    hairpin: bool = False
    """Hidden hosts reach each other at the router's outer address."""
    timeout: int = 0
    """Lifetime of a mapping in nanoseconds after the last packet from inside; 0: Linux's 30 s, 120 s after a reply."""


MASQUERADE: Final = Translation()

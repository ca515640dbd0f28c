"""How a router translates addresses, in the terms of RFC 4787: one model for the simulator and for real routers. Pure.

A *mapping* is the port at the router that represents a hidden host's address and port. Its behaviour says for which
destinations it is the same; the *filtering* says who may send to it. The classic kinds (RFC 3489) are four pairs of
these.
"""

from typing import Final, Literal

from msgspec import Struct

__all__ = ["KINDS", "LINUX", "MASQUERADE", "Behaviour", "Translation"]

Behaviour = Literal["endpoint-independent", "address-dependent", "address-and-port-dependent"]
LINUX: Final = "linux"
"""What the kernel's masquerade does: a mapping for each flow, the sender's port kept where it is free, answers let in
from exactly where the question went."""
KINDS: Final[dict[str, tuple[Behaviour, Behaviour]]] = {
    LINUX: ("address-and-port-dependent", "address-and-port-dependent"),
    "full-cone": ("endpoint-independent", "endpoint-independent"),
    "restricted-cone": ("endpoint-independent", "address-dependent"),
    "port-restricted-cone": ("endpoint-independent", "address-and-port-dependent"),
    "symmetric": ("address-and-port-dependent", "address-and-port-dependent"),
}
"""Name -> mapping and filtering."""


class Translation(Struct, frozen=True, omit_defaults=True):
    """What becomes of UDP of hidden hosts; other protocols are translated as Linux does."""

    mapping: Behaviour = "address-and-port-dependent"
    filtering: Behaviour = "address-and-port-dependent"
    linux: bool = True
    """The kernel's own: ports are kept where they are free."""
    hairpin: bool = False
    """Hidden hosts reach each other at the router's outer address."""
    timeout: int = 0
    """Nanoseconds after the last packet from inside that a mapping lives; 0: Linux's 30 s, 120 s once answered."""


MASQUERADE: Final = Translation()

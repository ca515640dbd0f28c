"""How real hosts' links are impaired: by rules that drop, the kernel's queues, or the lab's relay. Owns this choice.

Rules and queues cost nothing on other links; the relay does what the kernel cannot, for the directions that need it.
"""

import os
from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

from lab.errors import LabError
from lab.fabric import features
from lab.links import Distribution, Link

__all__ = ["KERNEL_MADE", "SWITCH", "LinkKernel", "Mechanism", "choose", "lacks", "this_kernel"]

SWITCH = "OVERLAY_LAB_LINKS"
"""Environment variable: `relay` uses the relay for everything that it can do, whatever the kernel supports; `auto` is
the default."""
_RULES = ("loss", "mtu")
KERNEL_MADE = (*_RULES, "rate", "delay", "jitter", "distribution", "burst", "duplicate", "reorder", "corrupt")
"""Link parameters that the kernel's rules, htb and netem implement as the model does."""


class Mechanism(StrEnum):
    """The mechanism that impairs a direction."""

    RULES = "rules"
    """nft drops packets at random, or because they are too big."""
    QUEUES = "queues"
    """htb and netem delay packets."""
    RELAY = "relay"
    """A process of the lab delays packets, by the model of `lab.links`."""


class LinkKernel(Struct, frozen=True):
    """The kernel features that links need."""

    htb: bool
    netem: bool
    relay: bool

    def makes(self, link: Link, *, routed: bool) -> bool:
        """Whether the kernel's queues act as the model does. Over routers they cannot distinguish senders."""
        asks = link.asks()
        return (
            self.htb
            and not routed
            and all(name in KERNEL_MADE for name in asks)
            and (self.netem or not link.timed)
            and link.distribution is not Distribution.TABLE
        )


def forced() -> bool:
    """Whether the environment forces the relay wherever possible. Raises `LabError` for an unknown value."""
    asked = os.environ.get(SWITCH, "auto") or "auto"
    if asked not in ("auto", "relay"):
        raise LabError(f"{SWITCH}: found {asked!r}, expected auto or relay")
    return asked == "relay"


def choose(link: Link, kernel: Callable[[], LinkKernel], *, routed: bool) -> Mechanism:
    """The mechanism for this link. `routed`: it crosses a router; `kernel` is called if rules alone are not enough."""
    if not forced():
        if all(name in _RULES for name in link.asks()):
            return Mechanism.RULES
        if kernel().makes(link, routed=routed):
            return Mechanism.QUEUES
    return Mechanism.RELAY


def lacks(link: Link, *, routed: bool) -> str:
    """What this machine lacks for a link, with the remedy; empty when it lacks nothing."""
    if choose(link, this_kernel, routed=routed) is not Mechanism.RELAY or this_kernel().relay:
        return ""
    found = features.check("relay")
    return f"this kernel can make it neither by its queues nor by the lab's relay ({found.detail}); {found.remedy}"


def this_kernel() -> LinkKernel:
    """This machine's features; tested once."""
    return LinkKernel(*(features.check(name).found for name in ("htb", "netem", "relay")))

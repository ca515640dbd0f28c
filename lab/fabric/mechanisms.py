"""What makes a link bad on real hosts: rules that drop, the kernel's queues, or the lab's own relay. The one place that
chooses.

Rules and queues cost nothing where they are not; the relay does what the kernel cannot, for the directions that need
it.
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
"""In the environment: `relay` has the relay do all that it can, whatever the kernel has; `auto` is usual."""
_RULES = ("loss", "mtu")
KERNEL_MADE = (*_RULES, "rate", "delay", "jitter", "distribution", "burst", "duplicate", "reorder", "corrupt")
"""What of a link the kernel's rules, htb and netem do as the model does."""


class Mechanism(StrEnum):
    """By what a direction is impaired."""

    RULES = "rules"
    """nft drops packets by chance, or because they are too big."""
    QUEUES = "queues"
    """htb and netem hold packets back."""
    RELAY = "relay"
    """A process of the lab holds packets back, as the model of `lab.links` says."""


class LinkKernel(Struct, frozen=True):
    """What of it there is."""

    htb: bool
    netem: bool
    relay: bool

    def makes(self, link: Link, *, routed: bool) -> bool:
        """Whether the kernel's queues do to packets what the model does. Over routers they do not tell senders."""
        asks = link.asks()
        return (
            self.htb
            and not routed
            and all(name in KERNEL_MADE for name in asks)
            and (self.netem or not link.timed)
            and link.distribution is not Distribution.TABLE
        )


def forced() -> bool:
    """Whether the environment wants the relay for all that it can do. Raises `LabError` for something unknown."""
    asked = os.environ.get(SWITCH, "auto") or "auto"
    if asked not in ("auto", "relay"):
        raise LabError(f"{SWITCH}: found {asked!r}, expected auto or relay")
    return asked == "relay"


def choose(link: Link, kernel: Callable[[], LinkKernel], *, routed: bool) -> Mechanism:
    """What makes this link. `routed`: it leads over a router; `kernel` is asked where rules alone do not do."""
    if not forced():
        if all(name in _RULES for name in link.asks()):
            return Mechanism.RULES
        if kernel().makes(link, routed=routed):
            return Mechanism.QUEUES
    return Mechanism.RELAY


def lacks(link: Link, *, routed: bool) -> str:
    """What this machine lacks for a link, with what helps; empty when nothing is."""
    if choose(link, this_kernel, routed=routed) is not Mechanism.RELAY or this_kernel().relay:
        return ""
    found = features.check("relay")
    return f"this kernel can make it neither by its queues nor by the lab's relay ({found.detail}); {found.remedy}"


def this_kernel() -> LinkKernel:
    """What this machine has; tried once."""
    return LinkKernel(*(features.check(name).found for name in ("htb", "netem", "relay")))

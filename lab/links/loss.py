"""Which packets a link loses: independent loss, correlated loss, bursts (Gilbert-Elliott). Pure.

With correlation r, a packet has the fate of the previous packet with probability r; otherwise it is lost with
probability p. So a share p of all packets is lost for any r, losses k packets apart have correlation r^k, and a run of
losses has a mean length of 1/((1-r)(1-p)) packets. (netem blends the random numbers instead, so its loss differs from
the configured one: `get_crandom` in the kernel's net/sched/sch_netem.c.)

The Gilbert-Elliott chain steps before each packet, and the packet is lost with the probability of the new state. In the
mean, a share enter/(enter+leave) of the packets is in the bad state.
"""

from lab.links.values import Link
from overlay.env import Random

__all__ = ["LossProcess"]


class LossProcess:
    """The losses in one direction."""

    __slots__ = ("_bad", "_last", "_rng", "link")

    def __init__(self, link: Link, rng: Random) -> None:
        self.link = link
        self._rng = rng
        self._bad = False
        self._last: bool | None = None
        """Whether `loss` dropped the previous packet; None: there is no previous packet."""

    def lost(self) -> bool:
        """Whether the next packet is lost."""
        link, rng = self.link, self._rng
        lost = bool(link.loss) and self._by_loss(link)
        if link.burst is not None:
            self._bad = rng.random() >= link.burst.leave if self._bad else rng.random() < link.burst.enter
            lost = rng.random() < (link.burst.bad if self._bad else link.burst.good) or lost
        return lost

    def _by_loss(self, link: Link) -> bool:
        if not link.loss_correlation:
            return self._rng.random() < link.loss
        if self._last is None or self._rng.random() >= link.loss_correlation:
            self._last = self._rng.random() < link.loss
        return self._last

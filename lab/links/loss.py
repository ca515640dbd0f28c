"""Which packets a link loses: independent loss, loss with correlation, bursts after Gilbert and Elliott. Pure.

With correlation r, the packet before decides with probability r, and a draw with probability p otherwise. So a share p
of all packets is lost whatever r is, losses r^k apart are correlated by r^k, and a run of losses has 1/((1-r)(1-p))
packets in the mean. (netem blends the numbers that it draws instead, so that its loss differs from what was asked:
`get_crandom` in the kernel's net/sched/sch_netem.c.)

The chain of Gilbert and Elliott steps before each packet, and the packet is lost with the probability of the state
that it came to. In the mean a share enter/(enter+leave) of the packets meets the bad state.
"""

from lab.links.values import Link
from overlay.env import Random

__all__ = ["LossProcess"]


class LossProcess:
    """The losses of one direction."""

    __slots__ = ("_bad", "_last", "_rng", "link")

    def __init__(self, link: Link, rng: Random) -> None:
        self.link = link
        self._rng = rng
        self._bad = False
        self._last: bool | None = None
        """Whether `loss` took the packet before; None: there was none."""

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

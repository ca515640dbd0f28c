"""Datagrams that call lost peers, so that the first one to get through ends a partition. Knows no back-off and no TCP.

Each called address gets one beacon per interval, with jitter. The interval grows when there are many addresses or when
a peer has been lost for a long time.
"""

from collections.abc import Callable
from typing import Final

from overlay.config import Address, PeerName
from overlay.effects import Effect, SendDatagram
from overlay.env import SECOND, Random
from overlay.timers import Timers
from overlay.tuning import STANDARD, Tuning
from overlay.wire.envelopes import Beacon

MAX_CALLED: Final = 1024


class Beacons:
    """The addresses that one peer calls."""

    def __init__(self, interval: int, rng: Random, tuning: Tuning = STANDARD) -> None:
        self._tuning = tuning
        self._interval = interval
        self._rng = rng
        self._called: dict[Address, tuple[PeerName, int]] = {}
        self.timers: Timers[Address] = Timers()

    def call(self, address: Address, peer: PeerName, now: int) -> None:
        """Call `address` until `hush`, because `peer` ("": any peer) is lost and was last seen there."""
        if address in self._called or len(self._called) >= MAX_CALLED:
            return
        self._called[address] = (peer, now)
        self._schedule(address, now)

    def hush(self, address: Address) -> None:
        """Stop calling this address."""
        self._called.pop(address, None)
        self.timers.cancel(address)

    def hush_peer(self, peer: PeerName) -> None:
        """Stop calling `peer`."""
        for address in [address for address, (name, _) in self._called.items() if name == peer]:
            self.hush(address)

    def calls(self, peer: PeerName) -> bool:
        """Whether `peer` is being called by its name."""
        return any(name == peer for name, _ in self._called.values())

    @property
    def called(self) -> tuple[Address, ...]:
        """The called addresses, sorted."""
        return tuple(sorted(self._called))

    def wake(self, message: Callable[[PeerName], Beacon], now: int) -> list[Effect]:
        """The beacons that are due. `message` makes the beacon for a peer ("": any peer at that address)."""
        effects: list[Effect] = []
        while (address := self.timers.pop(now)) is not None:
            peer, since = self._called[address]
            if peer and now - since >= self._tuning.beacon_given_up:
                del self._called[address]
                continue
            self._schedule(address, now)
            effects.append(SendDatagram(address, message(peer)))
        return effects

    def _schedule(self, address: Address, now: int) -> None:
        interval = max(self._interval, len(self._called) * SECOND // self._tuning.beacon_budget)
        if now - self._called[address][1] >= self._tuning.beacon_long_lost:
            interval = max(interval, self._tuning.beacon_long_lost_interval)
        self.timers.set(address, now + self._rng.randrange(interval * 3 // 4, interval * 5 // 4 + 1))

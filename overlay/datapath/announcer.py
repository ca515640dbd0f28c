"""Which neighbour caches of this host's containers are to be corrected when, and how fast.

Owns the queue of addresses that have another MAC now, and the rate at which they are told. Must not know frames, ports
or where a MAC is. A container keeps a MAC that it has learned for half a minute or longer, whatever the kernel outside
answers; only a frame that arrives at it corrects that (RFC 826; RFC 4861, 7.2.6).
"""

from typing import Final

from overlay.effects import Announce, Effect
from overlay.env import MILLISECOND

BURST: Final = 256
"""Addresses that are told at once; they cost some milliseconds on a bridge of a hundred ports."""
PAUSE: Final = MILLISECOND
"""What each further one waits."""
GRAIN: Final = 50 * MILLISECOND
"""What waits is told in groups, at most so often."""


class Announcer:
    """What is to be told. An address stands in it once, with its latest MAC."""

    def __init__(self) -> None:
        self._changed: dict[str, str] = {}
        """Address to MAC where another MAC is known to have been told before: these first."""
        self._new: dict[str, str] = {}
        """Where none is known: an earlier life of this daemon may have told one."""
        self._credit = BURST
        self._counted = 0
        """Until when the credit has been counted."""

    def add(self, address: str, mac: str, changed: bool) -> None:
        """Tell that `address` has `mac`; `changed`: it had another one."""
        changed = self._changed.pop(address, None) is not None or changed
        self._new.pop(address, None)
        (self._changed if changed else self._new)[address] = mac

    def drop(self, address: str) -> None:
        """Nobody has this address any more."""
        self._changed.pop(address, None)
        self._new.pop(address, None)

    def take(self, now: int) -> list[Effect]:
        """What is to be told now."""
        if not self._changed and not self._new:
            return []
        earned = (now - self._counted) // PAUSE
        if earned > 0:
            self._credit = min(BURST, self._credit + earned)
            self._counted = now
        told: list[tuple[str, str]] = []
        for waiting in (self._changed, self._new):
            for address in list(waiting)[: self._credit - len(told)]:
                told.append((address, waiting.pop(address)))
        self._credit -= len(told)
        return [Announce(tuple(told))] if told else []

    def deadline(self) -> int | None:
        """When `take` has something again; None: nothing waits."""
        return self._counted + GRAIN if self._changed or self._new else None

"""Decides when and how fast the neighbour caches of this host's containers are corrected.

Owns the queue of addresses whose MAC has changed, and the announcement rate. Must not know frames, ports or the
location of a MAC. A container keeps a learned MAC for half a minute or longer, whatever the host's kernel answers; only
a frame that reaches the container corrects it (RFC 826; RFC 4861, 7.2.6).
"""

from typing import Final

from overlay.effects import Announce, Effect
from overlay.env import MILLISECOND

BURST: Final = 256
"""Addresses announced at once; this takes a few milliseconds on a bridge of a hundred ports."""
PAUSE: Final = MILLISECOND
"""Delay for each further address."""
GRAIN: Final = 50 * MILLISECOND
"""Minimum time between groups of delayed announcements."""


class Announcer:
    """The queue of announcements. Each address is in it once, with its latest MAC."""

    def __init__(self) -> None:
        self._changed: dict[str, str] = {}
        """Address to MAC where a different MAC is known to have been announced; these go first."""
        self._new: dict[str, str] = {}
        """Address to MAC where none is known; an earlier run of this daemon may have announced one."""
        self._credit = BURST
        self._counted = 0
        """Time up to which the credit has been counted."""

    def add(self, address: str, mac: str, changed: bool) -> None:
        """Queue `mac` for `address`; `changed`: the address had a different MAC before."""
        changed = self._changed.pop(address, None) is not None or changed
        self._new.pop(address, None)
        (self._changed if changed else self._new)[address] = mac

    def drop(self, address: str) -> None:
        """The address has no MAC any more."""
        self._changed.pop(address, None)
        self._new.pop(address, None)

    def take(self, now: int) -> list[Effect]:
        """The announcements to send now."""
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
        """When `take` has announcements again; None: the queue is empty."""
        return self._counted + GRAIN if self._changed or self._new else None

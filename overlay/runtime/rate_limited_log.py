"""One log line per offender: a host that sends garbage a thousand times a second is logged once.

Owns the bounded memory of logged offenders, and the rate limit for all of them together, because a datagram's source
can be forged. IPv6 sources are counted by /64.
"""

import logging
import time

from overlay.mesh.throttle import Bucket
from overlay.shares import source

__all__ = ["RateLimitedLog"]

log = logging.getLogger(__name__)

_REMEMBERED = 1024
_LINES = (100, 1)
"""(burst, lines a second) for all offenders together; further lines are only counted."""


class RateLimitedLog:
    """Complaints by offender; above a bound the oldest are forgotten."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._lines = Bucket(*_LINES, time.monotonic_ns())

    def complain(self, kind: str, host: str, text: str) -> bool:
        """Log `text` if this is the first complaint about `host`; returns whether it was logged."""
        offender = f"{kind} {source(host)}"
        count = self._counts.get(offender, 0)
        logged = count == 0 and self._lines.has(time.monotonic_ns())
        if count == 0 and len(self._counts) >= _REMEMBERED:
            del self._counts[next(iter(self._counts))]
        if logged:
            self._lines.take()
            log.warning("%s %s: %s (further ones are not logged)", kind, host, text)
        self._counts[offender] = count + 1
        return logged

    @property
    def total(self) -> int:
        """The number of complaints about all remembered offenders."""
        return sum(self._counts.values())

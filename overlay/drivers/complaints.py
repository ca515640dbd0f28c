"""Complaining once per offender: a stranger that sends garbage a thousand times a second gets one line in the log.

Owns the memory of who was complained about, bounded.
"""

import logging

__all__ = ["Complaints"]

log = logging.getLogger(__name__)

_REMEMBERED = 1024


class Complaints:
    """What was complained about, by offender; the oldest are forgotten beyond a bound."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def complain(self, offender: str, text: str) -> bool:
        """Log `text` if this is the first complaint about `offender`; returns whether it was."""
        count = self._counts.get(offender, 0)
        if count == 0:
            if len(self._counts) >= _REMEMBERED:
                del self._counts[next(iter(self._counts))]
            log.warning("%s: %s (further ones are not logged)", offender, text)
        self._counts[offender] = count + 1
        return count == 0

    @property
    def total(self) -> int:
        """How many complaints there were about all remembered offenders."""
        return sum(self._counts.values())

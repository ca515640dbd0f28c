"""How often strangers may make this peer compute: token buckets, one for all and one for each source. No clock.

The memory of sources is bounded; the source that was quiet longest is forgotten, with a full bucket when it returns,
while the bucket for all still holds.
"""

from typing import Final

from overlay.env import SECOND

EACH: Final = (5, 1)
ALL: Final = (20, 10)
"""(burst, tokens a second) of one source, and of all together: at 6 ms each, a sixteenth of a core."""
MAX_SOURCES: Final = 256


class Bucket:
    """Holds at most `burst` tokens and gets `rate` a second."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, burst: int, rate: int, now: int) -> None:
        self._burst = burst * SECOND
        self._rate = rate
        self._tokens = self._burst
        self._at = now

    def has(self, now: int) -> bool:
        """Whether there is a token."""
        self._tokens = min(self._burst, self._tokens + max(0, now - self._at) * self._rate)
        self._at = now
        return self._tokens >= SECOND

    def take(self) -> None:
        """Use up the token that `has` has found."""
        self._tokens -= SECOND


class Throttle:
    """All buckets."""

    def __init__(self) -> None:
        self._all: Bucket | None = None
        self._each: dict[str, Bucket] = {}

    def allows(self, source: str, now: int) -> bool:
        """Whether `source` may have one more computation; if so, it is counted."""
        if self._all is None:
            self._all = Bucket(*ALL, now)
        each = self._each.pop(source, None) or Bucket(*EACH, now)
        self._each[source] = each
        if len(self._each) > MAX_SOURCES:
            del self._each[next(iter(self._each))]
        if not each.has(now) or not self._all.has(now):
            return False
        each.take()
        self._all.take()
        return True

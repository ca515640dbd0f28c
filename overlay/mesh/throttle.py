"""Limits how often strangers can make this peer compute: token buckets per source, for repeated tries, and for all.

Sources that have tried several times recently share one bucket (5 per second of 10 in total), so a newcomer gets its
turn during a flood from many sources. The number of remembered sources is bounded. The source that was quiet longest is
forgotten and counts as new when it returns; the bucket for all still applies. No clock.
"""

from typing import Final

from overlay.env import SECOND
from overlay.shares import source

EACH: Final = (5, 1)
INSISTING: Final = (5, 5)
ALL: Final = (20, 10)
"""(burst, tokens a second) of one source, of all repeated tries, and of all sources together: at 6 ms each, one
sixteenth of a core."""
TRIES: Final = 3
"""Number of tries before a source counts as repeated; a refused dialler waits longer each time."""
FORGET: Final = 60 * SECOND
"""A source that was quiet for this long counts as new."""
MAX_SOURCES: Final = 256


class Bucket:
    """A token bucket: holds at most `burst` tokens and gains `rate` per second."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, burst: int, rate: int, now: int) -> None:
        self._burst = burst * SECOND
        self._rate = rate
        self._tokens = self._burst
        self._at = now

    def has(self, now: int) -> bool:
        """Whether a token is available."""
        self._tokens = min(self._burst, self._tokens + max(0, now - self._at) * self._rate)
        self._at = now
        return self._tokens >= SECOND

    def take(self) -> None:
        """Take the token that `has` found."""
        self._tokens -= SECOND


class _Source:
    __slots__ = ("at", "bucket", "tries")

    def __init__(self, now: int) -> None:
        self.bucket = Bucket(*EACH, now)
        self.tries = 0
        self.at = now


class Throttle:
    """The token buckets of one peer."""

    def __init__(self) -> None:
        self._all: Bucket | None = None
        self._insisting: Bucket | None = None
        self._sources: dict[str, _Source] = {}
        """Ordered by last use; the source that was quiet longest comes first."""

    def allows(self, host: str, now: int) -> bool:
        """Whether `host` may cause one more computation; if so, it is counted."""
        if self._all is None or self._insisting is None:
            self._all, self._insisting = Bucket(*ALL, now), Bucket(*INSISTING, now)
        of = source(host)
        known = self._sources.pop(of, None)
        if known is None or now - known.at >= FORGET:
            known = _Source(now)
        self._sources[of] = known
        if len(self._sources) > MAX_SOURCES:
            del self._sources[next(iter(self._sources))]
        insists = known.tries >= TRIES
        known.tries += 1
        known.at = now
        if not known.bucket.has(now) or not self._all.has(now) or (insists and not self._insisting.has(now)):
            return False
        known.bucket.take()
        self._all.take()
        if insists:
            self._insisting.take()
        return True

"""Times as the Docker API writes them. Pure; integer nanoseconds since the epoch go in."""

from datetime import UTC, datetime

__all__ = ["NEVER", "duration", "parse_time", "rfc3339"]

NEVER = "0001-01-01T00:00:00Z"
"""Go's zero time: the API's value for events that have not happened yet."""

SECOND = 1_000_000_000


def rfc3339(ns: int) -> str:
    """2015-06-25T12:00:00.123456789Z; 0 is `NEVER`."""
    if ns <= 0:
        return NEVER
    return datetime.fromtimestamp(ns // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ns % SECOND:09d}Z"


def parse_time(text: str) -> int:
    """A value of `since` and `until`: seconds (with a fraction) since the epoch, or RFC 3339. Raises ValueError."""
    if "T" in text:
        return int(datetime.fromisoformat(text).timestamp() * SECOND)
    whole, _, fraction = text.partition(".")
    return int(whole) * SECOND + int((fraction + "000000000")[:9])


def duration(ns: int) -> str:
    """A time span in the words of `docker ps`: `Less than a second`, `7 seconds`, `About an hour`, `3 days`."""
    seconds = ns // SECOND
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    if seconds < 60:
        return f"{seconds} seconds"
    minutes = seconds // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = (minutes + 30) // 60
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    return f"{hours // 24} days"

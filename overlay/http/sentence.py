"""Maps an error of a request to a status and one sentence. Knows no HTTP library.

`listener` sends the sentence over a socket; the simulator passes it to the simulated `weave`.
"""

import logging
from collections.abc import Iterable

from overlay.clean import clean
from overlay.errors import EnvironmentProblem, OverlayError, UsageError

__all__ = ["BUG", "Bugs", "NotFound", "no_path", "sentence", "wrong_method"]

log = logging.getLogger(__name__)

BUG = "this is a bug of the router: its log has the details"
SHOWN = 200
"""Maximum number of a path's characters in a message."""


class NotFound(UsageError):
    """The request is well-formed, but the object does not exist."""


def sentence(error: BaseException) -> tuple[int, str] | None:
    """The status and the sentence for an error of a handler; None: the error is a bug."""
    match error:
        case NotFound():
            return 404, str(error)
        case UsageError():
            return (404 if "No such container" in str(error) else 400), str(error)
        case EnvironmentProblem():
            return 503, str(error)
        case OverlayError():
            return 500, str(error)
        case TimeoutError():
            return 504, "not done in time; `weave status` says what the router waits for"
        case OSError():
            place = f": {error.filename}" if error.filename else ""
            return 503, f"this host refused it: {error.strerror or error}{place}"
    return None


def no_path(path: str) -> str:
    """The message for an unknown path."""
    return f"there is no {clean(path, most=SHOWN)} here"


def wrong_method(path: str, method: str, allowed: Iterable[str]) -> str:
    """The message for a path that does not support the method."""
    return f"{clean(path, most=SHOWN)} does not take {method}, but {', '.join(sorted(allowed))}"


class Bugs:
    """Logs unexpected errors, with one traceback for each place in the code."""

    def __init__(self) -> None:
        self._seen: dict[str, None] = {}

    def complain_of(self, error: BaseException, what: str) -> None:
        """Log that `what` failed."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{type(error).__name__} {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else what
        if place not in self._seen and len(self._seen) < 64:
            self._seen[place] = None
            log.error("%s failed (said once)", what[:SHOWN], exc_info=error)

"""What becomes of an error that a request ends with: a status and one sentence. Knows no HTTP library.

`listener` says so over a socket; the simulator says it to the simulated `weave`.
"""

import logging
from collections.abc import Iterable

from overlay.clean import clean
from overlay.errors import EnvironmentProblem, OverlayError, UsageError

__all__ = ["BUG", "Bugs", "NotFound", "no_path", "sentence", "wrong_method"]

log = logging.getLogger(__name__)

BUG = "this is a bug of the router: its log has the details"
SHOWN = 200
"""Characters of a path that a sentence shows."""


class NotFound(UsageError):
    """Well-formed, but there is no such thing."""


def sentence(error: BaseException) -> tuple[int, str] | None:
    """The status and the sentence for an error of a handler; None: no such error is expected."""
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
    """For a path that nothing stands behind."""
    return f"there is no {clean(path, most=SHOWN)} here"


def wrong_method(path: str, method: str, allowed: Iterable[str]) -> str:
    """For a path that is asked with another method."""
    return f"{clean(path, most=SHOWN)} does not take {method}, but {', '.join(sorted(allowed))}"


class Bugs:
    """Complains of errors that nobody expects: a traceback in the log, once for each place in the code."""

    def __init__(self) -> None:
        self._seen: dict[str, None] = {}

    def complain_of(self, error: BaseException, what: str) -> None:
        """Say that `what` failed."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{type(error).__name__} {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else what
        if place not in self._seen and len(self._seen) < 64:
            self._seen[place] = None
            log.error("%s failed (said once)", what[:SHOWN], exc_info=error)

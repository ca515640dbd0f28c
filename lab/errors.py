"""Errors that the lab raises deliberately: what was found, what was expected, and the remedy."""

import errno

from overlay.clean import LINES, clean


class LabError(Exception):
    """The lab cannot do what was requested; the text says why and names the remedy."""

    def __str__(self) -> str:
        # The text is printed, and may contain text of a scenario, a container or an engine.
        return clean(super().__str__(), keep=LINES)


class Unreadable(LabError):
    """Stored data that this version cannot read: its meaning is unknown, and there is no verdict."""


class BackendRefused(LabError):
    """The backend does not support the scenario; nothing was started. One line for each reason."""


class StepRefused(LabError):
    """The request to a live lab is not a step, or not possible there; nothing was done. One line for each reason."""


class StepFailed(AssertionError):
    """A step or an expectation of a live lab failed; the text is the runner's own sentence."""


class Exhausted(LabError):
    """This machine, or this user's limits, have no room for the lab: this says nothing about the scenario."""


_ROOM = {
    errno.EAGAIN: "this user may start no more processes (ulimit -u), or the machine has no room for more",
    errno.EMFILE: "no more files may be open at once (ulimit -n)",
    errno.ENFILE: "this machine can open no more files",
    errno.ENOMEM: "this machine has not enough memory",
    errno.ETOOMANYREFS: "too many descriptors of this user are on their way at once (ulimit -n)",
}


def no_room(error: BaseException | int) -> str:
    """The exhausted resource, if an error (or its number) names one; else empty."""
    if isinstance(error, MemoryError):
        return _ROOM[errno.ENOMEM]
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return _ROOM[errno.EAGAIN]
    number = error.errno if isinstance(error, OSError) else error
    return _ROOM.get(number, "") if isinstance(number, int) else ""


class Violation(LabError):
    """An invariant of the overlay does not hold: the run is invalid, whatever it expects.

    `what` is the violation in two words, `text` the whole description; also the hosts and addresses involved.
    """

    def __init__(self, what: str, text: str, hosts: tuple[str, ...] = (), addresses: tuple[str, ...] = ()) -> None:
        self.what, self.text, self.hosts, self.addresses = what, text, hosts, addresses
        super().__init__(f"invariant: {what}: {text}")

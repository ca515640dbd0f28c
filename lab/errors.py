"""Errors that the lab raises on purpose: what was found, what was expected, what to do about it."""

import errno

from overlay.clean import LINES, clean


class LabError(Exception):
    """The lab cannot do what it was asked; the text says why and names the remedy."""

    def __str__(self) -> str:
        # It is made to be printed, and may hold words of a scenario, a container or an engine.
        return clean(super().__str__(), keep=LINES)


class Unreadable(LabError):
    """Stored data that nothing of this version has written: what it would say is unknown, and no verdict."""


class BackendRefused(LabError):
    """The backend cannot honour what the scenario asks; nothing was started. One line for each reason."""


class StepRefused(LabError):
    """What was asked of a live lab is no step, or not possible there; nothing was done. One line for each reason."""


class StepFailed(AssertionError):
    """A step or an expectation of a live lab did not come true; the text is the runner's own sentence."""


class Exhausted(LabError):
    """This machine, or this user's limits, have no room for the lab: which says nothing of the scenario."""


_ROOM = {
    errno.EAGAIN: "this user may start no more processes (ulimit -u), or the machine has no room for more",
    errno.EMFILE: "no more files may be open at once (ulimit -n)",
    errno.ENFILE: "this machine can open no more files",
    errno.ENOMEM: "this machine has not enough memory",
    errno.ETOOMANYREFS: "too many descriptors of this user are on their way at once (ulimit -n)",
}


def no_room(error: BaseException | int) -> str:
    """What ran out, if an error (or its number) says so; else empty."""
    if isinstance(error, MemoryError):
        return _ROOM[errno.ENOMEM]
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return _ROOM[errno.EAGAIN]
    number = error.errno if isinstance(error, OSError) else error
    return _ROOM.get(number, "") if isinstance(number, int) else ""


class Violation(LabError):
    """Something that must always hold of the overlay does not: the run is invalid, whatever it expects.

    `what` in two words, `text` whole, and the hosts and addresses that it is about.
    """

    def __init__(self, what: str, text: str, hosts: tuple[str, ...] = (), addresses: tuple[str, ...] = ()) -> None:
        self.what, self.text, self.hosts, self.addresses = what, text, hosts, addresses
        super().__init__(f"invariant: {what}: {text}")

"""Errors that the lab raises on purpose: what was found, what was expected, what to do about it."""

from overlay.clean import LINES, clean


class LabError(Exception):
    """The lab cannot do what it was asked; the text says why and names the remedy."""

    def __str__(self) -> str:
        # It is made to be printed, and may hold words of a scenario, a container or an engine.
        return clean(super().__str__(), keep=LINES)


class Violation(LabError):
    """Something that must always hold of the overlay does not: the run is invalid, whatever it expects.

    `what` in two words, `text` whole, and the hosts and addresses that it is about.
    """

    def __init__(self, what: str, text: str, hosts: tuple[str, ...] = (), addresses: tuple[str, ...] = ()) -> None:
        self.what, self.text, self.hosts, self.addresses = what, text, hosts, addresses
        super().__init__(f"invariant: {what}: {text}")

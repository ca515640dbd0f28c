"""What a proxy was told to do, as data; and the one kind of refusal that a client of the Docker API gets. Pure."""

import re

from msgspec import Struct

__all__ = ["Policy", "Rejected"]

MAX_NAME = 255
"""Characters of a name that the administrator's expression is matched with: whoever makes a container chooses the name,
and a host name has fewer."""


class Rejected(Exception):
    """The client gets this status, and the text as the engine's own kind of error: `{"message": …}`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Policy(Struct, frozen=True, kw_only=True):
    """How containers are put on the overlay. Field names are the flags' names with underscores."""

    without_dns: bool = False
    no_default_ipalloc: bool = False
    """Only containers with WEAVE_CIDR go on the overlay."""
    rewrite_inspect: bool = False
    """`docker inspect` shows the overlay's address as the container's."""
    no_rewrite_hosts: bool = False
    no_multicast_route: bool = False
    hostname_from_label: str = ""
    """The label whose value stands in for the container's name."""
    hostname_match: str = "(.*)"
    """What of the name is its host name (a regular expression)."""
    hostname_replacement: str = "$1"
    """What it becomes; `$1` or `\\\\1` stand for groups."""

    def hostname(self, name: str, labels: dict[str, str]) -> str:
        """The host name for a container of this name; empty: none.

        A name that the expression does not match is taken as it is, as is one that would be left empty.
        """
        text = labels.get(self.hostname_from_label, "") if self.hostname_from_label else ""
        text = text or name
        found = re.search(self.hostname_match, text[:MAX_NAME])
        if found is None:
            return text
        template = re.sub(r"\$\{?(\d+)\}?", r"\\g<\1>", self.hostname_replacement)
        return found.expand(template) or text

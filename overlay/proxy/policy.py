"""What a proxy was told to do, as data; and the one kind of refusal that a client of the Docker API gets. Pure."""

import re

from msgspec import Struct

__all__ = ["AttachmentPolicy", "Rejected"]

MAX_NAME = 255
"""Characters of a name that the administrator's expression is matched with: the maker of a container chooses the name,
and a host name has fewer."""


_PIECE = re.compile(r"\$\$|\$(?:\{(\w+)\}|(\d+|[A-Za-z_]\w*))|\\(?:g<(\w+)>|(\d+)|(?P<literal>.))")
"""What is not itself in a replacement: `$1`, `$name`, `${name}`, `\\1`, `\\g<name>`; `$$` and `\\x`, one character."""


def _reference(piece: re.Match[str]) -> str | None:
    """The group that a piece of a replacement stands for; None: a character."""
    return next((name for name in piece.groups()[:4] if name is not None), None)


class Rejected(Exception):
    """The client gets this status, and the text as the engine's own kind of error: `{"message": …}`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class AttachmentPolicy(Struct, frozen=True, kw_only=True):
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
    """What it becomes; `$1`, `$name`, `${name}` or `\\\\1` stand for groups."""

    def hostname(self, name: str, labels: dict[str, str]) -> str:
        """The host name for a container of this name; empty: none.

        A name that the expression does not match is taken as it is, as is one that would be left empty.
        """
        text = labels.get(self.hostname_from_label, "") if self.hostname_from_label else ""
        text = text or name
        found = self._expression().search(text[:MAX_NAME])
        if found is None:
            return text

        def group(piece: re.Match[str]) -> str:
            name = _reference(piece)
            return piece["literal"] or "$" if name is None else found[int(name) if name.isdigit() else name] or ""

        return _PIECE.sub(group, self.hostname_replacement) or text

    def check(self) -> None:
        """Raise `re.error` or `ValueError` unless expression and replacement fit each other, whatever the name."""
        expression = self._expression()
        known = [str(number) for number in range(expression.groups + 1)] + list(expression.groupindex)
        for piece in _PIECE.finditer(self.hostname_replacement):
            name = _reference(piece)
            if name is not None and name not in known:
                raise ValueError(
                    f"`{piece[0]}` is no group of the expression, which has {', '.join(known[1:]) or 'none'}"
                )

    def _expression(self) -> re.Pattern[str]:
        # Named groups in the spelling of other languages, and of the original's later builds.
        return re.compile(re.sub(r"\(\?<(?=[A-Za-z_])", "(?P<", self.hostname_match))

"""The settings of a proxy as data; and the error that a client of the Docker API receives. Pure."""

import re

from msgspec import Struct

__all__ = ["AttachmentPolicy", "Rejected"]

MAX_NAME = 255
"""Maximum length of a name that is matched with the administrator's expression. The creator of a container chooses the
name, and host names are shorter."""


_PIECE = re.compile(r"\$\$|\$(?:\{(\w+)\}|(\d+|[A-Za-z_]\w*))|\\(?:g<(\w+)>|(\d+)|(?P<literal>.))")
"""Special parts of a replacement: `$1`, `$name`, `${name}`, `\\1`, `\\g<name>`; `$$` and `\\x` mean one character."""


def _reference(piece: re.Match[str]) -> str | None:
    """The group that a part of a replacement refers to; None: it is a character."""
    return next((name for name in piece.groups()[:4] if name is not None), None)


class Rejected(Exception):
    """The client gets this status, and the text in the engine's error format: `{"message": …}`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class AttachmentPolicy(Struct, frozen=True, kw_only=True):
    """How containers are attached to the overlay. Field names are the flags' names with underscores."""

    without_dns: bool = False
    no_default_ipalloc: bool = False
    """Only containers with WEAVE_CIDR go on the overlay."""
    rewrite_inspect: bool = False
    """`docker inspect` shows the overlay's address as the container's."""
    no_rewrite_hosts: bool = False
    no_multicast_route: bool = False
    hostname_from_label: str = ""
    """The label whose value replaces the container's name."""
    hostname_match: str = "(.*)"
    """The part of the name that is its host name (a regular expression)."""
    hostname_replacement: str = "$1"
    """The replacement for that part; `$1`, `$name`, `${name}` or `\\\\1` stand for groups."""

    def hostname(self, name: str, labels: dict[str, str]) -> str:
        """The host name for a container of this name; empty: none.

        If the expression does not match, or the result is empty, the name is used unchanged.
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
        """Raise `re.error` or `ValueError` unless the expression is valid and has all groups of the replacement."""
        expression = self._expression()
        known = [str(number) for number in range(expression.groups + 1)] + list(expression.groupindex)
        for piece in _PIECE.finditer(self.hostname_replacement):
            name = _reference(piece)
            if name is not None and name not in known:
                raise ValueError(
                    f"`{piece[0]}` is no group of the expression, which has {', '.join(known[1:]) or 'none'}"
                )

    def _expression(self) -> re.Pattern[str]:
        # Accept the syntax of named groups of other languages, and of the original's later builds.
        return re.compile(re.sub(r"\(\?<(?=[A-Za-z_])", "(?P<", self.hostname_match))

"""Permissions on a page of `lab watch`: two tokens, one to change the lab and one to view it. Pure except for
randomness.

A token is in the fragment of the address, which a browser never sends, and from then on in a header that only the page
itself can set. There are no cookies, because a browser sends those of 127.0.0.1 to every port of this machine, so also
to other users' servers.
"""

import secrets
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct, field

from overlay.http.guard import has_token

__all__ = ["May", "WatchKeys"]

May = Literal["nothing", "look", "change"]


def _token() -> str:
    return secrets.token_urlsafe(24)


class WatchKeys(Struct, frozen=True):
    """The tokens of one page; `change` is empty if nobody may change anything."""

    look: str = field(default_factory=_token)
    change: str = field(default_factory=_token)

    def only_looking(self) -> "WatchKeys":
        """The same keys without the permission to change anything."""
        return WatchKeys(look=self.look, change="")

    def may(self, headers: Iterable[tuple[str, str]]) -> May:
        """The permission of a request with these headers."""
        found = list(headers)
        if has_token(found, self.change):
            return "change"
        return "look" if has_token(found, self.look) else "nothing"

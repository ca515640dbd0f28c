"""Changes that steps make to the links of an underlay during a run: by key; per parameter, the last one set wins.

Pure: records which changes are active and computes the resulting links. The simulator and the fabric of real hosts each
keep one `ChangedLinks`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from msgspec import Struct

from lab.links.table import Links
from lab.links.values import Link

__all__ = ["ChangedLinks", "LinkChange"]


class LinkChange(Struct, frozen=True):
    """New parameters for some directions."""

    pairs: tuple[tuple[str, str], ...]
    """(sender, receiver), names of hosts."""
    values: Mapping[str, Any]
    """Names of `Link`'s fields -> new values. Fields that are not named keep their values."""


class ChangedLinks:
    """A table of links, and the active changes in the order in which they were set."""

    def __init__(self, base: Links) -> None:
        self.base = base
        self._changes: dict[int, tuple[frozenset[tuple[str, str]], LinkChange]] = {}
        """Like `LinkChange`, with the pairs as a set, because a change of all links names every pair."""

    def set(self, key: int, change: LinkChange | None) -> dict[tuple[str, str], Link]:
        """Set the change with this key, or remove it; other keys keep theirs. A key that is set again keeps its
        position in the order.

        Returns the current link of each direction that the old or the new change names and whose link differs from
        before.
        """
        _, old = self._changes.get(key, (None, None))
        named = dict.fromkeys(pair for each in (old, change) if each is not None for pair in each.pairs)
        before = {pair: self.between(*pair) for pair in named}
        if change is not None:
            self._changes[key] = frozenset(change.pairs), change
        else:
            self._changes.pop(key, None)
        now = {pair: self.between(*pair) for pair in named}
        return {pair: link for pair, link in now.items() if link != before[pair]}

    def between(self, sender: str, receiver: str) -> Link:
        """The current link from one host to another."""
        link = self.base.between(sender, receiver)
        for pairs, change in self._changes.values():
            if (sender, receiver) in pairs:
                link = replace(link, **change.values)
        return link

    @property
    def any_changed(self) -> bool:
        """Whether any change is active."""
        return bool(self._changes)

    def changed(self, sender: str, receiver: str) -> bool:
        """Whether any change is active for this direction."""
        return any((sender, receiver) in pairs for pairs, _ in self._changes.values())

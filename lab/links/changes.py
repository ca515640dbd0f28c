"""What steps put over the links of an underlay while a lab runs: by key, parameter by parameter, the last one wins.

Pure: who asks for what, and what holds then. The simulator and the fabric of real hosts both keep one `ChangedLinks`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from msgspec import Struct

from lab.links.table import Links
from lab.links.values import Link

__all__ = ["ChangedLinks", "LinkChange"]


class LinkChange(Struct, frozen=True):
    """Parameters of some directions."""

    pairs: tuple[tuple[str, str], ...]
    """(sender, receiver), names of hosts."""
    values: Mapping[str, Any]
    """Names of `Link`'s fields -> what holds instead. What is not named stays as it is."""


class ChangedLinks:
    """A table of links, and the changes in force in the order in which they were set."""

    def __init__(self, base: Links) -> None:
        self.base = base
        self._changes: dict[int, tuple[frozenset[tuple[str, str]], LinkChange]] = {}
        """With its pairs as a set: a change of all links names each of them."""

    def set(self, key: int, change: LinkChange | None) -> dict[tuple[str, str], Link]:
        """Set the change of this key, or take it away; those of other keys stay. A key that is set again keeps its
        place among them.

        Returns what holds now for the directions that the old and the new change name and that is another link than
        before."""
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
        """The link from one host to another, as it is now."""
        link = self.base.between(sender, receiver)
        for pairs, change in self._changes.values():
            if (sender, receiver) in pairs:
                link = replace(link, **change.values)
        return link

    @property
    def any_changed(self) -> bool:
        """Whether any change is in force."""
        return bool(self._changes)

    def changed(self, sender: str, receiver: str) -> bool:
        """Whether any change is in force for this direction."""
        return any((sender, receiver) in pairs for pairs, _ in self._changes.values())

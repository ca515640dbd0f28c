"""A bounded table by the bytes of queries, which forgets what was not used for longest. Pure.

Two tables take turns: what is found in the older one moves to the younger one, and when that is full the older one is
dropped. So a flood of new queries does not push out those that come again and again. Knows nothing of DNS.
"""

from typing import Generic, TypeVar

__all__ = ["PacketCache"]

Kept = TypeVar("Kept")


class PacketCache(Generic[Kept]):
    """At most `2 * most` entries. `young` is public because the resolver reads it for each packet."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.young: dict[bytes, Kept] = {}
        self._old: dict[bytes, Kept] = {}

    def __len__(self) -> int:
        return len(self.young) + len(self._old)

    def get(self, key: bytes) -> Kept | None:
        """The entry of this key, which counts as used now."""
        found = self.young.get(key)
        if found is None and self._old:
            found = self._old.pop(key, None)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: bytes, kept: Kept) -> None:
        """Keep an entry whose key `get` did not find."""
        if len(self.young) >= self.most:
            self._old, self.young = self.young, {}
        self.young[key] = kept

    def clear(self) -> None:
        """Forget everything. Keeps the table `young` itself."""
        self.young.clear()
        self._old = {}

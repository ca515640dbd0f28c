"""A host's disk: synced data survives a crash, unsynced data is lost. Owns only keys and bytes.

`latency` is the duration of a synced write. A disk with `loses` set acknowledges writes before it makes them, like a
disk with a volatile cache: a power cut loses every write since `loses` was set, or since `settle`.
"""

from collections.abc import Callable

from overlay.errors import EnvironmentProblem


class SimDisk:
    """Maps keys to bytes; `stored` is the data that a peer finds when it starts."""

    def __init__(self, latency: int = 0) -> None:
        self.stored: dict[str, bytes] = {}
        self.latency = latency
        self.full = ""
        """Why the disk is full; empty: it is not."""
        self.writes = 0
        self.watch: Callable[[str, bytes], None] | None = None
        """Called with each key and its data once they are written."""
        self._before: dict[str, bytes | None] | None = None
        self._torn: dict[str, None] | None = None

    def persist(self, items: list[tuple[str, bytes]]) -> None:
        """Write durably. Raises `EnvironmentProblem` when the disk is full."""
        if self.full:
            raise EnvironmentProblem(self.full)
        for key, data in items:
            self.write(key, data)

    def write(self, key: str, data: bytes) -> None:
        """Write durably, unless the disk loses writes."""
        if self._before is not None:
            self._before.setdefault(key, self.stored.get(key))
        if self._torn is not None:
            self._torn[key] = None
        self.stored[key] = data
        self.writes += 1
        if self.watch is not None:
            self.watch(key, data)

    @property
    def loses(self) -> bool:
        """Whether writes wait in a volatile cache."""
        return self._before is not None

    @loses.setter
    def loses(self, value: bool) -> None:
        self._before = {} if value else None

    @property
    def tears(self) -> bool:
        """Whether a power cut tears writes; a peer that starts then loses them."""
        return self._torn is not None

    @tears.setter
    def tears(self, value: bool) -> None:
        if value != self.tears:
            self._torn = {} if value else None

    def settle(self) -> None:
        """Flush the cache."""
        if self._before is not None:
            self._before.clear()

    def crash(self) -> None:
        """A power cut."""
        for key, data in (self._before or {}).items():
            if data is None:
                del self.stored[key]
            else:
                self.stored[key] = data
        for key in self._torn or ():
            self.stored.pop(key, None)
        if self._torn is not None:
            self._torn.clear()
        self.settle()

    def erase(self) -> None:
        """Delete everything."""
        self.stored.clear()
        self.settle()

"""A host's disk: what was synced survives a crash, what was not is lost. Owns nothing but keys and bytes.

`latency` is how long a synced write takes. A disk with `loses` set acknowledges writes that it has not made, as those
with a volatile cache do: a power cut takes everything that was written since it was set, or since `settle`.
"""

from overlay.errors import EnvironmentProblem


class SimDisk:
    """Maps keys to bytes; `stored` is what a peer that starts now finds."""

    def __init__(self, latency: int = 0) -> None:
        self.stored: dict[str, bytes] = {}
        self.latency = latency
        self.full = ""
        """Why there is no room; empty: there is."""
        self.writes = 0
        self._before: dict[str, bytes | None] | None = None
        self._torn: dict[str, None] | None = None

    def persist(self, items: list[tuple[str, bytes]]) -> None:
        """Durable from now on. `EnvironmentProblem` when there is no room."""
        if self.full:
            raise EnvironmentProblem(self.full)
        for key, data in items:
            self.write(key, data)

    def write(self, key: str, data: bytes) -> None:
        """Durable from now on, unless the disk loses."""
        if self._before is not None:
            self._before.setdefault(key, self.stored.get(key))
        if self._torn is not None:
            self._torn[key] = None
        self.stored[key] = data
        self.writes += 1

    @property
    def loses(self) -> bool:
        """Whether writes wait in a volatile cache."""
        return self._before is not None

    @loses.setter
    def loses(self, value: bool) -> None:
        self._before = {} if value else None

    @property
    def tears(self) -> bool:
        """Whether what is written is torn by a power cut: a peer that starts then goes without it."""
        return self._torn is not None

    @tears.setter
    def tears(self, value: bool) -> None:
        if value != self.tears:
            self._torn = {} if value else None

    def settle(self) -> None:
        """What is in the cache is written."""
        if self._before is not None:
            self._before.clear()

    def crash(self) -> None:
        """The power is cut."""
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
        """Nothing is stored any more."""
        self.stored.clear()
        self.settle()

"""Agreement of the views of one group of hosts. Knows nothing of changes and probes."""

from collections import Counter

from lab.records.history import View

__all__ = ["ViewTally"]


class ViewTally:
    """Counters over the views of one group, so that agreement can be read without scanning all views."""

    def __init__(self, members: list[str]) -> None:
        self.members = members
        self.present = 0
        self.reachable: Counter[int] = Counter()
        self.digests: dict[str, Counter[str]] = {name: Counter() for name in ("topology", "ring", "dns")}

    def count(self, view: View, by: int) -> None:
        """Add (by=1) or subtract (by=-1) a view."""
        self.present += by
        self.reachable[view.reachable] += by
        for name, digests in self.digests.items():
            digest = getattr(view, name)
            digests[digest] += by
            if not digests[digest]:
                del digests[digest]

    def lacks(self, name: str) -> bool:
        """Whether peers of this overlay do not have this view."""
        return list(self.digests[name]) == [""]

    def agrees(self, name: str) -> bool:
        size = len(self.members)
        return self.present == size and self.reachable[size] == size and len(self.digests[name]) <= 1

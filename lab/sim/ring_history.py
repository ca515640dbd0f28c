"""What each peer's ring said over time: a ring never goes back to a lesser agreement, nor an entry to an older version.

Owns the rings as they were last seen. Must not know beliefs of any other kind, nor who may excuse a violation.
"""

from typing import NamedTuple

from overlay.ipam.ring import TAKEOVER, Ring, lineage_rank, lineage_text
from overlay.ipam.ring_slot import Slot
from overlay.wire.ring import Lineage

__all__ = ["RingHistory"]

_MOST = 64
"""Larger rings are not compared: it would cost a large lab more than its own merges do."""


class _RingBefore(NamedTuple):
    life: int
    digest: int
    lineage: Lineage
    slots: dict[int, Slot]


class RingHistory:
    """The rings of all peers as they were last seen."""

    def __init__(self) -> None:
        self._seen: dict[str, _RingBefore] = {}

    def look(self, host: str, life: int, ring: Ring) -> str:
        """Why this ring cannot follow from the one that this peer had before; empty: it can.

        A life is one run of the daemon: what was not on the disk yet is gone with it, and may come back in other words.
        """
        lineage = ring.lineage
        before = self._seen.get(host)
        if lineage is None or len(ring.slots) > _MOST:
            self._seen.pop(host, None)
            return ""
        if before is not None and before.life == life and before.digest == ring.digest:
            return ""
        self._seen[host] = _RingBefore(life, ring.digest, lineage, dict(ring.slots))
        if before is None or before.life != life:
            return ""
        if before.lineage != lineage:
            if lineage_rank(lineage) < lineage_rank(before.lineage):
                return f"{host} left the ring of an {lineage_text(before.lineage)} for a lesser one"
            return ""
        for start, old in before.slots.items():
            new = ring.slots.get(start)
            if new is None:
                return f"{host} has lost the ring's entry at offset {start}"
            if new.token != old.token and not _follows(old, new):
                return f"{host} changed the ring's entry at offset {start} from version {old.version} to {new.version}"
        return ""


def _follows(old: Slot, new: Slot) -> bool:
    """Whether one entry can replace another: its version is higher, or two peers took over the same one."""
    return new.version > old.version or (new.version == old.version > 0 == new.version % TAKEOVER)

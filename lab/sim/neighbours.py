"""A simulated interface's neighbour cache: which MAC it sends to, and how long an entry is trusted, as in Linux.

Owns the states and times of one entry (RFC 4861, 7.3.2, with Linux's defaults; the same for ARP). Must not know who
answers: `lab.sim.walk` knows the reply to a request or a probe, `lab.sim.kernel` the announcements.
"""

from hashlib import blake2b

from lab.calibration import CALIBRATION, Calibration
from overlay.env import MILLISECOND

__all__ = ["CachedNeighbour", "Neighbours"]

_SHORTEST = 15_000
_SPREAD = 30_001
"""Milliseconds for which a confirmed entry is reachable: 0.5 to 1.5 times `base_reachable_time`, which is 30 s."""
_NEVER = -1


class CachedNeighbour:
    """One entry. A reply over an open connection confirms it, as Linux's TCP does."""

    __slots__ = ("confirmed", "doubted", "mac")

    def __init__(self, mac: str, now: int) -> None:
        self.mac = mac
        self.confirmed = now
        """When it was last confirmed; negative: it is stale."""
        self.doubted = _NEVER
        """When it entered the state DELAY; negative: it is not in DELAY."""

    def confirm(self, now: int) -> None:
        """The entry is confirmed."""
        self.confirmed = now
        self.doubted = _NEVER

    def announce(self, mac: str) -> None:
        """An announcement arrived: its MAC is used at once, and must be confirmed."""
        self.mac = mac
        self.confirmed = self.doubted = _NEVER


class Neighbours:
    """The cache of one interface. Random times are seeded from `owner`, so that a run can be repeated."""

    __slots__ = ("_model", "entries", "reachable")

    def __init__(self, owner: str, model: Calibration = CALIBRATION) -> None:
        self._model = model
        drawn = int.from_bytes(blake2b(owner.encode(), digest_size=4).digest())
        self.reachable = (_SHORTEST + drawn % _SPREAD) * MILLISECOND
        self.entries: dict[str, CachedNeighbour] = {}

    def learn(self, address: str, mac: str, now: int) -> None:
        """A request was answered, or the neighbour itself sent one."""
        self.entries[address] = CachedNeighbour(mac, now)

    def used(self, address: str, now: int, proxy: str) -> str:
        """The MAC to which a packet for `address` is sent now; empty: it must be resolved first.

        `proxy` is the MAC that the bridge answers to a probe on behalf of a remote neighbour; empty if it does not.
        """
        entry = self.entries.get(address)
        if entry is None:
            return ""
        if entry.doubted < 0:
            if entry.confirmed < 0 or now >= entry.confirmed + self.reachable:
                entry.doubted = now
            return entry.mac
        asked = entry.doubted + self._model.neighbour_delay
        if now < asked:
            return entry.mac
        if proxy:
            entry.mac = proxy
            entry.confirm(now)
        elif now >= asked + self._model.neighbour_probing:
            del self.entries[address]
            return ""
        return entry.mac

"""A simulated interface's neighbour cache: which MAC it sends to, and for how long it believes that, as Linux does.

Owns the states and times of one entry (RFC 4861, 7.3.2, with the defaults of Linux; ARP has the same there). Must not
know who answers: `lab.sim.walk` says what a question or a probe would bring, `lab.sim.kernel` what was announced.
"""

from hashlib import blake2b

from lab.calibration import CALIBRATION, Calibration
from overlay.env import MILLISECOND

__all__ = ["CachedNeighbour", "Neighbours"]

_SHORTEST = 15_000
_SPREAD = 30_001
"""Milliseconds for which a confirmed entry is not doubted: 0.5 to 1.5 times `base_reachable_time`, which is 30 s."""
_NEVER = -1


class CachedNeighbour:
    """One entry. An answer over an open connection confirms it, as Linux's TCP does."""

    __slots__ = ("confirmed", "doubted", "mac")

    def __init__(self, mac: str, now: int) -> None:
        self.mac = mac
        self.confirmed = now
        """When it was last known to be right; negative: it is stale."""
        self.doubted = _NEVER
        """Since when it is used without being sure (the state DELAY begins); negative: it is not."""

    def confirm(self, now: int) -> None:
        """It is right."""
        self.confirmed = now
        self.doubted = _NEVER

    def announce(self, mac: str) -> None:
        """An announcement came: its MAC counts at once, and is to be confirmed."""
        self.mac = mac
        self.confirmed = self.doubted = _NEVER


class Neighbours:
    """The cache of one interface. `owner` is what its random time is drawn from, so that a run can be repeated."""

    __slots__ = ("_model", "entries", "reachable")

    def __init__(self, owner: str, model: Calibration = CALIBRATION) -> None:
        self._model = model
        drawn = int.from_bytes(blake2b(owner.encode(), digest_size=4).digest())
        self.reachable = (_SHORTEST + drawn % _SPREAD) * MILLISECOND
        self.entries: dict[str, CachedNeighbour] = {}

    def learn(self, address: str, mac: str, now: int) -> None:
        """A question was answered, or the neighbour itself asked."""
        self.entries[address] = CachedNeighbour(mac, now)

    def used(self, address: str, now: int, proxy: str) -> str:
        """The MAC to which a packet for `address` is sent now; empty: it is asked for first.

        `proxy` is what the bridge answers to a probe in the place of somebody remote, empty if it does not.
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

"""The values derived from one peer's record. Pure data work; knows no topology and no other peers."""

from hashlib import blake2b
from itertools import pairwise
from typing import NamedTuple

from overlay.config import PeerName
from overlay.replicated.interned import derived, derived_each
from overlay.replicated.vectors import Known
from overlay.wire.topology import PeerRecord, encode_record


class Relinked(NamedTuple):
    """The difference in links between two records of a peer."""

    peer: PeerName
    lost: tuple[PeerName, ...]
    """The peers to which it no longer declares a link."""
    gained: tuple[PeerName, ...]
    """The peers to which it now declares a link."""


class TopologyEntry:
    """One record with its derived values. Immutable."""

    __slots__ = (
        "_against",
        "_change",
        "alone",
        "fingerprint",
        "gone",
        "known",
        "linked",
        "name",
        "record",
        "sound",
        "uid",
        "version",
    )

    def __init__(self, record: PeerRecord) -> None:
        self.record = record
        self.name: PeerName = record.name
        self.alone: tuple[PeerName, ...] = (record.name,)
        """The children of a peer in a spanning tree that has only this one."""
        self.uid: int = record.uid
        self.version: int = record.version
        self.gone: bool = record.gone
        self.fingerprint = int.from_bytes(blake2b(encode_record(record), digest_size=8).digest(), "big")
        """64 bits of the wire form's hash; a topology's digest is their sum over all records, modulo 2^64."""
        self.known: Known = (self.name, self.uid, self.version)
        """The entry of this record in a vector."""
        self.linked: dict[PeerName, None] = {link.peer: None for link in record.links if link.established}
        """The peers to which the record declares established links, in order."""
        self.sound = 0 < len(self.name) <= 64 and all(one.peer < other.peer for one, other in pairwise(record.links))
        """Whether the name has a valid length, and the links are sorted and unique."""
        self._against: dict[PeerName, None] | None = None
        """The links of the last comparison. Not their entry, because that would keep all earlier entries alive."""
        self._change: Relinked | None = None
        """The result of that comparison, cached because peers that share an entry make the same comparison one after
        another."""

    def stands_against(self, old: "TopologyEntry") -> bool:
        """Whether this record wins against `old`, an entry of the same peer."""
        if self.uid != old.uid:
            return self.uid > old.uid
        if self.version != old.version:
            return self.version > old.version
        return self.fingerprint > old.fingerprint

    def relinked(self, before: "TopologyEntry | None") -> Relinked | None:
        """The links lost and gained relative to the peer's previous entry `before`; None: no change."""
        theirs = _NOBODY if before is None else before.linked
        if theirs is not self._against:
            self._change = self._compare(theirs)
            self._against = theirs
        return self._change

    def _compare(self, theirs: dict[PeerName, None]) -> Relinked | None:
        mine = self.linked
        if mine == theirs and theirs is not _NOBODY:
            return None
        lost = tuple([peer for peer in theirs if peer not in mine])
        return Relinked(self.name, lost, tuple([peer for peer in mine if peer not in theirs]))

    def vanished(self) -> Relinked:
        """The change when this entry is dropped."""
        return Relinked(self.name, tuple(self.linked), ())


_NOBODY: dict[PeerName, None] = {}


def entry_of(record: PeerRecord) -> TopologyEntry:
    """The entry of a record."""
    return derived(record, "entry", TopologyEntry)


def entries_of(records: tuple[PeerRecord, ...]) -> list[TopologyEntry]:
    """The entry of each record."""
    return derived_each(records, "entry", TopologyEntry)

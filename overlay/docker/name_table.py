"""The DNS names of one record of the journal while a batch changes them; each step costs the same however many there
are. Pure."""

from msgspec.structs import replace

from overlay.docker.journal import Attachment, Name

__all__ = ["NameTable"]


class NameTable:
    """A record's names by folded name and address. `changed`: they are no longer those of the record."""

    def __init__(self, record: Attachment) -> None:
        self._record = record
        self._names: dict[str, dict[str, Name]] = {}
        self.changed = False
        for name in record.names:
            self._names.setdefault(name.fqdn.lower(), {})[name.address] = name

    def add(self, fqdn: str, address: str) -> bool:
        """Add a name; False if it was there."""
        held = self._names.setdefault(fqdn.lower(), {})
        if address in held and held[address].fqdn == fqdn:
            return False
        held[address] = Name(fqdn, address)
        self.changed = True
        return True

    def remove(self, fqdn: str, address: str) -> bool:
        """Remove a name from an address, or from all if it is empty; False if there was none."""
        held = self._names.get(fqdn.lower(), {})
        gone = [address] if address in held else [] if address else list(held)
        for each in gone:
            del held[each]
        self.changed = self.changed or bool(gone)
        return bool(gone)

    def record(self) -> Attachment:
        """The record with the names as they are now."""
        return replace(self._record, names=tuple(name for held in self._names.values() for name in held.values()))

"""The attached containers of this host, on disk, so that a restarted daemon finds all of them again.

Owns the records and their file. An intention is recorded before its addresses are booked, and a container's record
stays until they are released. So the next start finishes or undoes what a crash interrupted.
"""

from collections.abc import Iterable
from typing import Any, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from overlay.owners import endpoint_label
from overlay.runtime.disk import DiskFull
from overlay.stored import understood

__all__ = ["Attachment", "Journal", "Name"]

_KEY = "attachments"


class Name(Struct, frozen=True):
    """A DNS name of a container, fully qualified, for one address (a literal)."""

    fqdn: str
    address: str


class Attachment(Struct, frozen=True, kw_only=True):
    """One container's place on the overlay."""

    container: str
    name: str = ""
    wanted: tuple[str, ...] = ()
    """Address specifications that are not booked yet: an attach is in progress, or was when the daemon died."""
    addresses: tuple[str, ...] = ()
    """Each "a.b.c.d/n"."""
    names: tuple[Name, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    """The engine's labels that policies may refer to."""
    with_dns: bool = True
    mac: str = ""
    """The MAC of a port that the engine plugged (an endpoint of the plugin, or a container if the engine's bridge is
    ours). Empty: the router plugs the port, with a MAC derived from the container id."""
    specs: tuple[str, ...] = ()
    """The specifications given when the container was created through the proxy; applied again at each start."""
    rewrite_hosts: bool = False
    multicast: bool = True
    spoofing: bool = False
    """Its port may send frames with any MAC and any address."""
    masquerade: bool = True
    """For the host's own record: packets that cross the overlay's border get the host's address."""
    holder: str = ""
    """For an endpoint of the plugin: the container that it is in, once the engine has reported it."""
    sandbox: str = ""
    """For an endpoint of the plugin: the engine's file of its network namespace."""

    @property
    def label(self) -> str:
        """The announced owner: a container's id, with the endpoint's id if the container may have several."""
        return endpoint_label(self.holder, self.container.rpartition(":")[2]) if self.holder else self.container

    @property
    def shown(self) -> str:
        """The container's id to show to users, also for an endpoint."""
        return self.holder or self.container


class JournalDisk(Protocol):
    """The store of the journal."""

    def persist(self, writes: list[tuple[str, bytes]]) -> None:
        """Write, and return when it is durable. Raises `EnvironmentProblem`."""
        ...


class Journal:
    """All attachments, by container id; each change is on disk when the call returns."""

    def __init__(self, disk: JournalDisk, stored: bytes) -> None:
        self._disk = disk
        self._encoder = msgspec.json.Encoder()
        with understood(_KEY):
            records = msgspec.json.decode(stored, type=tuple[Attachment, ...]) if stored else ()
        self._records = {record.container: record for record in records}

    @staticmethod
    def stored(files: dict[str, bytes]) -> bytes:
        """Remove the journal's own keys from a loaded state, and return them."""
        return files.pop(_KEY, b"")

    def get(self, container: str) -> Attachment | None:
        """The record of a container, or None."""
        return self._records.get(container)

    def all(self) -> tuple[Attachment, ...]:
        """All records, in the order of creation."""
        return tuple(self._records.values())

    def put(self, record: Attachment) -> None:
        """Add or replace a record. Raises `DiskFull`; nothing is changed then."""
        before = dict(self._records)
        self._records[record.container] = record
        self._save(before)

    def put_all(self, records: Iterable[Attachment]) -> None:
        """Add or replace several records, all or none. Raises `DiskFull`; nothing is changed then."""
        before = dict(self._records)
        self._records.update((record.container, record) for record in records)
        self._save(before)

    def update(self, record: Attachment, **changes: Any) -> Attachment:
        """Replace fields of a record; returns the new one. Raises `DiskFull`."""
        changed = replace(record, **changes)
        self.put(changed)
        return changed

    def drop(self, container: str) -> None:
        """Remove a record."""
        before = dict(self._records)
        if self._records.pop(container, None) is not None:
            self._save(before)

    def _save(self, before: dict[str, Attachment]) -> None:
        try:
            self._disk.persist([(_KEY, self._encoder.encode(tuple(self._records.values())))])
        except (OSError, DiskFull):
            self._records = before
            raise

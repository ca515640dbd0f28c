"""Which containers of this host are attached, on disk: what a restarted daemon needs to find them all again.

Owns the records and their file. An intention stands here before its addresses are booked, and a container stays here
until they are released, so that a crash in between is finished or undone by the next start.
"""

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
    """Address specifications that are not booked yet: an attach is under way, or was when the daemon died."""
    addresses: tuple[str, ...] = ()
    """Each "a.b.c.d/n"."""
    names: tuple[Name, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    """Of the engine, as far as policies may name them."""
    with_dns: bool = True
    mac: str = ""
    """Of a port that the engine plugged (an endpoint of the plugin, a container on the engine's bridge where that is
    ours); empty: the router plugs it, with a MAC that follows from the container."""
    specs: tuple[str, ...] = ()
    """What was asked for when the container was made through the proxy: asked for again whenever it starts."""
    rewrite_hosts: bool = False
    multicast: bool = True
    spoofing: bool = False
    """Its port lets out frames with any MAC and any address."""
    masquerade: bool = True
    """Of the host's own record: packets that cross the overlay's border go by the host's address."""
    holder: str = ""
    """Of an endpoint of the plugin: the container that it is in, once the engine has said so."""
    sandbox: str = ""
    """Of an endpoint of the plugin: the engine's file of the network namespace that it is in."""

    @property
    def label(self) -> str:
        """What is announced as the owner: a container's id, with its endpoint where it may have several."""
        return endpoint_label(self.holder, self.container.rpartition(":")[2]) if self.holder else self.container

    @property
    def shown(self) -> str:
        """The container that all this is about, for people."""
        return self.holder or self.container


class JournalDisk(Protocol):
    """Where the journal is kept."""

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
        """The journal's own part of a loaded state, taken out of it."""
        return files.pop(_KEY, b"")

    def get(self, container: str) -> Attachment | None:
        """The record of a container, or None."""
        return self._records.get(container)

    def all(self) -> tuple[Attachment, ...]:
        """All records, in the order of their making."""
        return tuple(self._records.values())

    def put(self, record: Attachment) -> None:
        """Add or replace a record. Raises `DiskFull`; then nothing was changed."""
        before = dict(self._records)
        self._records[record.container] = record
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

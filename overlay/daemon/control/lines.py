"""The body of a batch request: a line for each entry, as JSON or as words (names as in a hosts file). Pure.

Owns the limits of a batch and what is said about its lines. All lines are read before anything is changed, and all bad
ones are reported with their numbers. Must not know what becomes of the entries.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec
from msgspec import Struct

from overlay.clean import clean
from overlay.errors import UsageError

__all__ = ["MAX_BODY", "MAX_ENTRIES", "AddressLine", "NameLine", "address_lines", "name_lines", "read", "refused"]

MAX_BODY = 32 << 20
"""Bytes of one batch."""
MAX_ENTRIES = 100_000
"""Entries of one batch."""
_SHOWN = 20
"""Bad lines that are reported; the others are counted."""

Line = TypeVar("Line")
Made = TypeVar("Made")


class NameLine(Struct, frozen=True, forbid_unknown_fields=True):
    """One DNS name."""

    name: str
    address: str = ""
    container: str = "weave:extern"


class AddressLine(Struct, frozen=True, forbid_unknown_fields=True):
    """One address of a container: any of `subnet` (empty: the default subnet), or exactly `address`."""

    container: str
    address: str = ""
    subnet: str = ""


_names = msgspec.json.Decoder(NameLine)
_addresses = msgspec.json.Decoder(AddressLine)


def name_lines(line: str) -> list[NameLine]:
    """The names in a line. Raises `UsageError`."""
    if line.startswith("{"):
        return [_decoded(line, _names)]
    address, *names = line.partition("#")[0].split()
    if not names:
        raise UsageError('expected ADDRESS NAME ..., or {"name": NAME, "address": ADDRESS}')
    return [NameLine(name, address) for name in names]


def address_lines(line: str) -> list[AddressLine]:
    """The address in a line. Raises `UsageError`."""
    if line.startswith("{"):
        return [_decoded(line, _addresses)]
    words = line.partition("#")[0].split()
    if not 1 <= len(words) <= 2:
        raise UsageError(
            f"found {len(words)} words, expected CONTAINER, perhaps with an ADDRESS (10.2.1.3/24 or net:10.2.1.0/24), "
            'or {"container": CONTAINER}, perhaps with "address" or "subnet"'
        )
    container, address = [*words, ""][:2]
    if address.startswith("net:"):
        return [AddressLine(container, subnet="" if address == "net:default" else address.removeprefix("net:"))]
    return [AddressLine(container, address)]


def _decoded(line: str, decoder: msgspec.json.Decoder[Line]) -> Line:
    try:
        return decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise UsageError(f"not the JSON object that is expected: {error}") from None


def read(body: bytes, split: Callable[[str], list[Line]], make: Callable[[Line], Made]) -> list[tuple[int, Made]]:
    """(line number, `make(entry)`) of all entries. Raises `UsageError` that names the bad lines."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"the body is not UTF-8 text: {error}") from None
    found: list[tuple[int, Made]] = []
    bad: list[str] = []
    faults = 0
    for number, line in _filled(text):
        try:
            for entry in split(line):
                found.append((number, make(entry)))
        except UsageError as error:
            faults += 1
            if faults <= _SHOWN:
                bad.append(f"line {number}: {error}")
        if len(found) > MAX_ENTRIES:
            raise UsageError(f"line {number}: found more than {MAX_ENTRIES} entries: send several batches")
    if faults:
        raise refused(bad, faults)
    if not found:
        raise UsageError("found no entry, expected a line for each")
    return found


def refused(bad: list[str], faults: int) -> UsageError:
    """The error of a batch with bad lines, of which `bad` are shown."""
    more = [f"and {faults - len(bad)} more lines"] if faults > len(bad) else []
    return UsageError("\n".join(["nothing was changed:", *(clean(line) for line in bad), *more]))


def _filled(text: str) -> Iterator[tuple[int, str]]:
    """Lines that are neither empty nor comments, with their numbers."""
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield number, stripped

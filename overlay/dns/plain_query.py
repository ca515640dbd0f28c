"""Reads the queries that nearly all clients send, without dnslib, and writes the fixed parts of their answers. Pure.

Plain is a query of one question with labels of ASCII and without dots, and at most an OPT record of version 0 with at
most one option. Everything else gives None and is left to dnslib (`resolver`), which stays the reference: for a plain
query both come to the same, byte by byte. Knows no registry.
"""

from struct import Struct as Layout

from msgspec import Struct

from overlay.dns.names import MAX_LABEL, MAX_NAME

__all__ = ["PlainQuery", "encode_name", "head", "read_plain"]

_NONE, _ONE = b"\0\1\0\0\0\0\0\0", b"\0\1\0\0\0\0\0\1"
"""One question, and no other record or one additional record."""
_OPCODE_AND_RESPONSE = 0xF8
_OPT = b"\0\0\x29"
_OPT_FIELDS = Layout("!HBBHH")
_PAIR = Layout("!HH")
_COUNTS = Layout("!HHHH")


class PlainQuery(Struct, frozen=True, gc=False):
    """One query. `question` are its bytes as asked; `udp_size` is 0 without an OPT record."""

    name: str
    """Folded."""
    qtype: int
    qclass: int
    recursion: bool
    question: bytes
    udp_size: int
    wants_dnssec: bool
    repeats: bool
    """It has no option, such as a cookie, so the same client may send the same bytes again."""


def read_plain(payload: bytes) -> PlainQuery | None:
    """The query in a packet; None if it is not plain."""
    counts = payload[4:12]
    if payload[2] & _OPCODE_AND_RESPONSE or (counts != _NONE and counts != _ONE):
        return None
    at, size = 12, len(payload)
    labels = []
    while at < size and (length := payload[at]):
        if length > MAX_LABEL:
            return None
        labels.append(payload[at + 1 : at + 1 + length])
        at += 1 + length
    text = b".".join(labels)
    end = at + 5
    if end > size or not labels or len(text) > MAX_NAME or text.count(b".") != len(labels) - 1 or not text.isascii():
        return None
    qtype, qclass = _PAIR.unpack_from(payload, at + 1)
    udp_size, wants_dnssec, options = 0, False, False
    if counts == _ONE:
        if payload[end : end + 3] != _OPT or size < end + 11:
            return None
        udp_size, _, version, flags, rest = _OPT_FIELDS.unpack_from(payload, end + 3)
        if version or size != end + 11 + rest or (rest and not _one_option(payload, end + 11, rest)):
            return None
        wants_dnssec, options = bool(flags & 0x8000), rest > 0
        udp_size = udp_size or 1  # an OPT record that says 0 is one nevertheless
    elif size != end:
        return None
    name = text.decode("ascii").lower() + "."
    recursion = bool(payload[2] & 1)
    return PlainQuery(name, qtype, qclass, recursion, payload[12:end], udp_size, wants_dnssec, not options)


def _one_option(payload: bytes, at: int, size: int) -> bool:
    return size > 4 and int(_PAIR.unpack_from(payload, at)[1]) == size - 4


def head(query: PlainQuery, rcode: int, authorities: int) -> bytes:
    """The answer from after the id up to the first record; the count of answers is 0."""
    flags = bytes((0x85 if query.recursion else 0x84, 0x80 | rcode))
    return flags + _COUNTS.pack(1, 0, authorities, 1 if query.udp_size else 0) + query.question


def encode_name(name: str) -> bytes:
    """A folded name, uncompressed."""
    return b"".join(bytes((len(label),)) + label.encode() for label in name.split(".") if label) + b"\0"

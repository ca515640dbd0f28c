"""Reads any query with dnslib, strictly. Knows no registry.

The slow way: `plain_query` reads the queries that nearly all clients send, and must come to the same.
"""

# mypy: disable-error-code="no-untyped-call"

from dnslib import QTYPE, RCODE, RR, DNSHeader, DNSQuestion
from dnslib.label import DNSBuffer
from msgspec import Struct

from overlay.dns.names import MAX_LABEL, MAX_NAME

__all__ = ["DO_FLAG", "FLAGS_KEPT", "FLAG_RESPONSE", "ParsedQuery", "format_error", "parse_query"]

MAX_ADDITIONAL = 2
"""Records after the question that are parsed: OPT, and perhaps a signature."""
FLAG_RESPONSE = 0x80
FLAGS_KEPT = 0x79
"""Opcode and "recursion desired": the flags of the query that an answer repeats."""
DO_FLAG = 0x8000
"""In the flags of an OPT record: the client accepts DNSSEC records (RFC 3225)."""


class _Edns(Struct, frozen=True):
    """The contents of a query's OPT record."""

    udp_size: int
    version: int
    wants_dnssec: bool


class ParsedQuery(Struct, frozen=True):
    """A valid query. With an opcode other than QUERY only the header is parsed."""

    header: DNSHeader
    question: DNSQuestion | None = None
    edns: "_Edns | None" = None


def parse_query(payload: bytes) -> ParsedQuery:
    """Raises any exception of dnslib, or `ValueError`, on a malformed query."""
    buffer = DNSBuffer(payload)
    header = DNSHeader.parse(buffer)
    if header.get_opcode() != 0:
        return ParsedQuery(header)
    if header.q != 1 or header.a or header.auth or header.ar > MAX_ADDITIONAL:
        raise ValueError("a query has one question and neither answers nor authorities")
    question = DNSQuestion.parse(buffer)
    labels = question.qname.label
    if sum(map(len, labels)) + len(labels) > MAX_NAME + 1 or any(len(label) > MAX_LABEL for label in labels):
        raise ValueError("the name is too long")
    found = [
        _Edns(udp_size=rr.rclass, version=rr.ttl >> 16 & 0xFF, wants_dnssec=bool(rr.ttl & DO_FLAG))
        for rr in (RR.parse(buffer) for _ in range(header.ar))
        if rr.rtype == QTYPE.OPT
    ]
    if len(found) > 1:
        raise ValueError("a query has at most one OPT record")
    return ParsedQuery(header, question, found[0] if found else None)


def format_error(payload: bytes) -> bytes:
    """FORMERR with the id of a packet that cannot be parsed (RFC 1035, 4.1.1)."""
    flags = payload[2] & FLAGS_KEPT if len(payload) > 2 else 0
    return payload[:2] + bytes((flags | FLAG_RESPONSE, RCODE.FORMERR)) + bytes(8)

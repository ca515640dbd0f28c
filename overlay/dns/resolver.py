"""Answers DNS queries from the registry: packets in, packets out (RFC 1034, 1035, 2308, 3225, 3596, 6891).

Owns the format of answers, truncation, and the decision which queries go to the host's own name servers. Must not know
sockets or how the registry is replicated. No input raises an exception.

Packets are parsed with dnslib. The result for a query is cached as a plan, keyed by the query's bytes after its id,
until the registry changes. A repeated query then costs only a shuffle and a join.
"""

# mypy: disable-error-code="no-untyped-call"

from struct import pack
from typing import Any

from dnslib import CLASS, EDNS0, QTYPE, RCODE, RR, DNSHeader, DNSQuestion, DNSRecord
from dnslib.label import DNSBuffer, DNSLabel
from msgspec import Struct

from overlay.config import Config
from overlay.dns.names import MAX_LABEL, MAX_NAME, address_of_reverse, name_of_labels, packed, within
from overlay.dns.registry import NameRegistry
from overlay.effects import DnsAnswer, DnsForward, Effect, Log
from overlay.env import Random
from overlay.inputs import DnsQuery

MIN_UDP = 512
MAX_PACKET = 65535
OUR_UDP = 4096
"""The UDP size that we advertise, as common servers do; queries are far smaller."""
MAX_ADDITIONAL = 2
"""Records after the question that are parsed: OPT, and perhaps a signature."""
MAX_PLANS = 1024
MAX_PLANNED = 512
"""Longer queries are not cached."""

FLAG_RESPONSE = 0x80
FLAGS_KEPT = 0x79
"""Opcode and "recursion desired": the flags of the query that an answer repeats."""
FLAG_TRUNCATED = 0x02
ANY_CLASS = 255
DO_FLAG = 0x8000
"""In the flags of an OPT record: the client accepts DNSSEC records (RFC 3225)."""
BADVERS = 1
"""The extended part of response code 16 (RFC 6891, 9)."""
SOA_TIMES = (3600, 600, 86400)
"""Refresh, retry and expire of the zone, in seconds; unused, because nobody transfers the zone."""
TO_QUESTION = b"\xc0\x0c"
"""A compression pointer to the question's name, which follows the header (RFC 1035, 4.1.4)."""


class _Plan(Struct, frozen=True):
    """The result for one query. `head` is the packet from after the id up to the answers, with an answer count of 0."""

    forward: bool = False
    head: bytes = b""
    answers: tuple[bytes, ...] = ()
    tail: bytes = b""
    udp_limit: int = MIN_UDP


class _Edns(Struct, frozen=True):
    """The contents of a query's OPT record."""

    udp_size: int
    version: int
    wants_dnssec: bool


class _Query(Struct, frozen=True):
    """A valid query. With an opcode other than QUERY only the header is parsed."""

    header: DNSHeader
    question: DNSQuestion | None = None
    edns: "_Edns | None" = None


FORWARD = _Plan(forward=True)


class Resolver:
    """Answers `DnsQuery` inputs. `rng` shuffles the answers."""

    def __init__(self, config: Config, registry: NameRegistry, rng: Random) -> None:
        self._registry = registry
        self._rng = rng
        self._ttl = config.dns_ttl
        self._plans: dict[bytes, _Plan] = {}
        self._generation = registry.generation
        self._counts = {"answered": 0, "forwarded": 0, "malformed": 0}

    def handle(self, input: DnsQuery, now: int) -> list[Effect]:
        """One `DnsAnswer` or `DnsForward`; an empty answer if the query gets none. At most one `Log` per run."""
        payload = input.payload
        if self._generation != self._registry.generation or len(self._plans) >= MAX_PLANS:
            self._plans.clear()
            self._generation = self._registry.generation
        plan = self._plans.get(payload[2:])
        if plan is None:
            if len(payload) < 2 or (len(payload) > 2 and payload[2] & FLAG_RESPONSE):
                return self._malformed([DnsAnswer(input.query, b"")])
            try:
                query = _parse(payload)
            except Exception as error:  # dnslib raises many types on hostile bytes; none may reach the daemon
                return self._malformed([DnsAnswer(input.query, _format_error(payload))], type(error).__name__)
            plan = self._plan(query)
            if len(payload) <= MAX_PLANNED:
                self._plans[payload[2:]] = plan
        if plan.forward:
            self._counts["forwarded"] += 1
            return [DnsForward(input.query, payload)]
        self._counts["answered"] += 1
        limit = MAX_PACKET if input.tcp else plan.udp_limit
        return [DnsAnswer(input.query, payload[:2] + self._compose(plan, limit))]

    def report(self) -> dict[str, Any]:
        return dict(self._counts)

    def _malformed(self, effects: list[Effect], why: str = "no query") -> list[Effect]:
        self._counts["malformed"] += 1
        if self._counts["malformed"] == 1:
            text = f"a DNS packet that is no proper query ({why}); further ones are counted, not logged"
            effects.append(Log("warning", text))
        return effects

    def _compose(self, plan: _Plan, limit: int) -> bytes:
        """The packet after the id, with shuffled answers, as many as fit into `limit`."""
        answers = list(plan.answers)
        self._rng.shuffle(answers)
        room = limit - 2 - len(plan.head) - len(plan.tail)
        if sum(map(len, answers)) <= room:
            fitting = len(answers)
        else:
            fitting = 0
            while len(answers[fitting]) <= room:
                room -= len(answers[fitting])
                fitting += 1
        head = bytearray(plan.head)
        if fitting < len(answers):
            head[0] |= FLAG_TRUNCATED
        head[4:6] = pack("!H", fitting)
        return b"".join((head, *answers[:fitting], plan.tail))

    def _plan(self, query: _Query) -> _Plan:
        """The plan for a query."""
        header, question = query.header, query.question
        if header.get_opcode() != 0:
            flags = header.bitmap >> 8 & FLAGS_KEPT | FLAG_RESPONSE
            return _Plan(head=bytes((flags, RCODE.NOTIMP)) + bytes(8))
        assert question is not None
        if query.edns is not None and query.edns.version > 0:
            return self._reply(query, [], RCODE.NOERROR, extended=BADVERS)
        if question.qclass not in (CLASS.IN, ANY_CLASS):
            return FORWARD
        name = name_of_labels(question.qname.label)
        if name is None:
            # No registered name has such labels, and no other server answers for our domain.
            ours = within(question.qname.label, self._registry.domain)
            return self._reply(query, [], RCODE.NXDOMAIN, apex=self._registry.domain) if ours else FORWARD
        local = self._registry.qualify(name)
        address = address_of_reverse(name)
        if local is not None:
            # A name without a domain is not in any zone that could have an SOA.
            apex = self._registry.domain if self._registry.in_domain(name) else ""
            records = self._forward_records(local, question.qtype)
            if local == self._registry.domain and question.qtype in (QTYPE.SOA, QTYPE.ANY):
                records = [(QTYPE.SOA, self._soa(apex)), *records]
            rcode = RCODE.NOERROR if self._registry.exists(local) else RCODE.NXDOMAIN
        elif address is not None and (names := self._registry.names(address)):
            apex = name
            wanted = question.qtype in (QTYPE.PTR, QTYPE.ANY)
            records = [(QTYPE.PTR, _encode_name(text)) for text in names] if wanted else []
            rcode = RCODE.NOERROR
        else:
            return FORWARD
        return self._reply(query, records, rcode, apex=apex)

    def _forward_records(self, name: str, qtype: int) -> list[tuple[int, bytes]]:
        """(type, data) of every address of `name` that matches a question of `qtype`."""
        records = []
        for address in self._registry.addresses(name):
            data = packed(address)
            assert data is not None
            rtype = QTYPE.A if len(data) == 4 else QTYPE.AAAA
            if qtype in (rtype, QTYPE.ANY):
                records.append((rtype, data))
        return records

    def _reply(
        self, query: _Query, records: list[tuple[int, bytes]], rcode: int, *, apex: str = "", extended: int = 0
    ) -> _Plan:
        """`apex`: the zone whose SOA makes a negative answer cacheable (RFC 2308); empty: no SOA."""
        header = query.header
        reply = DNSRecord(DNSHeader(id=header.id, qr=1, aa=1, ra=1, rd=header.rd, rcode=rcode), q=query.question)
        authority = b""
        if not records and apex:
            soa = self._soa(apex)
            authority = _encode_name(apex) + pack("!HHIH", QTYPE.SOA, CLASS.IN, self._ttl, len(soa)) + soa
        empty = bytes(reply.pack())
        opt, limit = b"", MIN_UDP
        if query.edns is not None:
            limit = max(MIN_UDP, query.edns.udp_size)
            reply.add_ar(EDNS0(udp_len=OUR_UDP, ext_rcode=extended, flags="do" if query.edns.wants_dnssec else ""))
            whole = bytes(reply.pack())
            opt, empty = whole[len(empty) :], whole[: len(empty)]
        if authority:
            empty = empty[:8] + pack("!H", 1) + empty[10:]
        answers = tuple(
            TO_QUESTION + pack("!HHIH", rtype, CLASS.IN, self._ttl, len(data)) + data for rtype, data in records
        )
        return _Plan(head=empty[2:], answers=answers, tail=authority + opt, udp_limit=limit)

    def _soa(self, apex: str) -> bytes:
        """The data of a zone's SOA record.

        Negative answers have the same TTL as positive ones. The serial is constant, because nobody transfers the zone.
        """
        names = _encode_name(apex) + _encode_name(f"hostmaster.{apex}")
        return names + pack("!IIIII", 1, *SOA_TIMES, self._ttl)


def _parse(payload: bytes) -> _Query:
    """Raises any exception of dnslib, or `ValueError`, on a malformed query."""
    buffer = DNSBuffer(payload)
    header = DNSHeader.parse(buffer)
    if header.get_opcode() != 0:
        return _Query(header)
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
    return _Query(header, question, found[0] if found else None)


def _encode_name(name: str) -> bytes:
    buffer = DNSBuffer()
    buffer.encode_name(DNSLabel(name))
    return bytes(buffer.data)


def _format_error(payload: bytes) -> bytes:
    """FORMERR with the id of a packet that cannot be parsed (RFC 1035, 4.1.1)."""
    flags = payload[2] & FLAGS_KEPT if len(payload) > 2 else 0
    return payload[:2] + bytes((flags | FLAG_RESPONSE, RCODE.FORMERR)) + bytes(8)

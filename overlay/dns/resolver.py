"""Answers DNS queries from the registry: packets in, packets out (RFC 1034, 1035, 2308, 3225, 3596, 6891).

Owns the format of answers, truncation, and the decision which queries go to the host's own name servers. Must not know
sockets or how the registry is replicated. No input raises an exception.

`packets` answers a batch of datagrams, without an input and effects for each: usual questions for addresses from
`ready`, all others by plans. Plain queries are parsed by `plain_query`, the rest with dnslib; both give the same plans.
A plan is cached, keyed by the query's bytes after its id, until the registry changes.
"""

# mypy: disable-error-code="no-untyped-call"

from collections.abc import Sequence
from struct import pack
from typing import Any, Final

from dnslib import EDNS0, DNSHeader, DNSRecord
from msgspec import Struct

from overlay.config import Config
from overlay.dns.names import address_of_reverse, check_name, name_of_labels, packed, within
from overlay.dns.packet_cache import PacketCache
from overlay.dns.parsed_query import DO_FLAG, FLAG_RESPONSE, FLAGS_KEPT, ParsedQuery, format_error, parse_query
from overlay.dns.plain_query import PlainQuery, encode_name, head, read_plain
from overlay.dns.ready import ReadyAnswers
from overlay.dns.registry import NameRegistry
from overlay.effects import DnsAnswer, DnsForward, Effect, Log
from overlay.env import Random
from overlay.errors import UsageError
from overlay.inputs import DnsQuery

MIN_UDP = 512
MAX_PACKET = 65535
OUR_UDP = 4096
"""The UDP size that we advertise, as common servers do; queries are far smaller."""
MAX_PLANS = 1 << 13
"""Plans that are cached, some 5 MB: nobody fills memory with odd queries."""
MAX_PLANNED = 512
"""Longer queries are not cached."""

FLAG_TRUNCATED = 0x02
IN, ANY_CLASS = 1, 255
A, SOA, PTR, AAAA, OPT, ANY = 1, 6, 12, 28, 41, 255
"""Types of records; numbers, because dnslib looks up each of its names in a function."""
NOERROR, NXDOMAIN, NOTIMP = 0, 3, 4
BADVERS = 1
"""The extended part of response code 16 (RFC 6891, 9)."""
SOA_TIMES = (3600, 600, 86400)
"""Refresh, retry and expire of the zone, in seconds; unused, because nobody transfers the zone."""
TO_QUESTION = b"\xc0\x0c"
"""A compression pointer to the question's name, which follows the header (RFC 1035, 4.1.4)."""


class _Plan(Struct, frozen=True, gc=False):
    """The result for one query. `head` is the packet from after the id up to the answers, with an answer count of 0."""

    forward: bool = False
    head: bytes = b""
    answers: tuple[bytes, ...] = ()
    tail: bytes = b""
    udp_limit: int = MIN_UDP
    datagram: bytes = b""
    """The whole answer after the id, if there is only one order of the answers and a datagram has room for it."""


class _Decision(Struct, frozen=True, gc=False):
    """What the registry says about one question. `apex`: the zone whose SOA makes a negative answer cacheable (RFC
    2308); empty: no SOA."""

    records: list[tuple[int, bytes]]
    rcode: int
    apex: str = ""


FORWARD: Final = _Plan(forward=True)
_OPT: Final = pack("!BHHIH", 0, OPT, OUR_UDP, 0, 0)
_OPT_DO: Final = pack("!BHHIH", 0, OPT, OUR_UDP, DO_FLAG, 0)


class Resolver:
    """Answers `DnsQuery` inputs. `rng` shuffles the answers."""

    def __init__(self, config: Config, registry: NameRegistry, rng: Random) -> None:
        self._registry = registry
        self._rng = rng
        self._ttl = config.dns_ttl
        self._plans: PacketCache[_Plan] = PacketCache(MAX_PLANS // 2)
        self._generation = -1
        self._ready = ReadyAnswers(registry, rng, self._ttl, self._authority(registry.domain), (_OPT, _OPT_DO))
        self._counts = {"answered": 0, "forwarded": 0, "malformed": 0}

    def handle(self, input: DnsQuery, now: int) -> list[Effect]:
        """One `DnsAnswer` or `DnsForward`; an empty answer if the query gets none. At most one `Log` per run."""
        payload = input.payload
        self._follow()
        plan = self._plans.get(payload[2:])
        if plan is None:
            if len(payload) < 2 or (len(payload) > 2 and payload[2] & FLAG_RESPONSE):
                return self._malformed([DnsAnswer(input.query, b"")])
            try:
                plan = self._make(payload)
            except Exception as error:  # dnslib raises many types on hostile bytes; none may reach the daemon
                return self._malformed([DnsAnswer(input.query, format_error(payload))], type(error).__name__)
        if plan.forward:
            self._counts["forwarded"] += 1
            return [DnsForward(input.query, payload)]
        self._counts["answered"] += 1
        answer = self._compose(plan, MAX_PACKET) if input.tcp else self._datagram(plan)
        return [DnsAnswer(input.query, payload[:2] + answer)]

    def packets(self, queries: Sequence[bytes]) -> list[bytes]:
        """The answers to these datagrams; an empty one where `handle` has to decide. Same answers as `handle` gives."""
        answers = self._ready.answers(queries)
        if b"" in answers:
            self._follow()
            answers = [answer or self._by_plan(query) for query, answer in zip(queries, answers, strict=True)]
        self._counts["answered"] += len(answers) - answers.count(b"")
        return answers

    def _by_plan(self, query: bytes) -> bytes:
        plan = self._plans.get(query[2:])
        if plan is None and len(query) > 12:
            plain = read_plain(query)
            plan = None if plain is None else self._planned(query, self._plan_plain(plain), plain.repeats)
        if plan is None or plan.forward:
            return b""
        return query[:2] + self._datagram(plan)

    def _follow(self) -> None:
        """Drop the plans if the registry has changed."""
        if self._generation != self._registry.generation:
            self._generation = self._registry.generation
            self._plans.clear()

    def _make(self, payload: bytes) -> _Plan:
        """The plan for a query. Raises any exception of dnslib, or `ValueError`, on a malformed one."""
        plain = read_plain(payload) if len(payload) > 12 else None
        if plain is not None:
            return self._planned(payload, self._plan_plain(plain), plain.repeats)
        return self._planned(payload, self._plan(parse_query(payload)))

    def _planned(self, payload: bytes, plan: _Plan, repeats: bool = True) -> _Plan:
        """Cache a plan, if the same query may come again."""
        if repeats and len(payload) <= MAX_PLANNED:
            self._plans.put(payload[2:], plan)
        return plan

    def report(self) -> dict[str, Any]:
        return dict(self._counts)

    def _malformed(self, effects: list[Effect], why: str = "no query") -> list[Effect]:
        self._counts["malformed"] += 1
        if self._counts["malformed"] == 1:
            text = f"a DNS packet that is no proper query ({why}); further ones are counted, not logged"
            effects.append(Log("warning", text))
        return effects

    def _datagram(self, plan: _Plan) -> bytes:
        return plan.datagram or self._compose(plan, plan.udp_limit)

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

    def _plan(self, query: ParsedQuery) -> _Plan:
        """The plan for a query."""
        header, question = query.header, query.question
        if header.get_opcode() != 0:
            flags = header.bitmap >> 8 & FLAGS_KEPT | FLAG_RESPONSE
            return _Plan(head=bytes((flags, NOTIMP)) + bytes(8))
        assert question is not None
        if query.edns is not None and query.edns.version > 0:
            return self._reply(query, [], NOERROR, extended=BADVERS)
        if question.qclass not in (IN, ANY_CLASS):
            return FORWARD
        name = name_of_labels(question.qname.label)
        if name is None:
            # No registered name has such labels, and no other server answers for our domain.
            ours = within(question.qname.label, self._registry.domain)
            return self._reply(query, [], NXDOMAIN, apex=self._registry.domain) if ours else FORWARD
        found = self._decide(name, question.qtype)
        return FORWARD if found is None else self._reply(query, found.records, found.rcode, apex=found.apex)

    def _plan_plain(self, query: PlainQuery) -> _Plan:
        """The same plan as that of `_plan`, for a plain query."""
        if query.qclass not in (IN, ANY_CLASS):
            return FORWARD
        found = self._decide(query.name, query.qtype)
        if found is None:
            return FORWARD
        authority = b"" if found.records else self._authority(found.apex)
        opt = b"" if not query.udp_size else _OPT_DO if query.wants_dnssec else _OPT
        limit = max(MIN_UDP, query.udp_size)
        start = head(query, found.rcode, 1 if authority else 0)
        return self._finish(start, found.records, authority, opt, limit)

    def _decide(self, name: str, qtype: int) -> _Decision | None:
        """What the registry says about a folded name; None: it is not ours to answer."""
        local = self._registry.qualify(name)
        if local is not None:
            # A name without a domain is not in any zone that could have an SOA.
            apex = self._registry.domain if self._registry.in_domain(name) else ""
            records = self._forward_records(local, qtype)
            if local == self._registry.domain and qtype in (SOA, ANY):
                records = [(SOA, self._soa(apex)), *records]
            return _Decision(records, NOERROR if self._registry.exists(local) else NXDOMAIN, apex)
        address = address_of_reverse(name)
        if address is not None and (names := self._registry.names(address)):
            wanted = names if qtype in (PTR, ANY) else ()
            records = [(PTR, encode_name(text)) for text in wanted if _sound(text)]
            return _Decision(records, NOERROR, name)
        return None

    def _forward_records(self, name: str, qtype: int) -> list[tuple[int, bytes]]:
        """(type, data) of every address of `name` that matches a question of `qtype`."""
        records = []
        for address in self._registry.addresses(name):
            data = packed(address)
            assert data is not None
            rtype = A if len(data) == 4 else AAAA
            if qtype in (rtype, ANY):
                records.append((rtype, data))
        return records

    def _reply(
        self, query: ParsedQuery, records: list[tuple[int, bytes]], rcode: int, *, apex: str = "", extended: int = 0
    ) -> _Plan:
        header = query.header
        reply = DNSRecord(DNSHeader(id=header.id, qr=1, aa=1, ra=1, rd=header.rd, rcode=rcode), q=query.question)
        authority = b"" if records else self._authority(apex)
        empty = bytes(reply.pack())
        opt, limit = b"", MIN_UDP
        if query.edns is not None:
            limit = max(MIN_UDP, query.edns.udp_size)
            reply.add_ar(EDNS0(udp_len=OUR_UDP, ext_rcode=extended, flags="do" if query.edns.wants_dnssec else ""))
            whole = bytes(reply.pack())
            opt, empty = whole[len(empty) :], whole[: len(empty)]
        if authority:
            empty = empty[:8] + pack("!H", 1) + empty[10:]
        return self._finish(empty[2:], records, authority, opt, limit)

    def _finish(
        self, start: bytes, records: list[tuple[int, bytes]], authority: bytes, opt: bytes, limit: int
    ) -> _Plan:
        answers = tuple(
            [TO_QUESTION + pack("!HHIH", rtype, IN, self._ttl, len(data)) + data for rtype, data in records]
        )
        tail = authority + opt
        size = 2 + len(start) + sum(map(len, answers)) + len(tail)
        datagram = b""
        if len(answers) < 2 and size <= limit:
            datagram = b"".join((start[:4], pack("!H", len(answers)), start[6:], *answers, tail))
        elif not answers:  # the SOA of a very long domain has no room: the client may ask over TCP
            datagram = bytes((start[0] | FLAG_TRUNCATED,)) + start[1:6] + b"\0\0" + start[8:] + opt
        return _Plan(head=start, answers=answers, tail=tail, udp_limit=limit, datagram=datagram)

    def _authority(self, apex: str) -> bytes:
        """The SOA record of a negative answer; empty without an apex."""
        if not apex:
            return b""
        soa = self._soa(apex)
        return encode_name(apex) + pack("!HHIH", SOA, IN, self._ttl, len(soa)) + soa

    def _soa(self, apex: str) -> bytes:
        """The data of a zone's SOA record.

        Negative answers have the same TTL as positive ones. The serial is constant, because nobody transfers the zone.
        """
        names = encode_name(apex) + encode_name(f"hostmaster.{apex}")
        return names + pack("!IIIII", 1, *SOA_TIMES, self._ttl)


def _sound(name: str) -> bool:
    """Whether a name can be written into a packet; other peers may register anything."""
    try:
        check_name(name)
    except UsageError:
        return False
    return True

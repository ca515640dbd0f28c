"""The resolver, asked with packets that dnslib makes and read with dnslib: what is answered, forwarded, refused."""

from random import Random

import pytest
from dnslib import EDNS0, QTYPE, RCODE, DNSQuestion, DNSRecord
from dnslib.label import DNSLabel
from hypothesis import given, settings
from hypothesis import strategies as st

from overlay.config import Config
from overlay.dns.registry import NameRegistry
from overlay.dns.resolver import Resolver
from overlay.effects import DnsAnswer, DnsForward, Log
from overlay.inputs import DnsQuery, RegisterName, UnregisterName

A = "02:00:00:00:00:0a"


def make(*names):
    config = Config(name=A, nickname="a")
    registry = NameRegistry(config, 1, {})
    for n, (name, address) in enumerate(names):
        registry.handle(RegisterName(f"c{n}", name, address), 0)
    return registry, Resolver(config, registry, Random(1))


def ask(resolver, packet, tcp=False):
    (effect,) = resolver.handle(DnsQuery(9, bytes(packet.pack()), tcp), 0)
    assert effect.query == 9
    return DNSRecord.parse(effect.payload) if isinstance(effect, DnsAnswer) else effect


def question(name, qtype="A", edns=0):
    packet = DNSRecord.question(name, qtype)
    if edns:
        packet.add_ar(EDNS0(udp_len=edns))
    return packet


def data(reply):
    return sorted(str(rr.rdata) for rr in reply.rr)


def test_all_addresses_of_a_name_come_shuffled_with_ttl_one():
    _, resolver = make(*(("svc1.weave.local.", f"10.0.1.{n}") for n in range(1, 6)), ("svc2.weave.local.", "10.0.2.1"))
    packet = question("svc1.weave.local")
    orders = set()
    for _ in range(20):
        reply = ask(resolver, packet)
        assert reply.header.id == packet.header.id and reply.header.aa and reply.header.ra and reply.header.rd
        assert data(reply) == [f"10.0.1.{n}" for n in range(1, 6)]
        assert {rr.ttl for rr in reply.rr} == {1}
        orders.add(tuple(str(rr.rdata) for rr in reply.rr))
    assert len(orders) > 10


@pytest.mark.parametrize(
    ("name", "qtype", "rcode", "answers"),
    [
        ("svc1.weave.local", "A", "NOERROR", ["10.0.1.1"]),
        ("svc1.weave.local", "AAAA", "NOERROR", []),
        ("svc1.weave.local", "MX", "NOERROR", []),
        ("svc1.weave.local", "ANY", "NOERROR", ["10.0.1.1"]),
        ("svc1", "A", "NOERROR", ["10.0.1.1"]),
        ("six.weave.local", "AAAA", "NOERROR", ["fd00::1"]),
        ("six.weave.local", "A", "NOERROR", []),
        ("svc9.weave.local", "A", "NXDOMAIN", []),
        ("svc9", "AAAA", "NXDOMAIN", []),
        ("weave.local", "A", "NOERROR", []),
        ("1.1.0.10.in-addr.arpa", "PTR", "NOERROR", ["Svc1.weave.local."]),
        ("1.1.0.10.in-addr.arpa", "A", "NOERROR", []),
        ("1." + "0." * 27 + "0.0.d.f.ip6.arpa", "PTR", "NOERROR", ["six.weave.local."]),
    ],
)
def test_local_names_are_answered(name, qtype, rcode, answers):
    _, resolver = make(("Svc1.weave.local.", "10.0.1.1"), ("six.weave.local.", "fd00::1"))
    reply = ask(resolver, question(name, qtype))
    assert RCODE[reply.header.rcode] == rcode
    assert data(reply) == answers


@pytest.mark.parametrize(
    ("name", "qtype"),
    [
        ("example.com", "A"),
        ("myweave.local", "A"),
        (".", "NS"),
        ("9.9.9.9.in-addr.arpa", "PTR"),
        ("1.0.10.in-addr.arpa", "PTR"),
        ("x.1.0.10.in-addr.arpa", "PTR"),
        ("1.0.0.2.ip6.arpa", "PTR"),
        ("z." * 32 + "ip6.arpa", "PTR"),
        ("outside.example.", "A"),
    ],
)
def test_everything_else_is_forwarded_as_it_came(name, qtype):
    _, resolver = make(("outside.example.", "10.0.1.1"))
    packet = question(name, qtype, edns=1400)
    assert ask(resolver, packet) == DnsForward(9, bytes(packet.pack()))


def test_names_of_another_class_are_forwarded():
    _, resolver = make(("svc1.weave.local.", "10.0.1.1"))
    packet = DNSRecord(q=DNSQuestion("svc1.weave.local", QTYPE.A, 3))
    assert isinstance(ask(resolver, packet), DnsForward)


def test_case_does_not_matter_and_is_echoed():
    _, resolver = make(("svc1.weave.local.", "10.0.1.1"))
    reply = ask(resolver, question("sVc1.WEAVE.local"))
    assert data(reply) == ["10.0.1.1"]
    assert str(reply.q.qname) == str(reply.rr[0].rname) == "sVc1.WEAVE.local."


def test_the_registry_is_followed():
    registry, resolver = make(("svc1.weave.local.", "10.0.1.1"))
    packet = question("svc1.weave.local")
    assert data(ask(resolver, packet)) == ["10.0.1.1"]
    registry.handle(RegisterName("c7", "SVC1.weave.local.", "10.0.1.7"), 0)
    assert data(ask(resolver, packet)) == ["10.0.1.1", "10.0.1.7"]
    registry.handle(UnregisterName("c0"), 0)
    assert data(ask(resolver, packet)) == ["10.0.1.7"]
    registry.handle(UnregisterName("c7", "svc1.WEAVE.local."), 0)
    assert ask(resolver, packet).header.rcode == RCODE.NXDOMAIN


@pytest.mark.parametrize(("edns", "limit"), [(0, 512), (300, 512), (1232, 1232), (4096, 4096)])
def test_udp_is_truncated_to_what_fits_and_tcp_is_not(edns, limit):
    _, resolver = make(*(("big.weave.local.", f"10.0.{n // 250}.{n % 250}") for n in range(400)))
    packet = question("big.weave.local", edns=edns)
    (effect,) = resolver.handle(DnsQuery(9, bytes(packet.pack())), 0)
    reply = DNSRecord.parse(effect.payload)
    assert reply.header.tc == 1
    assert limit - 16 < len(effect.payload) <= limit
    assert len(reply.rr) == reply.header.a
    assert len(reply.ar) == bool(edns)
    whole = ask(resolver, packet, tcp=True)
    assert whole.header.tc == 0 and len(whole.rr) == 400


def test_more_than_tcp_can_carry_is_truncated_there_too():
    _, resolver = make(*(("big.weave.local.", f"10.{n // 62500}.{n // 250 % 250}.{n % 250}") for n in range(4200)))
    (effect,) = resolver.handle(DnsQuery(9, bytes(question("big.weave.local").pack()), True), 0)
    assert len(effect.payload) <= 65535
    assert DNSRecord.parse(effect.payload).header.tc == 1


def test_other_opcodes_are_not_implemented():
    _, resolver = make()
    packet = question("svc1.weave.local")
    packet.header.opcode = 4
    reply = ask(resolver, packet)
    assert (reply.header.rcode, reply.header.id, reply.header.get_opcode()) == (RCODE.NOTIMP, packet.header.id, 4)


def test_malformed_packets_get_an_error_and_one_log_line():
    _, resolver = make()
    packet = bytes(question("svc1.weave.local").pack())
    answer, log = resolver.handle(DnsQuery(9, packet[:20]), 0)
    reply = DNSRecord.parse(answer.payload)
    assert (reply.header.rcode, reply.header.id, reply.header.qr) == (
        RCODE.FORMERR,
        DNSRecord.parse(packet).header.id,
        1,
    )
    assert isinstance(log, Log)
    assert len(resolver.handle(DnsQuery(9, packet[:20]), 0)) == 1
    assert resolver.handle(DnsQuery(9, b"x"), 0) == [DnsAnswer(9, b"")]
    # An answer is never answered; what becomes of it is said, so that the driver forgets it.
    assert resolver.handle(DnsQuery(9, packet[:2] + b"\x84" + packet[3:]), 0) == [DnsAnswer(9, b"")]
    two = DNSRecord.question("a.weave.local")
    two.add_question(DNSQuestion("b.weave.local"))
    assert ask(resolver, two).header.rcode == RCODE.FORMERR
    assert resolver.report() == {"answered": 0, "forwarded": 0, "malformed": 5}


SOUND = [bytes(question(name, "A", 600).pack()) for name in ("svc1", "svc1.weave.local", "1.1.0.10.in-addr.arpa")]


@st.composite
def mutated(draw):
    packet = bytearray(draw(st.sampled_from(SOUND)))
    for _ in range(draw(st.integers(0, 4))):
        packet[draw(st.integers(0, len(packet) - 1))] = draw(st.integers(0, 255))
    return bytes(packet[: draw(st.integers(0, len(packet)))]) + draw(st.binary(max_size=6))


@given(st.lists(st.binary(max_size=80) | mutated(), max_size=8), st.booleans())
@settings(max_examples=300, deadline=None)
def test_whatever_arrives_nothing_is_raised(payloads, tcp):
    _, resolver = make(("svc1.weave.local.", "10.0.1.1"))
    logs = 0
    for payload in payloads:
        effects = resolver.handle(DnsQuery(1, payload, tcp), 0)
        answers = [effect for effect in effects if isinstance(effect, DnsAnswer | DnsForward)]
        logs += len(effects) - len(answers)
        assert len(answers) == 1
        for answer in answers:
            if isinstance(answer, DnsAnswer) and not answer.payload:  # nothing is to be sent
                continue
            assert answer.payload[:2] == payload[:2]
            if isinstance(answer, DnsAnswer):
                assert answer.payload[2] & 0x80
                DNSRecord.parse(answer.payload)
    assert logs <= 1


@pytest.mark.parametrize(
    ("name", "qtype", "rcode", "zone"),
    [
        ("svc9.weave.local", "A", "NXDOMAIN", "weave.local."),
        ("svc1.weave.local", "AAAA", "NOERROR", "weave.local."),
        ("1.1.0.10.in-addr.arpa", "A", "NOERROR", "1.1.0.10.in-addr.arpa."),
        ("svc9", "A", "NXDOMAIN", ""),
        ("svc1.weave.local", "A", "NOERROR", ""),
    ],
)
def test_negative_answers_carry_the_soa_that_lets_them_be_cached(name, qtype, rcode, zone):
    """RFC 2308: its TTL is that of the negative answer. A name without a domain is in no zone."""
    _, resolver = make(("svc1.weave.local.", "10.0.1.1"))
    for edns in (0, 1232):
        reply = ask(resolver, question(name, qtype, edns))
        assert RCODE[reply.header.rcode] == rcode
        assert [(str(rr.rname), QTYPE[rr.rtype], rr.ttl) for rr in reply.auth] == ([(zone, "SOA", 1)] if zone else [])
        assert [rr.rdata.times[-1] for rr in reply.auth] == ([1] if zone else [])
        assert len(reply.ar) == (1 if edns else 0)


def test_the_domain_has_an_soa():
    _, resolver = make()
    (answer,) = ask(resolver, question("weave.local", "SOA")).rr
    assert str(answer.rdata.mname) == "weave.local."


def test_an_edns_version_that_is_not_ours_is_told_so():
    """RFC 6891, 6.1.3: BADVERS (16), its upper bits in the OPT record, with the version that we know."""
    _, resolver = make(("svc1.weave.local.", "10.0.1.1"))
    for name in ("svc1.weave.local", "example.org"):
        packet = DNSRecord.question(name)
        packet.add_ar(EDNS0(udp_len=1232, version=1))
        reply = ask(resolver, packet)
        (opt,) = reply.ar
        assert (opt.ttl >> 24 << 4 | reply.header.rcode, opt.ttl >> 16 & 0xFF, reply.rr) == (16, 0, [])


@pytest.mark.parametrize("flags", ["", "do"])
def test_the_dnssec_flag_is_repeated(flags):
    """RFC 3225, 3."""
    _, resolver = make(("svc1.weave.local.", "10.0.1.1"))
    packet = DNSRecord.question("svc1.weave.local")
    packet.add_ar(EDNS0(udp_len=1232, flags=flags))
    (opt,) = ask(resolver, packet).ar
    assert opt.ttl == (0x8000 if flags else 0)


@pytest.mark.parametrize("labels", [(b"a.b",), (b"svc1", b"a.b")])
def test_odd_labels_in_our_domain_are_not_asked_of_others(labels):
    _, resolver = make(("svc1.weave.local.", "10.0.1.1"))
    packet = DNSRecord.question("x")
    packet.questions = [DNSQuestion(DNSLabel((*labels, b"Weave", b"local")), QTYPE.A)]
    assert RCODE[ask(resolver, packet).header.rcode] == "NXDOMAIN"
    packet.questions = [DNSQuestion(DNSLabel((*labels, b"example", b"org")), QTYPE.A)]
    assert isinstance(ask(resolver, packet), DnsForward)

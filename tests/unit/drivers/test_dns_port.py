"""The DNS port's own decisions: which upstreams, and what a failed forward says."""

import dnslib
from hypothesis import given
from hypothesis import strategies as st

from overlay.runtime.dns_server import refuse, upstreams


def test_upstreams_in_order_without_ourselves() -> None:
    text = (
        "# x\nsearch a\nnameserver 10.0.0.1\nnameserver 172.17.0.1\nnameserver\nnameserver fe80::1%eth0\nnameserver x\n"
    )
    assert upstreams(text, "172.17.0.1") == ("10.0.0.1", "fe80::1")


def test_all_upstreams_failed() -> None:
    question = dnslib.DNSRecord.question("no.where.example", "AAAA")
    question.add_ar(dnslib.EDNS0(udp_len=4096))
    answer = dnslib.DNSRecord.parse(refuse(bytes(question.pack())))
    assert answer.header.id == question.header.id
    assert (answer.header.qr, answer.header.ra, answer.header.rd, answer.header.rcode) == (
        1,
        1,
        1,
        dnslib.RCODE.SERVFAIL,
    )
    assert str(answer.q.qname) == "no.where.example."
    assert not answer.rr
    assert not answer.ar


@given(st.binary(max_size=600))
def test_garbage_gets_a_packet_or_nothing(query: bytes) -> None:
    answer = refuse(query)
    assert answer == b"" or (len(answer) <= len(query) and answer[:2] == query[:2])

"""Answers from cached packets and from plain queries are those of the slow way, byte by byte, whatever changes."""

from collections import Counter
from ipaddress import ip_address
from random import Random
from struct import pack

from dnslib import DNSRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from overlay.config import Config
from overlay.dns.names import packed
from overlay.dns.packet_cache import PacketCache
from overlay.dns.parsed_query import parse_query
from overlay.dns.registry import NameRegistry
from overlay.dns.resolver import MAX_PLANS, Resolver
from overlay.effects import DnsAnswer, Notify
from overlay.inputs import DnsQuery, PeerForgotten, PeersChanged, QuarantineChanged, RegisterName, UnregisterName
from overlay.replicated.origin_map import OriginMap
from overlay.wire.origins import NameValue

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
NAMES = ["a.weave.local.", "B.weave.local.", "c-1.b.weave.local.", "outside.example."]
ASKED = [
    *NAMES, "a", "b", "weave.local", "no.weave.local", "no", "myweave.local", "example.org", ".", "a..weave.local",
    "1.1.0.10.in-addr.arpa", "9.1.0.10.in-addr.arpa", "1." + "0." * 27 + "0.0.d.f.ip6.arpa",
    "x" * 63 + ".weave.local", "x" * 64 + ".weave.local", ".".join(["y" * 60] * 5),
]  # fmt: skip


class Slow(Resolver):
    """The same with dnslib alone, and without a cache."""

    def _make(self, payload):
        self._plans.clear()
        return self._plan(parse_query(payload))

    def handle(self, input, now):
        self._plans.clear()
        return super().handle(input, now)


def wire(name):
    return b"".join(bytes((len(part) & 255,)) + part.encode() for part in name.split(".") if part) + b"\0"


@st.composite
def queries(draw):
    name = "".join(c.upper() if draw(st.booleans()) else c for c in draw(st.sampled_from(ASKED)))
    question = wire(name) + pack(
        "!HH", draw(st.sampled_from([1, 28, 255, 12, 6, 15, 65, 97, 0])), draw(st.sampled_from([1, 1, 1, 255, 3]))
    )
    flags = draw(
        st.sampled_from([b"\1\0", b"\0\0", b"\0\0", b"\1\x20", b"\x01\x10", b"\x80\0", b"\x28\0", b"\x07\xff"])
    )
    opt = b""
    if draw(st.booleans()):
        options = draw(st.sampled_from([b"", b"\0\x0a\0\x08COOKIE12", b"\0\x0c\0\0", b"\0\x0c\0\x09pad", b"\0"]))
        size, version = draw(st.sampled_from([0, 300, 512, 1232, 65535])), draw(st.sampled_from([0, 0, 0, 1]))
        more = draw(st.sampled_from([0, 0x8000, 0x1234]))
        opt = pack("!BHHBBHH", 0, 41, size, 0, version, more, len(options)) + options
    counts = pack("!HHHH", 1, 0, 0, draw(st.sampled_from([1, 1, 1, 1, 1, 0, 2])) if opt else 0)
    payload = bytearray(draw(st.binary(min_size=2, max_size=2)) + flags + counts + question + opt)
    for _ in range(draw(st.sampled_from([0] * 7 + [1]))):
        payload[draw(st.integers(2, len(payload) - 1))] = draw(st.integers(0, 255))
    return bytes(payload) + draw(st.sampled_from([b""] * 8 + [b"\0", b"junk"]))


ADDRESSES = ["10.0.1.1", "10.0.1.2", "10.0.1.3", "fd00::1"]
CHANGES = st.one_of(
    st.builds(RegisterName, st.sampled_from(["c1", "c2"]), st.sampled_from(NAMES), st.sampled_from(ADDRESSES)),
    st.builds(UnregisterName, st.sampled_from(["c1", "c2"]), st.just("") | st.sampled_from(NAMES)),
    st.tuples(st.sampled_from(["put", "remove"]), st.sampled_from(NAMES), st.sampled_from(ADDRESSES)),
    st.sampled_from([PeersChanged((A,)), PeersChanged((A, B)), PeerForgotten(B)]),
    st.sampled_from(["10.0.1.1", "fd00::1"]),
)


@given(
    st.lists(st.tuples(CHANGES, st.lists(queries(), max_size=8)), min_size=1, max_size=6),
    st.integers(0, 3),
    st.sampled_from([1, 86_400]),
)
@settings(max_examples=40, deadline=None)
def test_packets_are_those_of_the_slow_way(steps, seed, ttl):
    config = Config(name=A, nickname="a", dns_ttl=ttl)
    registry, other = NameRegistry(config, 1, {}), OriginMap("dns", B, 1)
    blocked: set[tuple[str, str, str]] = set()
    registry.handle(PeersChanged((A, B)), 0)
    for number in range(40):
        registry.handle(RegisterName("big", "big.weave.local.", f"10.1.0.{number}"), 0)
    fast, slow = Resolver(config, registry, Random(seed)), Slow(config, registry, Random(seed))
    big = b"id\1\0\0\1\0\0\0\0\0\0" + wire("big.weave.local") + b"\0\1\0\1"
    known = [plain(name) for name in ("a.weave.local", "b", "c-1.B.weave.local")] + [big]
    for step in (step for pair in steps for step in pair):
        if isinstance(step, list):
            known += step  # all are asked again after each change
            batch = [*known, big]
            for query in batch:  # one by one, so that both take random numbers in the same order
                (found,), expected = fast.packets([query]), slow.handle(DnsQuery(7, query), 0)
                assert found == b"" or [DnsAnswer(7, found)] == expected
                if not found:
                    assert fast.handle(DnsQuery(7, query), 0)[:1] == expected[:1]
            for query in batch:
                tcp = DnsQuery(8, query, tcp=True)
                assert fast.handle(tcp, 0)[:1] == slow.handle(tcp, 0)[:1]
        elif isinstance(step, str):
            key = (B, "c9", step)
            registry.handle(QuarantineChanged((), (key,)) if key in blocked else QuarantineChanged((key,), ()), 0)
            blocked ^= {key}
        elif isinstance(step, tuple):
            what, name, address = step
            entry = f"{name.lower()} {address} c9"
            delta = other.put(entry, NameValue(name, address, "c9")) if what == "put" else other.remove(entry)
            if delta is not None:
                merge(registry, delta)
        else:
            registry.handle(step, 0)


def merge(registry, delta):
    for effect in registry.channel.merge(delta, 0)[1]:
        assert isinstance(effect, Notify)
        registry.handle(effect.input, 0)


def plain(name, number=0):
    return number.to_bytes(2, "big") + b"\1\0\0\1\0\0\0\0\0\0" + wire(name) + b"\0\1\0\1"


def resolver_of(*pairs):
    config = Config(name=A, nickname="a")
    registry = NameRegistry(config, 1, {})
    for name, address in pairs:
        registry.handle(RegisterName("c", name, address), 0)
    return registry, Resolver(config, registry, Random(1))


def test_the_orders_of_several_addresses_stay_fair():
    _, resolver = resolver_of(*(("a.weave.local.", f"10.0.1.{n}") for n in range(4)))
    first = Counter(
        str(DNSRecord.parse(answer).rr[0].rdata)
        for answer in resolver.packets([plain("a.weave.local", number) for number in range(2000)])
    )
    assert len(first) == 4 and min(first.values()) > 400
    assert resolver.report()["answered"] == 2000


def test_a_stranger_does_not_fill_the_cache_nor_push_out_what_is_asked_again():
    _, resolver = resolver_of(("a.weave.local.", "10.0.1.1"))
    asked = plain("a.weave.local")
    resolver.packets([asked])
    kept = resolver._plans.get(asked[2:])
    for number in range(1500):
        resolver.packets([plain(f"x{number}.weave.local"), plain(f"x{number}.example.org")])
        resolver.handle(DnsQuery(1, plain(f"y{number}.example.org")), 0)
        if number % 100 == 0:
            assert resolver._plans.get(asked[2:]) is kept
    assert len(resolver._plans) <= MAX_PLANS + 2
    cookie = b"\0\0\x29\x04\xd0\0\0\0\0\0\x0c\0\x0a\0\x08"
    before = len(resolver._plans)
    for number in range(10):
        query = asked[:10] + b"\0\1" + asked[12:] + cookie + bytes((number,)) * 8
        assert resolver.packets([query])[0]
    assert len(resolver._plans) == before


def test_names_that_another_peer_spelt_wrong_are_left_out():
    registry, resolver = resolver_of(("a.weave.local.", "10.0.1.1"))
    other = OriginMap("dns", B, 1)
    registry.handle(PeersChanged((A, B)), 0)
    for name in ("x" * 300 + ".weave.local.", "é.weave.local."):
        merge(registry, other.put(name, NameValue(name, "10.0.1.1", "c")))
    (answer,) = resolver.packets([plain("1.1.0.10.in-addr.arpa")[:-4] + b"\0\x0c\0\1"])
    assert [str(rr.rdata) for rr in DNSRecord.parse(answer).rr] == ["a.weave.local."]


def test_the_cache_forgets_what_was_not_used_for_longest():
    cache: PacketCache[bytes] = PacketCache(2)
    for key in (b"a", b"b", b"c"):
        cache.put(key, key)
    assert cache.get(b"a") == b"a" and len(cache) == 3
    cache.put(b"d", b"d")
    assert [cache.get(key) for key in (b"a", b"b", b"c", b"d")] == [b"a", None, b"c", b"d"]


@given(st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){3}", fullmatch=True) | st.text(alphabet="0123456789.:af", max_size=16))
def test_short_ways_read_addresses_as_the_library_does(text):
    try:
        expected = ip_address(text).packed
    except ValueError:
        expected = None
    assert packed(text) == expected

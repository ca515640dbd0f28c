"""Ready answers: which questions they take, that a change is never missed, and how much they keep."""

from random import Random
from struct import pack

import pytest

from overlay.config import Config
from overlay.dns.ready import _SLICE
from overlay.dns.registry import UNREAD, NameRegistry
from overlay.dns.resolver import Resolver
from overlay.effects import DnsAnswer
from overlay.inputs import (
    DnsQuery,
    NameEntry,
    PeersChanged,
    RegisterName,
    RegisterNames,
    UnregisterName,
    UnregisterNames,
)

A = "02:00:00:00:00:0a"


def question(name: str, kind: int = 1, *, flags: bytes = b"\1\0", udp: int = 0, id: int = 7) -> bytes:
    wire = b"".join(bytes((len(part),)) + part.encode() for part in name.split(".") if part) + b"\0"
    opt = pack("!BHHIH", 0, 41, udp, 0x8000, 0) if udp else b""
    counts = pack("!HHHH", 1, 0, 0, 1 if udp else 0)
    return id.to_bytes(2, "big") + flags + counts + wire + pack("!HH", kind, 1) + opt


def made(domain: str = "weave.local.", ttl: int = 1) -> tuple[NameRegistry, Resolver, Resolver]:
    """A registry, a resolver that is asked for packets, and one that is asked the slow way."""
    config = Config(name=A, nickname="a", dns_domain=domain, dns_ttl=ttl)
    registry = NameRegistry(config, 1, {})
    registry.handle(PeersChanged((A,)), 0)
    return registry, Resolver(config, registry, Random(3)), Resolver(config, registry, Random(3))


def entries(count: int) -> tuple[NameEntry, ...]:
    return tuple(NameEntry("c", f"n{n}.weave.local.", f"10.1.{n >> 8}.{n & 255}") for n in range(count))


def by_handle(resolver: Resolver, query: bytes) -> bytes:
    (effect,) = resolver.handle(DnsQuery(1, query), 0)
    assert isinstance(effect, DnsAnswer)
    return effect.payload


USUAL = [
    question("one.weave.local"),
    question("ONE.Weave.LOCAL", flags=b"\0\0"),
    question("one.weave.local", flags=b"\1\x20", udp=1232),
    question("one.weave.local", 28),
    question("one.weave.local", 28, udp=4096),
    question("six.weave.local", 28, udp=512),
    question("six.weave.local"),
    question("several.weave.local"),
    question("several.weave.local", 28),
    question("several.sub.WEAVE.local", udp=1232),
]
UNUSUAL = [
    question("one"),
    question("weave.local"),
    question("no.weave.local"),
    question("one.weave.local", 255),
    question("one.weave.local", 65),
    question("one.weave.local", 97),
    question("one.example.org"),
    question("one.weave.local", flags=b"\x81\0"),
    question("one.weave.local", flags=b"\x09\0"),
    question("several.sub.weave.local"),
    question("one.weave.local") + b"x",
    question("one.weave.local", udp=512) + b"x",
    question("one.weave.local", udp=512)[:-5] + b"\1" + question("one.weave.local", udp=512)[-4:],
    b"",
    b"\0" * 11,
    question("one.weave.local")[:15],
]


def test_usual_questions_have_ready_answers_and_others_have_none() -> None:
    registry, fast, slow = made(ttl=300)
    for name, address in (
        ("One.weave.local.", "10.0.0.1"),
        ("six.weave.local.", "fd00::6"),
        *((f"several.{sub}weave.local.", f"10.0.2.{n}") for sub in ("", "sub.") for n in range(5 if not sub else 40)),
        ("several.weave.local.", "fd00::1"),
        ("one.example.org.", "10.0.0.9"),
        ("weave.local.", "10.0.0.8"),
    ):
        registry.handle(RegisterName("c", name, address), 0)
    assert fast._ready.answers(UNUSUAL) == [b""] * len(UNUSUAL)
    for query in USUAL:
        (answer,) = fast._ready.answers([query])
        assert answer and answer == by_handle(slow, query), query
    for query in (question("one.weave.local"), question("one.weave.local", 28), question("six.weave.local")):
        registry.handle(UnregisterName("c", query[13:16].decode() + ".weave.local."), 0)
        assert fast._ready.answers([query]) == [b""]


def test_a_change_of_many_names_is_followed_in_slices_and_nothing_stale_is_answered() -> None:
    registry, fast, slow = made()
    count = 4 * _SLICE
    registry.handle(RegisterNames(entries(count)), 0)
    asked = [question(f"n{n}.weave.local", id=n) for n in (0, _SLICE, count - 1)]
    expected = [by_handle(slow, query) for query in asked]
    calls = 0
    while b"" in fast._ready.answers(asked):
        calls += 1
        assert fast.packets(asked) == expected
        assert calls < 4, "each call takes a slice"
    assert calls >= 1 and fast._ready.answers(asked) == expected
    registry.handle(UnregisterNames(entries(count)[: 3 * _SLICE]), 0)
    gone = [by_handle(slow, query) for query in asked]
    assert gone[1] != expected[1] and gone[2] == expected[2]
    while registry.changed:
        assert fast.packets(asked) == gone
    assert fast._ready.answers(asked) == [b"", b"", gone[2]] and len(fast._ready) == _SLICE


def test_changes_that_nobody_reads_are_not_kept_without_end() -> None:
    registry, fast, slow = made()
    for number in range(20):
        registry.handle(RegisterName("c", f"n{number}.weave.local.", "10.0.0.1"), 0)
    assert registry.changed is None, "nobody reads yet"
    asked = question("n1.weave.local")
    assert fast.packets([asked]) == [by_handle(slow, asked)] and len(fast._ready) == 20
    most = 0
    for number in range(2 * UNREAD):
        registry.handle(RegisterName("d", f"m{number}.weave.local.", "10.0.0.2"), 0)
        registry.handle(UnregisterName("d"), 0)
        most = max(most, len(registry.changed or ()))
    assert UNREAD <= most <= UNREAD + 100
    registry.handle(RegisterName("c", "n1.weave.local.", "10.0.0.7"), 0)
    (answer,) = fast.packets([asked])
    assert answer.count(b"\xc0\x0c\0\1") == 2 and b"\x0a\0\0\7" in answer
    assert len(fast._ready) == 20


@pytest.mark.parametrize("labels", [1, 3])
def test_a_very_long_domain_leaves_denials_to_the_resolver(labels: int) -> None:
    domain = ".".join(["d" * 60] * labels) + "."
    registry, fast, slow = made(domain)
    registry.handle(RegisterName("c", f"one.{domain}", "10.0.0.1"), 0)
    asked = question(f"one.{domain}")
    assert fast._ready.answers([asked]) == [by_handle(slow, asked)]
    (denial,) = fast._ready.answers([question(f"one.{domain}", 28)])
    assert bool(denial) is (labels == 1)
    assert fast.packets([question(f"one.{domain}", 28)]) == [by_handle(slow, question(f"one.{domain}", 28))]

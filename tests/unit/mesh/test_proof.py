"""The handshake's parts: real group operations, the key schedule, throttling, sealed frames and their keys' changes."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlay.crypto.derive import RootKeys, epoch_key, expand, extract, next_root
from overlay.crypto.pake import SEED, Crypto, RealCrypto, StubCrypto
from overlay.env import SECOND
from overlay.errors import RemoteError
from overlay.mesh import session
from overlay.mesh.keyring import OTHERS, PRIVATE, Keyring
from overlay.mesh.proof import SessionKeys, transcript
from overlay.mesh.session import Session
from overlay.mesh.throttle import ALL, EACH, INSISTING, MAX_SOURCES, Throttle
from overlay.wire.envelopes import Confirm, Digests, Hello, Rekey

CRYPTOS = [RealCrypto(Random(1).randbytes), StubCrypto(Random(1))]
DIGESTS = Digests(0, (("topology", 7),))


@pytest.mark.parametrize("crypto", CRYPTOS)
def test_the_pake_agrees_only_on_equal_passwords_names_and_roles(crypto: Crypto) -> None:
    def run(first: str, second: str, names: tuple[str, str] = ("a", "b")) -> tuple[bytes | None, bytes | None]:
        a = crypto.pake(first, True, "a", "b", crypto.entropy(SEED))
        b = crypto.pake(second, False, *names, crypto.entropy(SEED))
        return a.finish(b.message), b.finish(a.message)

    one, other = run("x", "x")
    assert one is not None and one == other
    assert run("x", "x") != (one, other), "a fresh secret every time"
    for pair in (run("x", "y"), run("x", "x", ("a", "c")), run("x", "x", ("b", "a"))):
        assert None not in pair and pair[0] != pair[1]


@pytest.mark.parametrize("crypto", CRYPTOS)
@settings(max_examples=40, deadline=None)
@given(st.one_of(st.binary(max_size=64), st.binary(min_size=32, max_size=32).map(lambda data: b"B" + data)))
def test_no_share_raises(crypto: Crypto, share: bytes) -> None:
    crypto.pake("x", True, "a", "b", bytes(SEED)).finish(share)


def test_points_of_small_order_and_reflections_are_refused() -> None:
    crypto: Any = CRYPTOS[0]
    for point in (bytes(32), b"\x01" + bytes(31)):
        assert crypto.exchange(bytes(range(32)), point) is None
        assert crypto.pake("x", True, "a", "b", bytes(SEED)).finish(b"B" + point) is None
    pake = crypto.pake("x", True, "a", "b", bytes(SEED))
    assert pake.finish(pake.message) is None
    pake = crypto.pake("x", True, "a", "b", bytes(SEED))
    assert pake.finish(b"B" + pake.message[1:]) is None
    assert crypto.exchange(bytes(range(32)), b"short") is None


def test_hkdf_is_that_of_rfc_5869() -> None:
    # Test case 1, of which the first 32 bytes are one block.
    assert extract(bytes(range(13)), b"\x0b" * 22).hex().startswith("077709362c2e32df0ddc3f0dc47bba63")
    info = "".join(map(chr, range(0x61, 0x6B)))
    assert expand(bytes(32), info) != expand(bytes(32), info[:-1])


def test_every_key_of_a_session_is_another_one_and_held_crosswise() -> None:
    ours, theirs = SessionKeys(bytes(32), True), SessionKeys(bytes(32), False)
    found = []
    for purpose in ("control", "data", "beat"):
        one, other = getattr(ours, purpose), getattr(theirs, purpose)
        assert (one.send, one.receive) == (other.receive, other.send)
        found += [one.send, one.receive]
    assert len(set(found)) == 6
    assert epoch_key(found[0]) != next_root(found[0])


def test_the_transcript_covers_every_field_of_both_sides() -> None:
    a, b = Hello("a", "n", 1, 2, 3, ("f",), True, False), Hello("b", "m", 4, 5, 6, (), True, False)
    changed = [
        Hello("c", "n", 1, 2, 3, ("f",), True),
        Hello("a", "x", 1, 2, 3, ("f",), True),
        Hello("a", "n", 9, 2, 3, ("f",), True),
        Hello("a", "n", 1, 9, 3, ("f",), True),
        Hello("a", "n", 1, 2, 9, ("f",), True),
        Hello("a", "n", 1, 2, 3, (), True),
        Hello("a", "n", 1, 2, 3, ("f",), True, True),
    ]
    found = [transcript(each, b, b"") for each in (a, *changed)]
    found += [transcript(b, each, b"") for each in (a, *changed)] + [transcript(a, b, b"other first frames")]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("crypto", CRYPTOS)
def test_two_keyrings_have_one_secret_which_depends_on_the_password(crypto: Crypto) -> None:
    keys: dict[str, bytes] = {}
    a, b, c = (Keyring(crypto, word, {}, lambda peer: keys.get(peer, b"")) for word in ("x", "x", "y"))
    assert a.secret("b") is None
    keys.update(a=a.public, b=b.public, c=c.public)
    assert a.secret("b") == b.secret("a") is not None
    assert a.secret("c") != c.secret("a")
    assert a.beacon_key("b") == b.beacon_key("a") != a.secret("b")


def test_a_keyring_comes_back_from_the_disk() -> None:
    crypto: Any = CRYPTOS[0]
    first = Keyring(crypto, "x", {}, lambda peer: b"")
    (private,) = first.start()
    (others,) = first.remember({"b": bytes(range(32)), "c": b""})
    assert first.remember({"b": bytes(range(32))}) == []
    stored = {PRIVATE: private.data, OTHERS: others.data}  # type: ignore[attr-defined]
    second = Keyring(crypto, "x", stored, lambda peer: b"")
    assert second.start() == [] and second.public == first.public and second.secret("b") == first.secret("b")
    assert second.secret("c") is None


def test_strangers_are_throttled_each_and_all_together_and_remembered_in_bounds() -> None:
    throttle = Throttle()
    assert [throttle.allows("a", 0) for _ in range(EACH[0] + 1)] == [True] * EACH[0] + [False]
    assert not throttle.allows("a", SECOND - 1) and throttle.allows("a", SECOND + 1)
    allowed = sum(throttle.allows(f"s{number}", SECOND) for number in range(1000))
    assert allowed <= ALL[0]
    assert len(throttle._sources) <= MAX_SOURCES
    assert throttle.allows("late", 60 * SECOND)


def test_a_newcomer_gets_its_turn_while_a_hundred_others_flood() -> None:
    throttle, served = Throttle(), 0
    for tenth in range(600):
        now = tenth * SECOND // 10
        served += sum(throttle.allows(f"10.0.0.{number}", now) for number in range(100))
        if tenth % 100 == 19:
            assert throttle.allows(f"192.0.2.{tenth // 100}", now), f"a newcomer after {tenth / 10} s"
    assert 60 * INSISTING[1] <= served <= ALL[0] + INSISTING[0] + 60 * INSISTING[1] + 300
    assert len(throttle._sources) <= MAX_SOURCES


def test_an_ipv6_source_counts_by_its_subnet() -> None:
    throttle = Throttle()
    assert sum(throttle.allows(f"2001:db8::{number:x}", 0) for number in range(100)) == EACH[0]
    assert throttle.allows("2001:db8:0:1::1", 0)


# --- sealed frames ------------------------------------------------------------------------------------------------


def secured(clock: list[int]) -> tuple[Session, Session]:
    a, b = (Session(clock=lambda: clock[0]) for _ in range(2))
    assert b.receive(a.outgoing()) == [] and a.receive(b.outgoing()) == []
    one, other = bytes(32), bytes(range(32))
    a.secure(RootKeys(one, other))
    b.secure(RootKeys(other, one))
    return a, b


def test_the_first_frames_are_bound_with_the_dialler_s_before_the_other() -> None:
    a, b, c = Session(1, 1), Session(1, 2), Session(1, 3)
    for one, other in ((a, b), (b, a), (c, b)):
        one.receive(other.outgoing())
    assert a.binding(True) == b.binding(False) != a.binding(False)
    assert c.binding(True) != a.binding(True)


def test_sealed_frames_come_back_and_cannot_be_read_changed_swapped_or_replayed() -> None:
    a, b = secured([0])
    first, second = a.encode(DIGESTS), a.encode(DIGESTS)
    assert b"topology" not in first and first != second
    assert b.receive(first) == [DIGESTS]
    with pytest.raises(RemoteError, match="not genuine"):
        b.receive(first)
    a, b = secured([0])
    with pytest.raises(RemoteError, match="not genuine"):
        b.receive(second)
    a, b = secured([0])
    with pytest.raises(RemoteError, match="not genuine"):
        a.receive(a.encode(DIGESTS))


@given(st.data())
def test_a_changed_octet_of_a_sealed_frame_is_noticed(data: st.DataObject) -> None:
    a, b = secured([0])
    frame = bytearray(a.encode(DIGESTS))
    frame[data.draw(st.integers(4, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RemoteError):
        b.receive(bytes(frame))


def test_keys_change_with_time_frames_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0]
    a, b = secured(clock)
    lengths = []
    for limit in ("time", "frames", "bytes"):
        if limit == "time":
            clock[0] += session.REKEY_TIME
        else:
            monkeypatch.setattr(session, f"REKEY_{limit.upper()}", 1)
        frame = a.encode(DIGESTS)
        lengths.append(len(frame))
        assert b.receive(frame) == [DIGESTS]
    assert len(set(lengths)) == 1, "each was led by a change of keys"
    monkeypatch.undo()
    assert len(a.encode(DIGESTS)) < lengths[0]


def test_a_change_of_keys_where_there_are_none_is_refused() -> None:
    a, b = Session(), Session()
    a.receive(b.outgoing())
    b.receive(a.outgoing())
    with pytest.raises(RemoteError, match="none"):
        b.receive(a.encode(Rekey()))


def test_after_a_decisive_message_nothing_is_read_until_it_is_answered() -> None:
    a, b = Session(), Session()
    a.receive(b.outgoing())
    b.receive(a.outgoing())
    confirm = a.encode(Confirm(bytes(16)))
    a.secure(RootKeys(bytes(32), bytes(32)))
    sealed = a.encode(DIGESTS)
    assert b.receive(confirm + sealed) == [Confirm(bytes(16))]
    assert b.take() is None
    b.secure(RootKeys(bytes(32), bytes(32)))
    assert b.take() == DIGESTS


def test_who_does_not_wait_for_the_answer_cannot_fill_the_memory() -> None:
    a, b = Session(), Session()
    a.receive(b.outgoing())
    b.receive(a.outgoing())
    b.receive(a.encode(Confirm(bytes(16))))
    with pytest.raises(RemoteError, match="awaited"):
        for _ in range(100):
            b.receive(bytes(1000))


@given(st.binary(max_size=200))
def test_a_sealed_frame_of_garbage_raises_nothing_but_remote_error(payload: bytes) -> None:
    _, b = secured([0])
    with pytest.raises(RemoteError):
        b.receive(len(payload).to_bytes(4, "big") + payload)

"""Sealed packets: what arrives once, in any order, and what never does; keys change and old ones are gone."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.crypto.seal import (
    AHEAD,
    COUNTER,
    EPOCH_PACKETS,
    EPOCH_TIME,
    OVERHEAD,
    WINDOW,
    Opener,
    Sealer,
    Window,
    seal_with,
)

ROOT = bytes(range(32))


def test_a_packet_comes_back_as_it_was_and_is_longer_by_the_overhead() -> None:
    sealed = Sealer(ROOT, 0).seal(b"frame", b"header", 0)
    assert len(sealed) == 5 + OVERHEAD and b"frame" not in sealed
    assert Opener(ROOT).open(sealed, b"header") == b"frame"
    assert Opener(ROOT).open(memoryview(sealed), b"header") == b"frame"


@given(st.integers(0, 2**32), st.integers(1, WINDOW // 2))
def test_each_packet_counts_once_in_whatever_order_it_comes(seed: int, spread: int) -> None:
    rng = Random(seed)
    sealer, opener = Sealer(ROOT, 0), Opener(ROOT)
    packets = [sealer.seal(bytes([number]), b"", 0) for number in range(200)]
    order = sorted(range(200), key=lambda number: number + rng.randrange(spread))
    assert sorted(opener.open(packets[number], b"") for number in order) == [bytes([number]) for number in range(200)]  # type: ignore[type-var]
    rng.shuffle(order)
    assert all(opener.open(packets[number], b"") is None for number in order)
    assert opener.replayed == 200 and opener.forged == 0


@given(st.lists(st.integers(0, 3 * WINDOW), max_size=60))
def test_the_window_agrees_with_a_plain_set(sequences: list[int]) -> None:
    window, seen = Window(), set[int]()
    for sequence in sequences:
        expected = sequence not in seen and (not seen or sequence > max(seen) - WINDOW)
        assert window.fresh(sequence) is expected
        if expected:
            window.mark(sequence)
            seen.add(sequence)


@pytest.mark.parametrize("highest", [WINDOW, WINDOW + 63, 2 * WINDOW + 1, 10 * WINDOW])
def test_the_very_same_number_and_the_edges_of_the_window(highest: int) -> None:
    window = Window()
    window.mark(highest)
    assert not window.fresh(highest), "the very same one again"
    assert window.fresh(highest + 1) and window.fresh(highest - 1)
    assert window.fresh(highest - WINDOW + 1), "the oldest that the window knows"
    assert not window.fresh(highest - WINDOW), "too old to know"


def test_the_very_same_packet_again() -> None:
    sealer, opener = Sealer(ROOT, 0), Opener(ROOT)
    for number in range(3):
        packet = sealer.seal(bytes([number]), b"", 0)
        assert opener.open(packet, b"") == bytes([number])
        assert opener.open(packet, b"") is None and opener.replayed == number + 1


@given(st.binary(max_size=80), st.data())
def test_a_changed_octet_anywhere_is_refused(plain: bytes, data: st.DataObject) -> None:
    sealed = bytearray(Sealer(ROOT, 0).seal(plain, b"head", 0))
    opener = Opener(ROOT)
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= data.draw(st.integers(1, 255))
    assert opener.open(bytes(sealed), b"head") is None and opener.forged == 1
    assert opener.epoch == 0
    sealed[at : at + 1] = Sealer(ROOT, 0).seal(plain, b"head", 0)[at : at + 1]
    assert opener.open(bytes(sealed), b"other") is None
    assert opener.open(bytes(sealed), b"head") == plain, "what was refused leaves no trace"


@given(st.binary(max_size=64))
def test_garbage_is_refused(data: bytes) -> None:
    assert Opener(ROOT).open(data, b"") is None


def test_the_directions_do_not_understand_each_other() -> None:
    assert Opener(bytes(32)).open(Sealer(ROOT, 0).seal(b"x", b"", 0), b"") is None


def test_keys_change_with_time_and_what_was_overtaken_still_arrives() -> None:
    sealer, opener = Sealer(ROOT, 0), Opener(ROOT)
    late = sealer.seal(b"late", b"", 0)
    very_late = sealer.seal(b"very late", b"", 0)
    assert opener.open(sealer.seal(b"new", b"", EPOCH_TIME), b"") == b"new"
    assert opener.epoch == sealer.epoch == 1
    assert opener.open(late, b"") == b"late"
    assert opener.open(late, b"") is None
    assert opener.open(sealer.seal(b"newer", b"", 2 * EPOCH_TIME), b"") == b"newer"
    assert opener.open(very_late, b"") is None, "two keys back nothing is accepted"


def test_keys_change_with_volume() -> None:
    sealer, opener = Sealer(ROOT, 0), Opener(ROOT)
    sealer.reserve(EPOCH_PACKETS - 1, 0)
    assert opener.open(sealer.seal(b"last", b"", 0), b"") == b"last" and sealer.epoch == 0
    assert opener.open(sealer.seal(b"first", b"", 0), b"") == b"first" and sealer.epoch == 1
    first, encrypt = sealer.reserve(2, 0)
    assert opener.open(seal_with(encrypt, first + 1, b"b", b""), b"") == b"b"
    assert opener.open(seal_with(encrypt, first, b"a", b""), b"") == b"a"


@pytest.mark.parametrize("missed", [1, 7, AHEAD])
def test_a_receiver_that_heard_nothing_for_long_catches_up(missed: int) -> None:
    sealer, opener = Sealer(ROOT, 0), Opener(ROOT)
    for number in range(1, missed):
        sealer.reserve(1, number * EPOCH_TIME)
    assert opener.open(sealer.seal(b"x", b"", missed * EPOCH_TIME), b"") == b"x"
    assert opener.epoch == missed
    assert opener.open(sealer.seal(b"y", b"", (missed + 1) * EPOCH_TIME), b"") == b"y"


def test_the_number_of_the_epoch_wraps_around() -> None:
    sealer, opener = Sealer(ROOT, 0), Opener(ROOT)
    now = 0
    for _ in range(70):
        for _ in range(1000):
            now += EPOCH_TIME
            sealer.reserve(1, now)
        assert opener.open(sealer.seal(b"x", b"", now), b"") == b"x"
    assert opener.epoch == 70_000


def test_claims_of_later_keys_change_nothing() -> None:
    sealer, opener = Sealer(ROOT, 0), Opener(ROOT)
    for claimed in (1, 5, AHEAD, AHEAD + 1, 2**16 - 1):
        assert opener.open(claimed.to_bytes(2, "big") + bytes(COUNTER - 2 + 40), b"") is None
    assert opener.epoch == 0
    assert opener.open(sealer.seal(b"x", b"", 0), b"") == b"x"
    assert opener.open(sealer.seal(b"y", b"", EPOCH_TIME), b"") == b"y"


@given(st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 200)), max_size=20))
def test_a_window_marks_runs_as_it_marks_each(runs: list[tuple[int, int]]) -> None:
    one, other = Window(), Window()
    for gap, count in runs:
        first = one.highest + 1 + gap
        for number in range(first, first + count):
            one.mark(number)
        other.mark_run(first, count)
        for number in range(max(0, one.highest - 9000), one.highest + 2, 7):
            assert one.fresh(number) == other.fresh(number), number

"""The relay's parts without packets: flipped bits, figures of a period, when to wake, what a direction counts."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import LabError
from lab.fabric import mechanisms
from lab.fabric.mechanisms import LinkKernel, Mechanism, choose
from lab.fabric.relay.direction import RelayedDirection, Sampled
from lab.fabric.relay.frames import VNET, flipped
from lab.fabric.relay.punctual import Alarm
from lab.links import Burst, Distribution, Link

HEAD = bytes(14)


def ones(data: bytes) -> int:
    """The sum of 16-bit words that is all ones for whatever holds its own checksum."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(st.binary(min_size=8, max_size=200).map(lambda data: data[: len(data) & ~1]), st.integers(0, 1 << 32))
def test_one_bit_is_flipped_and_an_unfinished_checksum_is_finished_first(payload: bytes, drawn: int) -> None:
    finished = struct.pack("=BBHHHH", 0, 0, 0, 0, 0, 0)
    frame = finished + HEAD + payload
    changed = flipped(frame, drawn)
    assert changed[: VNET + 14] == frame[: VNET + 14]
    differ = int.from_bytes(changed) ^ int.from_bytes(frame)
    assert differ.bit_count() == 1

    # A checksum of all that follows the Ethernet header, in its third word.
    unfinished = struct.pack("=BBHHHH", 1, 0, 0, 0, 14, 4)
    payload = payload[:4] + b"\0\0" + payload[6:]
    changed = flipped(unfinished + HEAD + payload, drawn)
    assert changed[:VNET] == bytes(VNET)
    data = bytearray(changed[VNET + 14 :])
    bit = drawn % (len(data) * 8)
    assert ones(bytes(data)) != 0xFFFF, "the flip is noticed"
    data[bit // 8] ^= 1 << bit % 8
    assert ones(bytes(data)) == 0xFFFF


def test_a_frame_whose_checksum_would_lie_nowhere_is_flipped_as_it_is() -> None:
    for start, offset in ((0, 4), (14, 60_000)):
        frame = struct.pack("=BBHHHH", 1, 0, 0, 0, start, offset) + HEAD + bytes(40)
        assert flipped(frame, 9) == frame[: VNET + 15] + b"\2" + frame[VNET + 16 :]


def test_figures_of_a_long_period_are_thinned_out_evenly() -> None:
    found = Sampled()
    assert found.at(50, 99) == [0, 0]
    for value in range(100_000):
        found.add(value)
    median, high = found.at(50, 99)
    assert 49_000 < median < 51_000 and 98_000 < high < 100_000


def test_a_direction_counts_what_its_model_does_and_starts_again_with_a_new_link() -> None:
    one = RelayedDirection("a", "b", 7)
    assert one.idle and one.change(Link(loss=0.25), 1_000) is None
    again = RelayedDirection("a", "b", 7)
    again.change(Link(loss=0.25), 1_000)
    fates = [len(one.packet(now, 100)) for now in range(400)]
    assert fates == [len(again.packet(now, 100)) for now in range(400)], "the same seed, the same packets"
    one.left(10, 30, 35)
    done = one.change(Link(delay=5), 2_000)
    assert done is not None and (done.packets, done.lost, done.bytes) == (400, fates.count(0), 40_000)
    assert (done.since, done.held_p50, done.late_p99, done.link) == (1_000, 25, 5, Link(loss=0.25))
    assert 60 < done.lost < 140
    assert [each.at for each in one.packet(10, 100)] == [15]
    assert one.counts(3_000).packets == 1


def test_the_alarm_goes_off_earlier_when_waking_takes_long_and_never_spends_more_than_a_share() -> None:
    alarm, now, awake = Alarm(), 0, 0
    for number in range(2_000):
        due = now + 1_000_000
        while (wait := alarm.sleep(now, due)) == 0 and now < due:
            now += 5_000
            awake += 5_000
        if wait:
            now += wait + 100_000 * (1 + number % 2)  # as long as this machine takes
            alarm.woke(now)
        while now < due and alarm.sleep(now, due) == 0:
            now += 5_000
            awake += 5_000
        now = max(now, due)
    assert alarm.sleep(now, now) == 0
    assert 0 < awake < now // 4 + 10_000_000


EVERYTHING = LinkKernel(htb=True, netem=True, relay=True)
BARE = LinkKernel(htb=True, netem=False, relay=True)


@pytest.mark.parametrize(
    ("link", "kernel", "routed", "by"),
    [
        (Link(loss=0.1, mtu=1200), BARE, False, Mechanism.RULES),
        (Link(loss=0.1), BARE, True, Mechanism.RULES),
        (Link(rate=1000), BARE, False, Mechanism.QUEUES),
        (Link(rate=1000), BARE, True, Mechanism.RELAY),
        (Link(rate=1000), LinkKernel(htb=False, netem=True, relay=True), False, Mechanism.RELAY),
        (Link(delay=1), BARE, False, Mechanism.RELAY),
        (Link(delay=1, burst=Burst(enter=0.1, leave=0.1)), EVERYTHING, False, Mechanism.QUEUES),
        (Link(delay=1, jitter=1, correlation=0.5), EVERYTHING, False, Mechanism.RELAY),
        (Link(delay=1, jitter=1, distribution=Distribution.TABLE, table=(0,)), EVERYTHING, False, Mechanism.RELAY),
        (Link(delay=1, jitter=1, distribution=Distribution.PARETO), EVERYTHING, False, Mechanism.QUEUES),
    ],
)
def test_the_cheapest_mechanism_that_does_it_as_the_model_does(
    link: Link, kernel: LinkKernel, routed: bool, by: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose(link, lambda: kernel, routed=routed) is by
    monkeypatch.setenv(mechanisms.SWITCH, "relay")
    assert choose(link, lambda: kernel, routed=routed) is Mechanism.RELAY
    monkeypatch.setenv(mechanisms.SWITCH, "fast")
    with pytest.raises(LabError, match="OVERLAY_LAB_LINKS: found 'fast', expected auto or relay"):
        choose(link, lambda: kernel, routed=routed)

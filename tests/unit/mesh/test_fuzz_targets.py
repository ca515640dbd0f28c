"""The fuzzing targets on Hypothesis' bytes: garbage, and genuine messages cut, repeated, swapped and damaged."""

import importlib.util
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overlay.wire.codec import encode_datagram, encode_message
from overlay.wire.envelopes import Accept, Beacon, Beat, Confirm, Goodbye, Hello, PakeShare, Rekey, Resume

FILE = Path(__file__).parents[2] / "fuzz" / "decoders.py"
spec = importlib.util.spec_from_file_location("fuzz_decoders", FILE)
assert spec is not None and spec.loader is not None
decoders = importlib.util.module_from_spec(spec)
spec.loader.exec_module(decoders)

MESSAGES = [
    Hello("a", "n", 1, 2, 3, (), True),
    Hello("b", "n", 1, 2, 3, (), True),
    Hello("a", "n", 1, 2, 3),
    PakeShare(b"\x01" + bytes(32)),
    PakeShare(b"\x00" + bytes(32), bytes(16)),
    Resume(bytes(32), bytes(16)),
    Confirm(bytes(16)),
    Accept(2),
    Goodbye(7, "wrong password"),
    Rekey(),
]
FRAMES = [len(data := encode_message(cast(Any, message))).to_bytes(4, "big") + data for message in MESSAGES]
GENUINE = st.lists(st.sampled_from(FRAMES), max_size=6).map(b"".join)
DATAGRAMS = st.sampled_from([encode_datagram(each) for each in (Beat("a", 1, 2, True), Beacon("a", 1, 2))])


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.one_of(GENUINE, DATAGRAMS, GENUINE.map(lambda frames: frames[4:]))))
    for _ in range(draw(st.integers(0, 3))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


def in_pieces(packets: list[bytes]) -> bytes:
    """As the targets of `pairs.py` cut them: each packet with its length in front."""
    return b"".join(bytes([len(packet)]) + packet for packet in packets)


PIECES = st.lists(st.one_of(damaged(), st.binary(max_size=40)).map(lambda data: data[:254]), max_size=6).map(in_pieces)


@pytest.mark.parametrize("name", decoders.TARGETS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.one_of(st.binary(max_size=200), damaged(), PIECES))
def test_no_octets_break_a_target(name: str, data: bytes) -> None:
    decoders.TARGETS[name](data)

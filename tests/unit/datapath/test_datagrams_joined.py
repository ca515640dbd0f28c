"""Datagrams that are joined for the port are, once the kernel has cut them again, what they were."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from overlay.datapath import inner
from overlay.datapath.delivery import Delivery
from overlay.datapath.inner import ETHERNET, VNET, Gso, layers


def datagram(payload: bytes, number: int, *, df: bool, port: int = 7) -> bytes:
    udp = port.to_bytes(2, "big") + b"\x00\x50" + (8 + len(payload)).to_bytes(2, "big") + bytes(2) + payload
    head = b"\x45\x00" + (20 + len(udp)).to_bytes(2, "big") + number.to_bytes(2, "big")
    head += (b"\x40\x00" if df else bytes(2)) + b"\x40\x11" + bytes(2) + bytes((10, 0, 0, 1, 10, 0, 0, 2))
    return bytes(range(12)) + b"\x08\x00" + inner._ipv4_checked(head) + udp


def as_the_kernel_cuts(write: bytes) -> list[bytes]:
    """Segments count the identification up from the first (`inet_gso_segment`)."""
    _, kind, _, size, *_ = VNET.unpack_from(write)
    frame = write[VNET.size :]
    found = layers(frame)
    assert found is not None
    if kind == Gso.NONE:
        return [inner.finished(frame, found)]
    assert kind == Gso.UDP_L4
    first = frame[18] << 8 | frame[19]
    pieces = []
    for count, piece in enumerate(inner.split_udp(frame, found, size)):
        head = piece[14:18] + (first + count & 0xFFFF).to_bytes(2, "big") + piece[20 : found.transport]
        pieces.append(inner.finished(piece[:ETHERNET] + inner._ipv4_checked(head) + piece[found.transport :], found))
    return pieces


streams = st.lists(
    st.tuples(st.sampled_from([0, 1, 9, 10, 1200]), st.integers(0, 2), st.booleans(), st.sampled_from([7, 7, 8])),
    min_size=1,
    max_size=80,
)


@given(streams, st.booleans())
def test_cut_again_they_are_what_they_were(stream, steady):
    delivery = Delivery()
    delivery.join_datagrams = True
    number, frames = 65_530, []
    for size, step, df, port in [stream[0]] * len(stream) if steady else stream:
        number = number + (1 if steady else step) & 0xFFFF
        frames.append(datagram(bytes((number & 0xFF,)) * size, number, df=df, port=port))
    assert all(delivery.frame(frame, True) for frame in frames)
    writes = [b"".join(buffers) for buffers in delivery.take()]
    cut = [piece for write in writes for piece in as_the_kernel_cuts(write)]
    known = [inner.finished(frame, found) for frame in frames if (found := layers(frame)) is not None]
    whole = [frame[:18] + frame[20:24] + frame[26:] if frame[20] & 0x40 else frame for frame in cut]
    assert whole == [frame[:18] + frame[20:24] + frame[26:] if frame[20] & 0x40 else frame for frame in known]
    if steady and stream[0][0]:
        assert len(writes) <= 1 + len(frames) // 40


def test_a_kernel_that_takes_no_joined_datagrams_gets_each_by_itself():
    delivery = Delivery()
    for number in range(3):
        assert delivery.frame(datagram(b"x" * 100, number, df=True), True)
    assert len(delivery.take()) == 3

"""Rows of packets in clear: taken apart and put together they are what they were, and nothing else passes for a row."""

from hypothesis import given
from hypothesis import strategies as st

from overlay.datapath.rows import MOST, joined, parted
from overlay.datapath.sleeve import HEADER

PREFIX = bytes(range(16))


@st.composite
def rows(draw):
    size = draw(st.integers(1, 40))
    contents = [draw(st.binary(min_size=size, max_size=size)) for _ in range(draw(st.integers(1, 5)))]
    if len(contents) > 1:
        contents[-1] = contents[-1][: draw(st.integers(0, size))]
    return contents


@given(rows(), st.integers(0, 2**63))
def test_a_row_is_its_packets_one_behind_the_other(contents, first):
    packets = [PREFIX + (first + number).to_bytes(8, "big") + content for number, content in enumerate(contents)]
    row = joined(PREFIX, first, contents)
    assert row == b"".join(packets)
    assert parted(row, HEADER + len(contents[0])) == contents


@given(rows(), st.data())
def test_a_packet_with_another_header_ends_it(contents, data):
    segment = HEADER + len(contents[0])
    row = bytearray(joined(PREFIX, 7, contents))
    packet = data.draw(st.integers(0, len(contents) - 1))
    row[packet * segment + data.draw(st.integers(0, HEADER - 1))] ^= data.draw(st.integers(1, 255))
    assert parted(bytes(row), segment) is None or len(contents) == 1


def test_nobody_has_endless_rows_taken_apart():
    assert len(parted(joined(PREFIX, 0, [b"x"] * MOST), HEADER + 1) or ()) == MOST
    assert parted(joined(PREFIX, 0, [b"x"] * (MOST + 1)), HEADER + 1) is None

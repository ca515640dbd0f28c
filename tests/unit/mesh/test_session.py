"""The codec of control connections and datagrams: negotiation, framing, and input of any kind from anybody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.errors import RemoteError
from overlay.mesh.session import MAGIC, MAX_FIRST_FRAME, MAX_HANDSHAKE, Session
from overlay.wire.codec import MAX_DATAGRAM, MAX_MESSAGE, Envelope, decode_datagram, encode_datagram
from overlay.wire.envelopes import Accept, Beacon, Beat, Digests, Hello, News, Prune
from overlay.wire.topology import PeerRecord, TopologyDelta, TopologyLink

RECORD = PeerRecord("a", 1, 2, "nick", (TopologyLink("b", "10.0.0.2:6783", True, True),))
MESSAGES: list[Envelope] = [
    Hello("a", "nick", 1, 2**63 - 1, 6783),
    Accept(7),
    Digests(0, (("topology", 2**64 - 1),)),
    News((("topology", TopologyDelta((RECORD,))),)),
    Prune(),
]


def pair(first: Session | None = None, second: Session | None = None) -> tuple[Session, Session]:
    """Two sessions that have exchanged their first frames."""
    a, b = first or Session(), second or Session()
    assert b.receive(a.outgoing()) == [] and a.receive(b.outgoing()) == []
    return a, b


@given(st.integers(1, 40))
def test_messages_arrive_whole_and_in_order_however_the_stream_is_cut(size: int) -> None:
    a, b = Session(), Session()
    a.receive(b.outgoing())
    stream = a.outgoing() + b"".join(a.encode(message) for message in MESSAGES)
    received = []
    for start in range(0, len(stream), size):
        received += b.receive(stream[start : start + size])
    assert received == MESSAGES
    assert b.agreed == 1


def test_the_highest_common_version_is_agreed_on() -> None:
    a, b = pair(Session(1, 3), Session(2, 5))
    assert a.agreed == b.agreed == 3


def test_no_common_version_is_said_with_both_ranges() -> None:
    with pytest.raises(RemoteError, match="speaks 4 to 5, this one 1 to 3"):
        Session(1, 3).receive(Session(4, 5).outgoing())


def test_a_first_frame_may_grow() -> None:
    session = Session()
    frame = MAGIC + bytes((1, 9)) + b"something later"
    session.receive(len(frame).to_bytes(4, "big") + frame)
    assert session.agreed == 1


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        (MAX_FIRST_FRAME + 1).to_bytes(4, "big"),
        b"\0\0\0\0",
        b"\0\0\0\x0e" + MAGIC + b"\x02\x01",
    ],
)
def test_strangers_are_refused_by_their_first_octets(data: bytes) -> None:
    session = Session()
    with pytest.raises(RemoteError):
        session.receive(data)
    with pytest.raises(RemoteError):
        session.receive(Session().outgoing())
    assert session.agreed is None


def test_a_frame_beyond_the_limit_is_refused_before_it_is_read() -> None:
    a, b = pair()
    with pytest.raises(RemoteError, match=str(MAX_MESSAGE)):
        b.receive(a.encode(Accept(1)) + (MAX_MESSAGE + 1).to_bytes(4, "big"))


def test_who_is_not_accepted_yet_has_nothing_long_to_say() -> None:
    a, b = pair()
    assert b.receive(a.encode(MESSAGES[0])) == [MESSAGES[0]]
    with pytest.raises(RemoteError, match=str(MAX_HANDSHAKE)):
        b.receive((MAX_HANDSHAKE + 1).to_bytes(4, "big"))


@given(st.binary(max_size=300))
def test_garbage_raises_nothing_but_remote_error(data: bytes) -> None:
    for session in (Session(), pair()[0]):
        try:
            session.receive(data)
        except RemoteError:
            continue


@given(st.binary(max_size=200))
def test_a_whole_frame_of_garbage_raises_nothing_but_remote_error(payload: bytes) -> None:
    session, _ = pair()
    try:
        session.receive(len(payload).to_bytes(4, "big") + payload)
    except RemoteError:
        return


@pytest.mark.parametrize(
    "payload",
    [
        b"\xdd\xff\xff\xff\xff",
        b"\x99\x0a" + b"\x91" * 500_000,
        b"\x96\x01\xa1\xff\xa1n\x01\x01\x01",
        b"\x96\x01\xa0\xa1n\x01\x01\x01",
        b"\x96\x01\xa1a\xa1n\xff\x01\x01",
        b"\x96\x01\xa1a\xa1n\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01",
        b"\x92\x02\x90",
        b"",
    ],
    ids=["huge", "deep", "utf8", "no name", "negative", "beyond", "bare delta", "empty"],
)
def test_malformed_messages(payload: bytes) -> None:
    session, _ = pair()
    with pytest.raises(RemoteError):
        session.receive(len(payload).to_bytes(4, "big") + payload)


@given(st.data())
def test_a_flipped_octet_raises_nothing_but_remote_error(data: st.DataObject) -> None:
    a, b = pair()
    frame = bytearray(a.encode(data.draw(st.sampled_from(MESSAGES))))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        b.receive(bytes(frame))
    except RemoteError:
        return


@pytest.mark.parametrize("message", [Beat("a", 2**64 - 1, 10**9, True), Beacon("a", 3, 6783)])
def test_datagrams_come_back_as_they_were(message: Beat | Beacon) -> None:
    assert decode_datagram(encode_datagram(message)) == message


@given(st.binary(max_size=MAX_DATAGRAM + 1), st.booleans())
def test_garbage_datagrams_raise_nothing_but_remote_error(data: bytes, led: bool) -> None:
    try:
        decode_datagram(encode_datagram(Beacon("a", 3, 6783))[:4] * led + data)
    except RemoteError:
        return

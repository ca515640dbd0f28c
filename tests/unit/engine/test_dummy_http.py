"""The walk-through's service: the exact page, and HTTP that survives any client."""

import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.images import dummy_http
from lab.images.dummy_http import HttpConnection

REQUEST = b"GET / HTTP/1.1\r\nHost: svc1\r\n\r\n"


@pytest.fixture(autouse=True, scope="module")
def address() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dummy_http, "address_of", lambda _interface: "172.17.0.6")
        yield


def answers(data: bytes) -> list[tuple[int, bytes]]:
    """(status, body) of each response in a stream."""
    found = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        length = int(re.search(rb"Content-Length: (\d+)", head)[1])  # type: ignore[index]
        found.append((int(head.split()[1]), rest[:length]))
        data = rest[length:]
    return found


def test_the_page_is_the_tutorials() -> None:
    assert answers(HttpConnection("svc1").feed(REQUEST)) == [
        (200, b"Hi! I'm [svc1] service and my Docker container's IP is [172.17.0.6]\n")
    ]


@pytest.mark.parametrize(
    ("request_", "status", "closing"),
    [
        (b"GET /?a=b HTTP/1.1\r\n\r\n", 200, False),
        (b"GET http://svc1:8080/ HTTP/1.1\r\n\r\n", 200, False),
        (b"GET / HTTP/1.1\r\nConnection: Close\r\n\r\n", 200, True),
        (b"GET / HTTP/1.0\r\n\r\n", 200, True),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, False),
        (b"GET /other HTTP/1.1\r\n\r\n", 404, False),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405, False),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411, True),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 413, True),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400, True),
        (b"nonsense\r\n\r\n", 400, True),
        (b"x" * 20_000, 431, True),
    ],
)
def test_statuses(request_: bytes, status: int, closing: bool) -> None:
    connection = HttpConnection("svc1")
    assert [code for code, _ in answers(connection.feed(request_))] == [status]
    assert connection.closing is closing


def test_head_has_the_length_but_no_body() -> None:
    out = HttpConnection("svc1").feed(b"HEAD / HTTP/1.1\r\n\r\n")
    assert b"Content-Length: 68\r\n" in out and out.endswith(b"\r\n\r\n")


@given(st.lists(st.integers(1, 40), min_size=1))
def test_pieces_do_not_matter(cuts: list[int]) -> None:
    stream = REQUEST + b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET /" + REQUEST * 2
    whole = HttpConnection("svc1").feed(stream)
    connection, out, rest = HttpConnection("svc1"), b"", stream
    for cut in cuts:
        out += connection.feed(rest[:cut])
        rest = rest[cut:]
    assert out + connection.feed(rest) == whole
    assert [code for code, _ in answers(whole)] == [200, 405, 200, 200]


@given(st.lists(st.binary(max_size=300)))
def test_garbage_is_answered_once_and_the_connection_closed(pieces: list[bytes]) -> None:
    connection = HttpConnection("svc1")
    out = b"".join(connection.feed(piece) for piece in pieces)
    assert all(100 <= code < 600 for code, _ in answers(out))
    if connection.closing:
        assert connection.feed(REQUEST) == b""

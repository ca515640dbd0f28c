"""Where heads and bodies end, however the bytes are cut; and what is no HTTP at all."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.proxy.http import BadMessage, Body, parse_request, parse_response, reply

cuts = st.lists(st.integers(1, 40), max_size=30)


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    found = []
    for size in sizes:
        found.append(data[:size])
        data = data[size:]
    return [piece for piece in (*found, data) if piece]


REQUEST = b"POST /v1.41/x?y=z HTTP/1.1\r\nHost: d\r\n"


def taken(body: Body, data: bytes, sizes: list[int]) -> bytes:
    """What of `data` belongs to the body."""
    whole = b""
    for piece in pieces(data, sizes):
        count = body.feed(piece)
        whole += piece[:count]
        if count < len(piece):
            break
    return whole


@given(chunks=st.lists(st.binary(min_size=1, max_size=50), max_size=5), sizes=cuts, rest=st.binary(max_size=20))
def test_a_chunked_body_ends_where_it_says(chunks: list[bytes], sizes: list[int], rest: bytes) -> None:
    wire = b"".join(f"{len(chunk):x};ext=1\r\n".encode() + chunk + b"\r\n" for chunk in chunks) + b"0\r\nT: x\r\n\r\n"
    _, body = parse_request(REQUEST + b"Transfer-Encoding: chunked\r\n\r\n")
    body.collect = True
    assert taken(body, wire + rest, sizes) == wire
    assert body.done
    assert b"".join(body.content) == b"".join(chunks)


@given(length=st.integers(0, 100), sizes=cuts, rest=st.binary(max_size=20))
def test_a_body_with_a_length_ends_there(length: int, sizes: list[int], rest: bytes) -> None:
    _, body = parse_request(REQUEST + b"Content-Length: %d\r\n\r\n" % length)
    assert taken(body, bytes(length) + rest, sizes) == bytes(length)
    assert body.done


@given(data=st.binary(max_size=200))
def test_hostile_bytes_are_refused_in_words(data: bytes) -> None:
    for parse in (parse_request, lambda whole: parse_response(whole, "GET")):
        with contextlib.suppress(BadMessage):
            parse(data + b"\r\n\r\n")
    _, body = parse_request(REQUEST + b"Transfer-Encoding: chunked\r\n\r\n")
    with contextlib.suppress(BadMessage):
        assert 0 <= body.feed(data) <= len(data)


def test_what_follows_a_head() -> None:
    get, body = parse_request(b"GET /v1.41/x?y=z HTTP/1.1\r\nHost: d\r\nX-A: 1\r\nx-a: 2\r\n\r\n")
    assert (get.method, get.target, get.header("X-a"), get.keeps_alive) == ("GET", "/v1.41/x?y=z", "1, 2", True)
    assert body.done
    rest = b"7\r\n1234567\r\n0\r\n\r\nrest"
    answers = {
        b"HTTP/1.1 204 No Content\r\n\r\n": 0,
        b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n": 0,
        b"HTTP/1.1 100 Continue\r\n\r\n": 0,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n": len(rest) - 4,
        b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n": 7,
        b"HTTP/1.0 200 OK\r\n\r\n": len(rest),
    }
    for data, length in answers.items():
        response, body = parse_response(data, "GET")
        assert response.encode() == data and body.feed(rest) == length
        assert body.done or response.is_unframed
        assert parse_response(data, "HEAD")[1].done


def test_a_body_without_a_length_is_whole_at_the_end_alone() -> None:
    _, body = parse_response(b"HTTP/1.1 200 OK\r\n\r\n", "GET")
    assert body.feed(b"abc") == 3 and not body.done and body.feed(b"") == 0 and body.done
    _, body = parse_response(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", "GET")
    with pytest.raises(BadMessage):
        body.feed(b"abc"), body.feed(b"")


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 7, 8",
        b"Content-Length: 7\r\nContent-Length: 8",
        b"Content-Length: -1",
        b"Content-Length: +1",
        b"Content-Length: 7\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding : chunked",
        b"X: 1\nTransfer-Encoding: chunked",
        b"X: 1\n\nPOST / HTTP/1.1",
        b"X: 1\r2",
        b"Host: other",
    ],
)
def test_what_two_parsers_could_read_in_two_ways_is_refused(headers: bytes) -> None:
    with pytest.raises(BadMessage):
        parse_request(REQUEST + headers + b"\r\n\r\n")


@pytest.mark.parametrize("chunks", [b"+1\r\nx", b"0x1\r\nx", b"1\r\nxy\r\n", b"1 \x0b\r\nx", b"-1\r\n", b"\r\nx"])
def test_chunks_that_two_parsers_could_read_in_two_ways_are_refused(chunks: bytes) -> None:
    _, body = parse_request(REQUEST + b"Transfer-Encoding: chunked\r\n\r\n")
    with pytest.raises(BadMessage):
        body.feed(chunks)


def test_a_refusal_says_what_was_found() -> None:
    for data, words in (
        (b"GET / HTTP/9.9\r\nHost: d\r\n\r\n", "HTTP/9.9 is not spoken here, but HTTP/1.1"),
        (b"GET / HTTP/1.1\r\n\r\n", r"`GET / HTTP/1.1` begins no HTTP/1.1 message: .*Host"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", r"`GET / HTTP/1.1` begins no HTTP/1.1 message: .*\('no colon'\)"),
    ):
        with pytest.raises(BadMessage, match=words):
            parse_request(data)


def test_a_reply_is_one_message() -> None:
    data = reply(409, "Conflict", b"{}")
    head, _, content = data.partition(b"\r\n\r\n")
    response, body = parse_response(head + b"\r\n\r\n", "GET")
    assert (response.status, response.header("content-length"), content) == (409, "2", b"{}")
    assert body.feed(content + b"HTTP") == 2

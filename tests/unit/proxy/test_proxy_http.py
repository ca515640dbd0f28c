"""Where heads and bodies end, however the bytes are cut; and what is no HTTP at all."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.proxy.http import BadMessage, Body, Head, parse_request, parse_response, reply

cuts = st.lists(st.integers(1, 40), max_size=30)


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    found = []
    for size in sizes:
        found.append(data[:size])
        data = data[size:]
    return [piece for piece in (*found, data) if piece]


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
    body = Body("chunked")
    body.collect = True
    assert taken(body, wire + rest, sizes) == wire
    assert body.done
    assert b"".join(body.content) == b"".join(chunks)


@given(length=st.integers(0, 100), sizes=cuts, rest=st.binary(max_size=20))
def test_a_body_with_a_length_ends_there(length: int, sizes: list[int], rest: bytes) -> None:
    body = Body("length", length)
    assert taken(body, bytes(length) + rest, sizes) == bytes(length)
    assert body.done


@given(data=st.binary(max_size=200))
def test_hostile_bytes_are_refused_in_words(data: bytes) -> None:
    for parse in (parse_request, parse_response):
        try:
            parse(data + b"\r\n\r\n")
        except BadMessage:
            continue
    body = Body("chunked")
    with contextlib.suppress(BadMessage):
        assert 0 <= body.feed(data) <= len(data)


def test_what_follows_a_head() -> None:
    get = parse_request(b"GET /v1.41/x?y=z HTTP/1.1\r\nHost: d\r\nX-A: 1\r\nx-a: 2\r\n\r\n")
    assert (get.method, get.target, get.header("X-a"), get.keeps_alive) == ("GET", "/v1.41/x?y=z", "1, 2", True)
    assert Body.of_request(get).done
    answers = {
        b"HTTP/1.1 204 No Content\r\n\r\n": "none",
        b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n": "none",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n": "chunked",
        b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n": "length",
        b"HTTP/1.0 200 OK\r\n\r\n": "close",
    }
    for data, kind in answers.items():
        assert Body.of_response(parse_response(data), "GET").kind == kind
        assert parse_response(data).encode() == data
        assert Body.of_response(parse_response(data), "HEAD").kind == "none"


@pytest.mark.parametrize(
    "headers", [("Content-Length", "7, 8"), ("Content-Length", "-1"), ("Transfer-Encoding", "gzip")]
)
def test_ambiguous_lengths_are_refused(headers: tuple[str, str]) -> None:
    with pytest.raises(BadMessage):
        Body.of_request(Head("POST", "/", "HTTP/1.1", (headers,)))


def test_a_reply_is_one_message() -> None:
    data = reply(409, "Conflict", b"{}")
    head, _, content = data.partition(b"\r\n\r\n")
    response = parse_response(head + b"\r\n\r\n")
    assert (response.status, response.header("content-length"), content) == (409, "2", b"{}")

"""The probe's HTTP answers: framing, and hostile bytes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.probes.http import MAX_HEAD, MAX_SIZE, HttpError, HttpGet


def asked(path: str = "/") -> HttpGet:
    return HttpGet("10.0.1.3", 8080, path)


WHOLE = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    b"5;x=y\r\nhello\r\nA\r\n0123456789\r\n0\r\nT: 1\r\n\r\n",
    "nothing": b"HTTP/1.1 204 No Content\r\n\r\n",
    "interim": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
}


@given(st.sampled_from(sorted(WHOLE)), st.lists(st.integers(0, 120), max_size=6))
def test_an_answer_ends_where_it_ends_however_it_is_cut(name: str, cuts: list[int]) -> None:
    data = WHOLE[name]
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    response = asked()
    for start, end in pairwise(edges):
        assert not response.done or start == len(data)
        if start < end:
            response.feed(data[start:end])
    assert response.done and response.status in (200, 204)


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_an_answer_that_breaks_off_is_not_ok(name: str) -> None:
    for length in range(len(WHOLE[name])):
        response = asked()
        if length:
            response.feed(WHOLE[name][:length])
        assert not response.done
        with pytest.raises(HttpError, match="closed"):
            response.feed(b"")


def test_without_a_length_the_end_is_the_end_of_the_connection() -> None:
    response = asked()
    response.feed(b"HTTP/1.0 200 OK\r\n\r\nhel")
    response.feed(b"lo")
    assert not response.done
    response.feed(b"")
    assert response.done


@given(st.binary(max_size=300))
def test_garbage_never_does_anything_but_raise_http_error(data: bytes) -> None:
    for prefix in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        response = asked()
        try:
            response.feed(prefix + data)
            response.feed(b"")
        except HttpError:
            continue
        assert response.done


def test_an_endless_header_is_refused() -> None:
    response = asked()
    with pytest.raises(HttpError, match="too large"):
        response.feed(b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD)


def test_an_endless_answer_is_refused() -> None:
    response = asked()
    response.feed(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(MAX_SIZE // 2))
    with pytest.raises(HttpError, match="answer too large"):
        response.feed(bytes(MAX_SIZE // 2))


def test_a_request_is_one_get_of_any_path_for_an_address_of_both_families() -> None:
    head, *headers = asked().request.decode().split("\r\n")
    assert head == "GET / HTTP/1.1" and "Host: 10.0.1.3:8080" in headers and "Connection: close" in headers
    assert b"Host: [fd00::3]:8080\r\n" in HttpGet("fd00::3", 8080, "/").request
    assert asked("/a b?c=%20\u00e9\r\nX: y").request.startswith(b"GET /a%20b?c=%20%C3%A9%0D%0AX:%20y HTTP/1.1\r\n")

"""The probe's HTTP answers: framing, and hostile bytes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.probes.http import MAX_HEAD, HttpError, ResponseReader, request

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
    response = ResponseReader()
    for start, end in pairwise(edges):
        assert not response.done or start == len(data)
        response.feed(data[start:end])
    assert response.done and response.status in (200, 204)


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_an_answer_that_breaks_off_is_not_ok(name: str) -> None:
    for length in range(len(WHOLE[name])):
        response = ResponseReader()
        response.feed(WHOLE[name][:length])
        assert not response.done
        with pytest.raises(HttpError, match="closed"):
            response.eof()


def test_without_a_length_the_end_is_the_end_of_the_connection() -> None:
    response = ResponseReader()
    response.feed(b"HTTP/1.0 200 OK\r\n\r\nhel")
    response.feed(b"lo")
    assert not response.done
    response.eof()
    assert response.done


@given(st.binary(max_size=300))
def test_garbage_never_does_anything_but_raise_http_error(data: bytes) -> None:
    for prefix in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        response = ResponseReader()
        try:
            response.feed(prefix + data)
            response.eof()
        except HttpError:
            continue
        assert response.done


def test_an_endless_header_is_refused() -> None:
    response = ResponseReader()
    with pytest.raises(HttpError, match="too large"):
        response.feed(b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD)


def test_addresses_of_both_families_are_named() -> None:
    assert b"Host: 10.0.1.3:8080\r\n" in request("10.0.1.3", 8080, "/")
    assert b"Host: [fd00::3]:8080\r\n" in request("fd00::3", 8080, "/")

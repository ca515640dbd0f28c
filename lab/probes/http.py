"""One GET of a probe, and the detection of the end of its response (by `h11`). Pure.

Knows nothing of sockets: feed it the received bytes; `HttpGet.done` says when the response is complete.
"""

import string
from urllib.parse import quote

import h11

__all__ = ["MAX_HEAD", "MAX_SIZE", "HttpError", "HttpGet"]

MAX_HEAD = 64 * 1024
"""Maximum bytes of a response header."""

MAX_SIZE = 16 * 1024 * 1024
"""Bytes of response after which the probe gives up, because it measures reachability, not throughput."""


class HttpError(ValueError):
    """The response is not HTTP, or too large; the text says what was wrong."""


class HttpGet:
    """One request and its incoming response. Keeps no body, only the state needed to find its end."""

    __slots__ = ("_connection", "_size", "done", "request", "status")

    def __init__(self, address: str, port: int, path: str) -> None:
        host = f"[{address}]" if ":" in address else address
        headers = [("Host", f"{host}:{port}"), ("User-Agent", "overlay-lab-probe"), ("Accept", "*/*")]
        self._connection = h11.Connection(h11.CLIENT, MAX_HEAD)
        # Ask the server to close the connection afterwards.
        asked = h11.Request(
            method="GET", target=quote(path, safe=string.punctuation), headers=[*headers, ("Connection", "close")]
        )
        self.request = self._connection.send(asked)
        """The bytes to send."""
        self._connection.send(h11.EndOfMessage())
        self._size = 0
        self.status = 0
        """Status code, 0 until the header is complete."""
        self.done = False
        """True once the last byte is in."""

    def feed(self, data: bytes) -> None:
        """Process received bytes (empty: the server closed); raises `HttpError`."""
        self._size += len(data)
        if self._size > MAX_SIZE:
            raise HttpError("answer too large")
        self._connection.receive_data(data)
        try:
            while not self.done and (event := self._connection.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Response):
                    self.status = event.status_code
                self.done = isinstance(event, h11.EndOfMessage)
        except h11.RemoteProtocolError as error:
            raise HttpError(self._problem(data, error)) from None

    def _problem(self, data: bytes, error: h11.RemoteProtocolError) -> str:
        if not data:
            return (
                "closed inside the " + ("body" if self.status else "header")
                if self._size
                else "closed before the answer"
            )
        if error.error_status_hint == 431:
            return "header too large"
        return f"bad HTTP: {str(error).partition(':')[0]}"

"""The least of HTTP/1.1 that a probe needs: one GET, and when its answer is whole (RFC 9112, section 6). Pure.

Knows nothing of sockets: bytes go in as they come, `ResponseReader.done` says when nothing more is needed.
"""

__all__ = ["MAX_HEAD", "MAX_SIZE", "HttpError", "ResponseReader", "request"]

MAX_HEAD = 64 * 1024
"""Bytes of header that an answer may have."""

MAX_SIZE = 16 * 1024 * 1024
"""Bytes of answer after which the probe gives up: it measures reachability, not throughput."""


class HttpError(ValueError):
    """The answer is not HTTP, or too large; the text says what was wrong."""


def request(address: str, port: int, path: str) -> bytes:
    """The bytes of a GET that asks the server to close afterwards."""
    host = f"[{address}]" if ":" in address else address
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: overlay-lab-probe\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    ).encode("latin-1")


class ResponseReader:
    """One answer on its way in. Keeps no body, only what it needs to find its end."""

    __slots__ = ("_buffer", "_chunked", "_left", "_size", "_trailer", "done", "status")

    def __init__(self) -> None:
        self.status = 0
        """Status code, 0 until the header is whole."""
        self.done = False
        """True once the last byte is in."""
        self._buffer = bytearray()
        self._left: int | None = None
        """Bytes still to come of the body or of the current chunk; None = until the server closes."""
        self._chunked = False
        self._trailer = False
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Take bytes as they came; raises `HttpError`."""
        self._size += len(data)
        if self._size > MAX_SIZE:
            raise HttpError("answer too large")
        self._buffer += data
        while not self.done and self._step():
            pass

    def eof(self) -> None:
        """The server closed; raises `HttpError` when something was still to come."""
        if self.done:
            return
        if not self.status:
            raise HttpError("closed before the answer" if not self._size else "closed inside the header")
        if self._chunked or self._left is not None:
            raise HttpError("closed inside the body")
        self.done = True

    def _step(self) -> bool:
        """Consume what the buffer allows; False when more bytes are needed."""
        if not self.status:
            return self._head()
        if self._chunked:
            return self._chunk()
        if self._left is None:
            self._buffer.clear()
            return False
        self._left -= len(self._buffer)
        self._buffer.clear()
        self.done = self._left <= 0
        return False

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD:
                raise HttpError("header too large")
            if not b"HTTP/".startswith(bytes(self._buffer[:5])):
                raise HttpError("not HTTP")
            return False
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        start = lines[0].split(" ", 2)
        if len(start) < 2 or not start[0].startswith("HTTP/1.") or not (start[1].isdecimal() and len(start[1]) == 3):
            raise HttpError("not HTTP/1")
        status = int(start[1])
        if 100 <= status < 200:
            # An interim answer (RFC 9110, 15.2): the real one follows.
            return True
        self.status = status
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        if status in (204, 304):
            self._left = 0
        elif fields.get("transfer-encoding", "").lower().endswith("chunked"):
            self._chunked, self._left = True, None
        elif "content-length" in fields:
            length = fields["content-length"]
            if not (length.isascii() and length.isdecimal()):
                raise HttpError("bad Content-Length")
            self._left = int(length)
        return True

    def _chunk(self) -> bool:
        """Chunked coding (RFC 9112, 7.1): size line, data, CRLF, and so on; a zero chunk and trailers end it."""
        if self._left is not None:
            # Data and the CRLF behind it, counted together.
            taken = min(self._left, len(self._buffer))
            del self._buffer[:taken]
            self._left -= taken
            if self._left:
                return False
            self._left = None
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        if self._trailer:
            self.done = not line
            return True
        try:
            size = int(line.split(b";", 1)[0], 16)
        except ValueError:
            raise HttpError("bad chunk size") from None
        if size < 0:
            raise HttpError("bad chunk size")
        if size:
            self._left = size + 2
        else:
            self._trailer = True
        return True

"""HTTP/1.1 messages as bytes and data: heads, where a body ends, which requests turn a connection into a tunnel. Pure.

Owns RFC 9112 as far as a proxy in front of one server needs it. Bodies are passed on as they came: the framer only says
how far one reaches. Knows no Docker.
"""

from typing import Literal

from msgspec import Struct

__all__ = ["BadMessage", "Body", "Head", "ResponseHead", "parse_request", "parse_response", "reply"]

MAX_HEAD = 1 << 18
_CHUNK_LINE = 1 << 12


class BadMessage(ValueError):
    """The bytes are no HTTP/1.1 message."""


class Head(Struct, frozen=True):
    """The start of a request."""

    method: str
    target: str
    """As sent: path and query."""
    version: str
    """"HTTP/1.1" or "HTTP/1.0"."""
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str:
        """The (comma-joined) values of a header; "" without it."""
        return _header(self.headers, name)

    @property
    def keeps_alive(self) -> bool:
        """The client may send another request on this connection."""
        words = self.header("connection").lower()
        return "keep-alive" in words if self.version == "HTTP/1.0" else "close" not in words

    @property
    def asks_upgrade(self) -> bool:
        """The client wants to speak something else afterwards (attach, exec, BuildKit's sessions)."""
        return bool(self.header("upgrade"))

    def encode(self, *, without: tuple[str, ...] = (), add: tuple[tuple[str, str], ...] = ()) -> bytes:
        """The head as bytes, with headers left out (lower case) and added."""
        lines = [f"{self.method} {self.target} {self.version}"]
        lines += [f"{name}: {value}" for name, value in self.headers if name.lower() not in without]
        lines += [f"{name}: {value}" for name, value in add]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class ResponseHead(Struct, frozen=True):
    """The start of a response."""

    status: int
    reason: str
    version: str
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str:
        """The (comma-joined) values of a header; "" without it."""
        return _header(self.headers, name)

    def encode(self, *, without: tuple[str, ...] = (), add: tuple[tuple[str, str], ...] = ()) -> bytes:
        """The head as bytes, with headers left out (lower case) and added."""
        lines = [f"{self.version} {self.status} {self.reason}"]
        lines += [f"{name}: {value}" for name, value in self.headers if name.lower() not in without]
        lines += [f"{name}: {value}" for name, value in add]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def parse_request(data: bytes) -> Head:
    """The head in `data` (which ends with the empty line). Raises `BadMessage`."""
    first, headers = _parse(data)
    words = first.split(" ")
    if len(words) != 3 or not words[0] or not words[1] or words[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise BadMessage(f"`{first[:80]}` is no request line")
    return Head(words[0], words[1], words[2], headers)


def parse_response(data: bytes) -> ResponseHead:
    """The head in `data` (which ends with the empty line). Raises `BadMessage`."""
    first, headers = _parse(data)
    version, _, rest = first.partition(" ")
    status, _, reason = rest.partition(" ")
    if not version.startswith("HTTP/1.") or len(status) != 3 or not (status.isascii() and status.isdigit()):
        raise BadMessage(f"`{first[:80]}` is no status line")
    return ResponseHead(int(status), reason, version, headers)


def reply(status: int, reason: str, body: bytes, kind: str = "application/json", *, head_only: bool = False) -> bytes:
    """A whole response."""
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nServer: weave\r\n\r\n"
    return head.encode() + (b"" if head_only else body)


class Body:
    """Where one body ends: feed bytes, get back how many of them belong to it; `done` once it is complete."""

    def __init__(self, kind: Literal["none", "length", "chunked", "close"], length: int = 0) -> None:
        self.kind = kind
        self.done = kind == "none" or (kind == "length" and length == 0)
        self._left = length
        self._line = b""
        self._state: Literal["size", "data", "end", "trailer"] = "size"
        self.content: list[bytes] = []
        """The pieces of content, without framing, if `collect`."""
        self.collect = False

    @classmethod
    def of_request(cls, head: Head) -> "Body":
        """The body that follows a request's head (RFC 9112, section 6.3). Raises `BadMessage`."""
        if _chunked(head.headers):
            return cls("chunked")
        return cls("length", _length(head.headers) or 0)

    @classmethod
    def of_response(cls, response: ResponseHead, method: str) -> "Body":
        """The body that follows a response's head. Raises `BadMessage`."""
        if method == "HEAD" or response.status in (204, 304) or response.status < 200:
            return cls("none")
        if _chunked(response.headers):
            return cls("chunked")
        length = _length(response.headers)
        return cls("close") if length is None else cls("length", length)

    def feed(self, data: bytes) -> int:
        """How many leading bytes of `data` belong to this body. Raises `BadMessage`."""
        if self.done:
            return 0
        if self.kind == "close":
            self._keep(data)
            return len(data)
        if self.kind == "length":
            taken = min(len(data), self._left)
            self._left -= taken
            self.done = self._left == 0
            self._keep(data[:taken])
            return taken
        return self._chunks(data)

    def _keep(self, data: bytes) -> None:
        if self.collect and data:
            self.content.append(data)

    def _chunks(self, data: bytes) -> int:
        at = 0
        while at < len(data) and not self.done:
            if self._state == "data":
                taken = min(len(data) - at, self._left)
                self._keep(data[at : at + taken])
                self._left -= taken
                at += taken
                if self._left == 0:
                    self._state = "end"
                continue
            newline = data.find(b"\n", at)
            stop = len(data) if newline < 0 else newline + 1
            self._line += data[at:stop]
            at = stop
            if len(self._line) > _CHUNK_LINE:
                raise BadMessage("a chunk's size or trailer is too long")
            if newline < 0:
                break
            line, self._line = self._line.strip(), b""
            self._line_done(line)
        return at

    def _line_done(self, line: bytes) -> None:
        if self._state == "end":
            if line:
                raise BadMessage("a chunk is longer than it says")
            self._state = "size"
        elif self._state == "size":
            digits = line.partition(b";")[0].strip()
            if not digits or len(digits) > 15 or set(digits.lower()) - set(b"0123456789abcdef"):
                raise BadMessage("a chunk's size is no number")
            self._left = int(digits, 16)
            self._state = "data" if self._left else "trailer"
        elif not line:
            self.done = True


def _parse(data: bytes) -> tuple[str, tuple[tuple[str, str], ...]]:
    lines = data.decode("latin-1").split("\r\n")
    headers = []
    for line in lines[1:]:
        if not line:
            continue
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadMessage(f"`{line[:80]}` is no header")
        headers.append((name, value.strip()))
    return lines[0], tuple(headers)


def _header(headers: tuple[tuple[str, str], ...], name: str) -> str:
    wanted = name.lower()
    return ", ".join(value for key, value in headers if key.lower() == wanted)


def _chunked(headers: tuple[tuple[str, str], ...]) -> bool:
    coding = _header(headers, "transfer-encoding").lower()
    if coding and coding.split(",")[-1].strip() != "chunked":
        raise BadMessage(f"transfer coding `{coding}` is not known")
    return bool(coding)


def _length(headers: tuple[tuple[str, str], ...]) -> int | None:
    values = {value.strip() for value in _header(headers, "content-length").split(",") if value.strip()}
    if not values:
        return None
    (text, *more) = sorted(values)
    if more or not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise BadMessage("Content-Length is no single number")
    return int(text)

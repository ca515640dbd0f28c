"""HTTP/1.1 messages as data: heads, and the end of a body. Pure.

Owns what a proxy of one server needs in addition to the parser `h11`: bodies are passed on unchanged, and `Body` only
finds their end. Messages that two parsers could read in different ways are refused. Knows no Docker.
"""

import h11
from msgspec import Struct

__all__ = ["MAX_HEAD", "BadMessage", "Body", "Head", "ResponseHead", "parse_request", "parse_response", "reply"]

MAX_HEAD = 1 << 18


class BadMessage(ValueError):
    """The bytes are not a valid HTTP/1.1 message."""


class _Message(Struct, frozen=True):
    """The start of a message."""

    version: str
    """"HTTP/1.1" or "HTTP/1.0"."""
    headers: tuple[tuple[str, str], ...]
    """Names with their original capitalisation."""

    def header(self, name: str) -> str:
        """The values of a header, joined by commas; "" without it."""
        return ", ".join(value for key, value in self.headers if key.lower() == name.lower())

    def _encode(self, first: str, without: tuple[str, ...], add: tuple[tuple[str, str], ...]) -> bytes:
        kept = [(name, value) for name, value in self.headers if name.lower() not in without]
        lines = [first, *(f"{name}: {value}" for name, value in (*kept, *add))]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Head(_Message, frozen=True):
    """The start of a request."""

    method: str
    target: str
    """As sent: path and query."""

    @property
    def keeps_alive(self) -> bool:
        """Whether the client may send another request on this connection."""
        words = self.header("connection").lower()
        return "keep-alive" in words if self.version == "HTTP/1.0" else "close" not in words

    def encode(self, *, without: tuple[str, ...] = (), add: tuple[tuple[str, str], ...] = ()) -> bytes:
        """The head as bytes, without some headers (lower case) and with others added."""
        return self._encode(f"{self.method} {self.target} {self.version}", without, add)


class ResponseHead(_Message, frozen=True):
    """The start of a response."""

    status: int
    reason: str

    @property
    def is_unframed(self) -> bool:
        """No header defines the end of the body, so it ends with the connection."""
        return not self.header("content-length") and not self.header("transfer-encoding")

    def encode(self, *, without: tuple[str, ...] = (), add: tuple[tuple[str, str], ...] = ()) -> bytes:
        """The head as bytes, without some headers (lower case) and with others added."""
        return self._encode(f"{self.version} {self.status} {self.reason}", without, add)


class Body:
    """Finds the end of one body: feed it bytes, and it returns how many belong to the body; `done` once it is
    complete."""

    def __init__(self, connection: h11.Connection, *, done: bool = False) -> None:
        """`connection` has read the head."""
        self._connection = connection
        self.done = done
        self.content: list[bytes] = []
        """The content without framing, if `collect`."""
        self.collect = False
        self._read()

    def feed(self, data: bytes) -> int:
        """How many leading bytes of `data` (empty: the connection ended) belong to this body. Raises `BadMessage`."""
        if self.done:
            return 0
        self._connection.receive_data(data)
        self._read()
        return len(data) - (len(self._connection.trailing_data[0]) if self.done else 0)

    def _read(self) -> None:
        while not self.done and (event := _next_event(self._connection)) is not h11.NEED_DATA:
            if isinstance(event, h11.Data):
                if self.collect:
                    self.content.append(bytes(event.data))
            else:
                self.done = True


def parse_request(data: bytes) -> tuple[Head, Body]:
    """The head in `data` (up to the empty line), and the body that follows. Raises `BadMessage`."""
    connection = h11.Connection(h11.SERVER, MAX_HEAD)
    event = _parse(connection, data)
    assert isinstance(event, h11.Request)
    method, target = event.method.decode("latin-1"), event.target.decode("latin-1")
    return Head(_version(event), _headers(event), method, target), Body(connection)


def parse_response(data: bytes, method: str) -> tuple[ResponseHead, Body]:
    """The head in `data`, a response to a request with `method`, and the body that follows. Raises `BadMessage`."""
    connection = h11.Connection(h11.CLIENT, MAX_HEAD)
    # Every response may switch protocols, because the engine checks whether the client asked for that.
    asked = [("Host", ""), ("Connection", "upgrade"), ("Upgrade", "any")]
    connection.send(h11.Request(method="HEAD" if method == "HEAD" else "GET", target="/", headers=asked))
    connection.send(h11.EndOfMessage())
    event = _parse(connection, data)
    assert isinstance(event, (h11.Response, h11.InformationalResponse))
    response = ResponseHead(_version(event), _headers(event), event.status_code, event.reason.decode("latin-1"))
    return response, Body(connection, done=response.status < 200)


def reply(status: int, reason: str, body: bytes, kind: str = "application/json") -> bytes:
    """A complete response."""
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nServer: weave\r\n\r\n"
    return head.encode() + body


def _parse(connection: h11.Connection, data: bytes) -> object:
    if data.count(b"\n") != data.count(b"\r\n"):
        raise BadMessage("a line of the head does not end with CR LF")
    connection.receive_data(data)
    try:
        event = _next_event(connection)
    except BadMessage as error:
        first = data.partition(b"\r\n")[0][:80].decode("latin-1")
        raise BadMessage(f"`{first}` begins no HTTP/1.1 message: {error}") from None
    assert isinstance(event, (h11.Request, h11.Response, h11.InformationalResponse)), event
    if event.http_version not in (b"1.0", b"1.1"):
        raise BadMessage(f"HTTP/{event.http_version.decode()} is not spoken here, but HTTP/1.1")
    if {b"content-length", b"transfer-encoding"} <= {name for name, _ in event.headers}:
        raise BadMessage("both Content-Length and Transfer-Encoding say where the body ends; one of them may")
    return event


def _next_event(connection: h11.Connection) -> object:
    try:
        return connection.next_event()
    except h11.RemoteProtocolError as error:
        raise BadMessage(str(error).replace("bytearray(b", "(")) from None


def _version(event: h11.Request | h11.Response | h11.InformationalResponse) -> str:
    return f"HTTP/{event.http_version.decode()}"


def _headers(event: h11.Request | h11.Response | h11.InformationalResponse) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers.raw_items())

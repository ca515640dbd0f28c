"""One route of the control API: a method, a path, a typed function, and the parts of a request that it reads.

Owns the conversion of request text into typed parameters and of answers into text. Knows no HTTP library: a `Question`
is the same whether it comes over a socket or from the simulator.
"""

import ipaddress
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import Enum
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from overlay.clean import clean, clean_json
from overlay.daemon.control.parts import Parts
from overlay.daemon.control.watching import Watcher
from overlay.errors import UsageError

__all__ = ["Access", "Answer", "ControlRoute", "Fields", "Json", "Plain", "Question", "Takes", "cleaned", "literal"]

Body = TypeVar("Body")

_json = msgspec.json.Encoder()


class Fields(dict[str, list[str]]):
    """The fields of a form or a query; a field may occur several times."""

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> "Fields":
        """Fields in the given order."""
        found = cls()
        for key, value in pairs:
            found.setdefault(key, []).append(value)
        return found

    def every(self, key: str) -> list[str]:
        """All values of a field."""
        return self.get(key, [])

    def first(self, key: str) -> str:
        """The first value; empty if there is none."""
        return self.get(key, [""])[0]

    def last(self, key: str, default: str = "") -> str:
        """The last value."""
        return self.get(key, [default])[-1]

    def unless_false(self, key: str, *, default: bool) -> bool:
        """A switch: any value except `false` means yes."""
        return self.last(key) != "false" if key in self else default


class Question(Struct, frozen=True):
    """One request: its path parts, its query, and its body as a form or as bytes."""

    named: Mapping[str, str] = {}
    """The path parts that the route names."""
    query: Fields = Fields()
    form: Fields = Fields()
    body: bytes = b""
    as_original: bool = False
    """The request has `Accept: application/json`, as clients of the original send it."""
    over_tcp: bool = False

    def __getitem__(self, name: str) -> str:
        """A path part."""
        return self.named[name]

    @property
    def cidr(self) -> str:
        """The address with prefix length in the path; empty if there is none."""
        return f"{self['ip']}/{self['length']}" if "ip" in self.named else ""

    @property
    def ip(self) -> str:
        """The address without prefix length in the path; empty if there is none."""
        return self.named.get("ip", "")

    def json(self, kind: type[Body]) -> Body:
        """Decode the body as this type. Raises `UsageError`."""
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(f"the body is not the JSON object that is expected: {error}") from None


class Json(Struct, frozen=True):
    """A JSON answer."""

    value: Any

    @property
    def text(self) -> str:
        """The text to send; safe to print on a terminal."""
        return clean_json(_json.encode(self.value).decode())


class Plain(Struct, frozen=True):
    """A text answer with its own content type."""

    text: str
    kind: str


Answer = str | Json | Plain | Watcher | None
"""The result of a route's function; None: an empty success."""


class Access(Enum):
    """Who may send a request over TCP."""

    LOOK = "everybody"
    REPORT = "everybody, one at a time: making the answer holds the loop"
    CHANGE = "a client with the token: it changes something, or tells more than it should"


class Takes(Enum):
    """How a route reads the request body."""

    NOTHING = "nothing"
    FORM = "a form"
    JSON = "a JSON object"
    LINES = "lines of a batch, of which it takes far more bytes"


class ControlRoute(Struct, frozen=True):
    """One route of the table."""

    method: str
    path: str
    call: Callable[[Parts, Question], Awaitable[Answer]]
    access: Access
    takes: Takes = Takes.NOTHING
    on_status_port: bool = False
    """Also served on the read-only status port (status, report and metrics)."""


def cleaned(value: Any, keep: str = "") -> str:
    """A node's answer as text."""
    return clean(value if isinstance(value, str) else " ".join(value or ()), keep=keep)


def literal(text: str) -> str:
    """An address in its canonical form. Raises `UsageError`."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise UsageError(f"`{text}` is no address: expected a.b.c.d") from None

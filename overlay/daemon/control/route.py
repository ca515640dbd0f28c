"""What a route of the control API's table is: a method, a path, a typed function, and what it takes of a request.

Owns how the words of a request become typed parameters and how an answer becomes text. Knows no HTTP library: a
`Question` is the same for a request over a socket and for one that the simulator puts.
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
    """The fields of a form or a query; each may stand there several times."""

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> "Fields":
        """Fields in the order in which they came."""
        found = cls()
        for key, value in pairs:
            found.setdefault(key, []).append(value)
        return found

    def every(self, key: str) -> list[str]:
        """All values of a field."""
        return self.get(key, [])

    def first(self, key: str) -> str:
        """The first value; empty: there is none."""
        return self.get(key, [""])[0]

    def last(self, key: str, default: str = "") -> str:
        """The last value."""
        return self.get(key, [default])[-1]

    def unless_false(self, key: str, *, default: bool) -> bool:
        """A switch: whatever is not `false` means yes."""
        return self.last(key) != "false" if key in self else default


class Question(Struct, frozen=True):
    """One request: what stands in its path, its query, and its body as a form or as bytes."""

    named: Mapping[str, str] = {}
    """The parts of the path that the route gives names to."""
    query: Fields = Fields()
    form: Fields = Fields()
    body: bytes = b""
    as_original: bool = False
    """It asks for JSON by the word that clients of the original use."""
    over_tcp: bool = False

    def __getitem__(self, name: str) -> str:
        """A part of the path."""
        return self.named[name]

    @property
    def cidr(self) -> str:
        """The address that the path names with its length; empty: none."""
        return f"{self['ip']}/{self['length']}" if "ip" in self.named else ""

    @property
    def ip(self) -> str:
        """The address that the path names without one; empty: none."""
        return self.named.get("ip", "")

    def json(self, kind: type[Body]) -> Body:
        """The body as a value of this type. Raises `UsageError`."""
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(f"the body is not the JSON object that is expected: {error}") from None


class Json(Struct, frozen=True):
    """An answer that is a value."""

    value: Any

    @property
    def text(self) -> str:
        """As it is sent: harmless for a terminal."""
        return clean_json(_json.encode(self.value).decode())


class Plain(Struct, frozen=True):
    """An answer that is text of a kind of its own."""

    text: str
    kind: str


Answer = str | Json | Plain | Watcher | None
"""What a function of the table answers; None: done, and there is nothing to say."""


class Access(Enum):
    """Who may put a question over TCP."""

    LOOK = "everybody"
    REPORT = "everybody, one at a time: making the answer holds the loop"
    CHANGE = "a client with the token: it changes something, or tells more than it should"


class Takes(Enum):
    """What of a request's body a route reads."""

    NOTHING = "nothing"
    FORM = "a form"
    JSON = "a JSON object"


class ControlRoute(Struct, frozen=True):
    """One route of the table."""

    method: str
    path: str
    call: Callable[[Parts, Question], Awaitable[Answer]]
    access: Access
    takes: Takes = Takes.NOTHING
    on_status_port: bool = False
    """Also asked on the port that has status, report and metrics alone."""


def cleaned(value: Any, keep: str = "") -> str:
    """A node's answer as text."""
    return clean(value if isinstance(value, str) else " ".join(value or ()), keep=keep)


def literal(text: str) -> str:
    """An address as it is usually written. Raises `UsageError`."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise UsageError(f"`{text}` is no address: expected a.b.c.d") from None

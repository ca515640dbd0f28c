"""The requests of the Docker API that are rewritten; all others pass through. Pure."""

import re
from typing import Literal
from urllib.parse import parse_qs, unquote

from msgspec import Struct

__all__ = ["Call", "Endpoint", "route"]

Endpoint = Literal["create", "start", "restart", "exec", "inspect", "list", "changes", "commit"]

_PATHS: tuple[tuple[Endpoint, str, re.Pattern[str]], ...] = (
    ("create", "POST", re.compile(r"/containers/create")),
    ("start", "POST", re.compile(r"/containers/(?P<container>[^/]+)/start")),
    ("restart", "POST", re.compile(r"/containers/(?P<container>[^/]+)/restart")),
    ("exec", "POST", re.compile(r"/containers/(?P<container>[^/]+)/exec")),
    ("inspect", "GET", re.compile(r"/containers/(?P<container>[^/]+)/json")),
    ("list", "GET", re.compile(r"/containers/json")),
    ("changes", "GET", re.compile(r"/containers/(?P<container>[^/]+)/changes")),
    ("commit", "POST", re.compile(r"/commit")),
)
_VERSION = re.compile(r"/v(\d+(?:\.\d+)?)(?=/)")


class Call(Struct, frozen=True):
    """A request that is rewritten."""

    endpoint: Endpoint
    prefix: str
    """"/v1.41", or "" if the client did not name a version."""
    container: str
    """The reference of the client: an id, a prefix of one, or a name; empty if there is none."""
    query: dict[str, str]

    @property
    def speaks_text(self) -> bool:
        """The client's API version has plain-text errors: up to 1.23."""
        numbers = [int(part) for part in self.prefix.removeprefix("/v").split(".") if part]
        return bool(numbers) and numbers < [1, 24]


def route(method: str, target: str) -> Call | None:
    """The kind of a request; None: it passes through."""
    path, _, query = target.partition("?")
    version = _VERSION.match(path)
    prefix = version[0] if version else ""
    for endpoint, wanted, pattern in _PATHS:
        found = pattern.fullmatch(path, len(prefix)) if method == wanted else None
        if found is not None:
            fields = {key: values[-1] for key, values in parse_qs(query, keep_blank_values=True).items()}
            container = unquote(found.groupdict().get("container") or "") or fields.get("container", "")
            return Call(endpoint, prefix, container, fields)
    return None

"""The table of the control API, and answers to requests that do not come over a socket.

Owns the list of all routes and the lookup by method and path. `server` serves the same routes over HTTP.
"""

from collections.abc import Mapping
from urllib.parse import unquote

from msgspec import Struct

from overlay.clean import LINES, clean
from overlay.daemon.control import addresses, batches, containers, names, peers, policies, showing
from overlay.daemon.control.parts import Parts
from overlay.daemon.control.route import ControlRoute, Fields, Json, Plain, Question
from overlay.daemon.control.watching import Watcher
from overlay.errors import UsageError
from overlay.http.sentence import BUG, Bugs, NotFound, no_path, sentence, wrong_method

__all__ = ["ROUTES", "Asked", "answer", "find", "text_of"]

ROUTES: tuple[ControlRoute, ...] = (
    *showing.ROUTES,
    *peers.ROUTES,
    *addresses.ROUTES,
    *names.ROUTES,
    *batches.ROUTES,
    *policies.ROUTES,
    *containers.ROUTES,
)

_bugs = Bugs()


class Asked(Struct, frozen=True):
    """A request: a URL path, and a body in one of two formats."""

    method: str
    path: str
    query: Fields = Fields()
    form: Fields = Fields()
    body: bytes = b""


async def answer(parts: Parts, asked: Asked) -> tuple[int, str]:
    """The status and the text for a request."""
    try:
        route, named = find(asked.method, asked.path)
        said = await route.call(parts, Question(named, asked.query, asked.form, asked.body))
    except _WrongMethod as error:
        return 405, clean(str(error), keep=LINES)
    except Exception as error:
        found = sentence(error)
        if found is None:
            _bugs.complain_of(error, f"{asked.method} {asked.path}")
            return 500, BUG
        return found[0], clean(found[1], keep=LINES)
    assert not isinstance(said, Watcher), "a stream of views goes over a socket"
    return 200, text_of(said)


def text_of(said: str | Json | Plain | None) -> str:
    """An answer as text."""
    return said or "" if said is None or isinstance(said, str) else said.text


class _WrongMethod(UsageError):
    """The path exists, but only with other methods."""


def find(method: str, path: str) -> tuple[ControlRoute, Mapping[str, str]]:
    """The route for a URL path, and its named path parts. Routes without named parts come first. Raises
    `UsageError`."""
    words = [unquote(word) for word in path.split("/")]
    matching = [(route, named) for route in ROUTES if (named := _matched(route.path.split("/"), words)) is not None]
    if not matching:
        raise NotFound(no_path("/".join(words)))
    fitting = [(route, named) for route, named in matching if route.method == method]
    if not fitting:
        raise _WrongMethod(wrong_method("/".join(words), method, {route.method for route, _ in matching}))
    return min(fitting, key=lambda found: len(found[1]))


def _matched(pattern: list[str], words: list[str]) -> Mapping[str, str] | None:
    if len(pattern) != len(words):
        return None
    named = {}
    for part, word in zip(pattern, words, strict=True):
        if part.startswith("{"):
            if not word or set(word) & set("{}"):
                return None
            named[part.strip("{}")] = word
        elif part != word:
            return None
    return named

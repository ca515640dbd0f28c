"""The control API's table: the simulator, which asks it directly, finds the same route as HTTP does."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from overlay.daemon.control.route import Fields, Question
from overlay.daemon.control.server import application
from overlay.daemon.control.table import ROUTES, Asked, answer, find
from overlay.errors import UsageError
from overlay.http.sentence import BUG

NO_PARTS: Any = None
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH")
PATHS = sorted({route.path for route in ROUTES})
ODD = (
    *("/", "/no/such", "/status/", "/status/a/b", "/ip/", "/ip//", "/ip/a%2Fb", "/ip/%7Ba%7D", "/ip/%20", "/ip/a;b"),
    *("/policy/explain", "/Status", "/%73tatus", "/status/%C3%A9", "/name/a/b%25c", "/ip/a+b", "/proxy/c/reserve"),
)


async def over_http(app: web.Application, method: str, path: str) -> tuple[str, Mapping[str, str]] | str:
    """The route that HTTP finds, and the named parts; or the sentence that it says."""
    request = make_mocked_request(method, path, app=app)
    match = await app.router.resolve(request)
    if match.http_exception is None:
        assert match.route.resource is not None
        return match.route.resource.canonical, dict(match)
    match.add_app(app)
    request._match_info = match
    said = await app._handle(request)
    assert isinstance(said, web.Response)
    return str(said.text)


def in_table(method: str, path: str) -> tuple[str, Mapping[str, str]] | str:
    try:
        route, named = find(method, path)
    except UsageError as error:
        return str(error)
    return route.path, named


def test_the_table_and_http_find_the_same_route_for_every_method_and_path() -> None:
    app = application(NO_PARTS)
    app.freeze()
    filled = (path.replace("{", "x%3A").replace("}", "%3F") for path in PATHS)
    asked = [(method, path) for path in (*ODD, *filled) for method in METHODS]

    async def ask() -> list[tuple[str, Mapping[str, str]] | str]:
        return [await over_http(app, method, path) for method, path in asked]

    for (method, path), found in zip(asked, asyncio.run(ask()), strict=True):
        assert in_table(method, path) == found, (method, path)
    assert in_table("GET", "/ip/a%2Fb") == ("/ip/{container}", {"container": "a/b"})


def test_no_two_routes_are_the_same_and_what_looks_reads_no_body() -> None:
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
    assert all(route.method == "GET" for route in ROUTES if route.access.name in ("LOOK", "REPORT"))
    assert [route.path for route in ROUTES if route.method == "GET" and route.takes.name != "NOTHING"] == []


def test_an_error_is_a_status_and_a_sentence_and_a_bug_says_that_it_is_one(caplog: pytest.LogCaptureFixture) -> None:
    def ask(method: str, path: str, **more: Any) -> tuple[int, str]:
        return asyncio.run(answer(NO_PARTS, Asked(method, path, **more)))

    assert ask("GET", "/nothing") == (404, "there is no /nothing here")
    assert ask("PUT", "/connect") == (405, "/connect does not take PUT, but POST")
    assert ask("GET", "/status/nothing")[0] == 404
    status, text = ask("POST", "/options", body=b"{")
    assert (status, text.partition(":")[0]) == (400, "the body is not the JSON object that is expected")
    assert ask("GET", "/options") == (500, BUG)  # there are no parts to ask
    assert "GET /options failed" in caplog.text


def test_fields_may_stand_several_times() -> None:
    fields = Fields.of([("a", "1"), ("b", "false"), ("a", "2"), ("c", "")])
    assert (fields.every("a"), fields.first("a"), fields.last("a"), fields.every("x")) == (["1", "2"], "1", "2", [])
    switches = [fields.unless_false(key, default=default) for key in "bcx" for default in (True, False)]
    assert switches == [False, False, True, True, True, False]
    assert Question().cidr == Question().ip == ""

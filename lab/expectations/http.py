"""The condition `http`: a URL answers with a body that matches, asked with curl from a service's container."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, StringConstraints

from lab.contracts.fault import Bench
from lab.contracts.plan import Judgement
from lab.expectations._inside import in_service
from lab.kinds.checkers import Checker, Where
from lab.scenario.base import Model, Name, Problem
from lab.scenario.check import Known
from lab.verbs._match import MatchTimeout, found
from lab.verbs.exec import Regex

_BODY = 5.0
"""Timeout in seconds for matching the body, the same as for the request."""


class HttpExpect(Model):
    """What a URL must answer, asked with curl from the first container of a service."""

    source: Name = Field(alias="from")
    """The service whose container asks."""
    url: Annotated[str, StringConstraints(min_length=1)]
    """What to get, such as `http://web:8080/`."""
    body: Regex
    """A regular expression that must match somewhere in the answer."""


class _Http(Checker[HttpExpect]):
    name = "http"
    model = HttpExpect
    form = "`http: {from, url, body}`"
    about = "curl in the service's container gets a body that matches"
    polls = True

    def words(self, body: HttpExpect) -> str:
        """The request and its source, in words."""
        return f"http {body.url} from {body.source}"

    def check(self, where: Where, body: HttpExpect, known: Known) -> Iterator[Problem]:
        """The requesting service exists."""
        yield from known.services_of((*where, "from"), (body.source,), replicas=True)

    def urls(self, body: HttpExpect) -> Iterator[str]:
        """The requested URL."""
        yield body.url

    async def judge(self, body: HttpExpect, bench: Bench, since: int) -> Judgement:
        """Judge by a new request."""
        problem = await _asked(body, bench)
        return Judgement(not problem, (problem,) if problem else ())


async def _asked(what: HttpExpect, bench: Bench) -> str:
    """The error in the answer; empty if it is correct."""
    argv = ["curl", "-s", "-S", "--max-time", "2", what.url]
    result = await in_service(bench, what.source, argv, 5.0)
    if isinstance(result, str):
        return result
    body = result.out.strip()
    if result.code != 0:
        return f"curl {what.url} from {what.source}: {result.err.strip() or f'exit code {result.code}'}"
    try:
        matches = found(what.body, body, lines=False, patience=_BODY)
    except MatchTimeout as error:
        return str(error)
    if not matches:
        return f"{what.url} from {what.source} answered {body[:200]!r}, expected to match {what.body!r}"
    return ""


KIND = _Http()

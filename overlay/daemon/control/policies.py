"""Policies: list, explain, add and remove them."""

from collections.abc import Sequence

from overlay import inputs as i
from overlay.clean import LINES, clean
from overlay.daemon.control.parts import Parts
from overlay.daemon.control.route import Access, ControlRoute, Fields, Json, Takes, cleaned
from overlay.errors import UsageError
from overlay.http.sentence import NotFound

__all__ = ["ROUTES"]


async def policies(parts: Parts) -> Json:
    """All policies."""
    return Json(parts.router.node.report(parts.router.clock())["policy"])


async def explain(parts: Parts, source: str, target: str) -> str:
    """Explain, in lines, which policy applies."""
    return clean("\n".join(parts.router.node.explain(source, target)), keep=LINES)


async def set_policy(parts: Parts, verb: str, rule: str, *, force: bool) -> str:
    """Add a policy."""
    parts.check_room()
    return await _change(parts, verb, rule, remove=False, force=force)


async def remove_policy(parts: Parts, verb: str, rule: str) -> str:
    """Remove a policy by its text."""
    return await _change(parts, verb, rule, remove=True, force=False)


async def _change(parts: Parts, verb: str, rule: str, *, remove: bool, force: bool) -> str:
    if verb not in ("allow", "deny"):
        raise NotFound(f"no policy says `{verb}`: there are allow and deny")
    answer = await parts.router.ask(lambda n: i.ChangePolicy(n, rule, verb == "allow", remove, force))
    return cleaned(answer, keep=LINES)


async def remove_policies(parts: Parts, words: Sequence[str], *, everything: bool) -> str:
    """Remove policies by their numbers."""
    if not words and not everything:
        raise UsageError("which policies? expected `number`, repeated, or `all=true`")
    if any(not (word.isascii() and word.isdigit() and len(word) < 6) for word in words):
        raise UsageError(f"policies are removed by number, found `{' '.join(words):.80}`")
    numbers = tuple(map(int, words))
    return cleaned(await parts.router.ask(lambda n: i.RemovePolicies(n, numbers, everything)), keep=LINES)


def _rule(fields: Fields) -> str:
    return f"from {fields.last('from', 'all')} to {fields.last('to', 'all')}"


_YES = ("true", "1")

ROUTES = (
    ControlRoute("GET", "/policy", lambda p, q: policies(p), Access.REPORT),
    ControlRoute(
        "GET",
        "/policy/explain",
        lambda p, q: explain(p, q.query.first("from"), q.query.first("to")),
        Access.REPORT,
    ),
    ControlRoute(
        "POST",
        "/policy/{verb}",
        lambda p, q: set_policy(p, q["verb"], _rule(q.form), force=q.form.last("force") in _YES),
        Access.CHANGE,
        Takes.FORM,
    ),
    ControlRoute("DELETE", "/policy/{verb}", lambda p, q: remove_policy(p, q["verb"], _rule(q.query)), Access.CHANGE),
    ControlRoute(
        "DELETE",
        "/policy",
        lambda p, q: remove_policies(p, q.query.every("number"), everything=q.query.first("all") in _YES),
        Access.CHANGE,
    ),
)

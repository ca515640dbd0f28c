"""Peers: dial and forget them, read their clocks, and remove this peer or another one."""

from collections.abc import Sequence
from contextlib import suppress

from overlay import inputs as i
from overlay.addresses import parse_peer_name, parse_target
from overlay.config import Address
from overlay.daemon.control.parts import Parts
from overlay.daemon.control.route import Access, ControlRoute, Json, Takes, cleaned
from overlay.errors import EnvironmentProblem, UsageError

__all__ = ["ROUTES"]

CLOCK_PATIENCE = 2.0
"""Seconds to wait for the neighbours' clocks."""
_YES = ("true", "1", "on", "yes")


async def connect(parts: Parts, texts: Sequence[str], *, replace: bool) -> None:
    """Dial these peers from now on. `replace`: drop all other targets that were set by name."""
    peers = await _targets(parts, texts)
    if not peers and not replace:
        raise UsageError("no peer is named: expected a form with `peer`, repeated")
    await parts.router.ask(lambda n: i.Connect(n, peers, replace))


async def forget(parts: Parts, texts: Sequence[str]) -> None:
    """Stop dialling these peers."""
    # A target from the command line keeps its name; a target from `connect` was resolved to an address.
    peers = tuple(parse_target(text, parts.options.port) for text in texts)
    if not peers:
        raise UsageError("no peer is named: expected a form with `peer`, repeated")
    for text in texts:
        with suppress(EnvironmentProblem):  # the name does not resolve any more
            peers += await _targets(parts, [text])
    await parts.router.ask(lambda n: i.Forget(n, peers))


async def _targets(parts: Parts, texts: Sequence[str]) -> tuple[Address, ...]:
    found = []
    for text in texts:
        target = parse_target(text, parts.options.port)
        found.append(Address(await parts.resolve(target.host), target.port))
    return tuple(found)


async def clocks(parts: Parts) -> Json:
    """Ask all neighbours for their clocks; a neighbour that does not answer in time has no offset."""
    router = parts.router
    with suppress(TimeoutError):
        await router.ask(lambda n: i.AskClocks(n, router.wall()), timeout=CLOCK_PATIENCE)
    told = [
        {"peer": peer, "offset": each.clock and each.clock[0], "error": each.clock and each.clock[1]}
        for peer, each in sorted(router.node.mesh.connections.established.items())
    ]
    return Json(told)


async def leave(parts: Parts, *, surrender: bool, restart: bool) -> None:
    """End this daemon."""
    await parts.leave(surrender, restart)


async def remove_peer(parts: Parts, peer: str) -> str:
    """Take over the addresses of a peer that will not return."""
    with suppress(UsageError):  # it is a nickname
        peer = parse_peer_name(peer)
    return cleaned(await parts.router.ask(lambda n: i.RemovePeer(n, peer)))


def _is_on(word: str) -> bool:
    return word in ("1", "true")


ROUTES = (
    ControlRoute(
        "POST",
        "/connect",
        lambda p, q: connect(p, q.form.every("peer"), replace=q.form.last("replace").lower() in _YES),
        Access.CHANGE,
        Takes.FORM,
    ),
    ControlRoute("POST", "/forget", lambda p, q: forget(p, q.form.every("peer")), Access.CHANGE, Takes.FORM),
    ControlRoute("POST", "/clocks", lambda p, q: clocks(p), Access.CHANGE),
    ControlRoute(
        "POST",
        "/leave",
        lambda p, q: leave(p, surrender=_is_on(q.query.first("surrender")), restart=_is_on(q.query.first("restart"))),
        Access.CHANGE,
    ),
    # As `weave reset`: this peer hands its addresses over and ends.
    ControlRoute("DELETE", "/peer", lambda p, q: leave(p, surrender=True, restart=False), Access.CHANGE),
    ControlRoute("DELETE", "/peer/{peer}", lambda p, q: remove_peer(p, q["peer"]), Access.CHANGE),
)

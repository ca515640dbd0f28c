"""The other peers: is each one reachable over TCP, and is each name unique?"""

from collections.abc import Iterator
from typing import Any

from overlay.check.facts import Facts
from overlay.check.finding import Finding, fine, note, unseen, wrong
from overlay.env import SECOND

__all__ = ["named", "peers"]

_RECENT = 60 * SECOND
_OURSELF = "ourself"
_REFUSED, _PASSWORD = "refused", "password"


def peers(facts: Facts) -> Iterator[Finding]:
    """Control connections."""
    if facts.report is None:
        yield unseen("the router does not answer")
        return
    mesh = facts.mesh
    bad = [*_names(mesh), *_targets(mesh), *_strangers(mesh), *_channels(mesh), *_owners(facts)]
    yield from bad
    if not bad:
        established = sum(connection["state"] == "established" for connection in mesh["connections"])
        yield fine(f"{established} connected" if mesh["targets"] or established else "none was asked for")


def named(mesh: Any, peer: str) -> str:
    """A peer's nickname, or its name if it has none."""
    return next((each["nickname"] for each in mesh["peers"] if each["name"] == peer and each["nickname"]), peer)


def _names(mesh: Any) -> Iterator[Finding]:
    if mesh["name_conflict"]:
        yield wrong(
            f"another process has this peer's name, {mesh['name']}",
            "a name of its own for each peer",
            "`weave reset`, then `weave launch`, on one of the two (a copied machine has copied state)",
        )


def _targets(mesh: Any) -> Iterator[Finding]:
    up = [each["address"] for each in mesh["connections"] if each["state"] == "established"]
    for target in mesh["targets"]:
        address, reason = target["address"], target["reason"]
        if target["state"] == "connected" or address in up or not target["explicit"] or not reason:
            continue
        if _OURSELF in reason:
            continue
        host, _, port = address.rpartition(":")
        found = f"{address} is not reached: {reason}"
        if _PASSWORD in reason:
            yield wrong(found, "one password for all peers", "`weave stop`, then `weave launch` with --password")
        elif _REFUSED in reason.lower():
            remedy = f"`weave launch`; not meant any more: `weave forget {address}`"
            yield wrong(found, f"a router at {address}", remedy, where=host)
        else:
            yield wrong(
                found,
                f"TCP port {port} of {host} open for this host",
                f"`iptables -I INPUT -p tcp --dport {port} -j ACCEPT`; not meant any more: `weave forget {address}`",
                where=host,
            )


def _strangers(mesh: Any) -> Iterator[Finding]:
    for refusal in mesh["refused"]:
        if refusal["age"] > _RECENT or _OURSELF in refusal["reason"]:
            continue
        who = refusal["peer"] or refusal["address"]
        remedy = f"`weave status connections` here and there; a router that is not meant: `weave stop` on {who}"
        yield wrong(f"{who} is refused: {refusal['reason']}", "peers with the password, and names of their own", remedy)


def _channels(mesh: Any) -> Iterator[Finding]:
    for conflict in mesh["channel_conflicts"]:
        yield wrong(
            f"{conflict['channel']} conflicts with {conflict['nickname']}: {conflict['error']}",
            "one network of peers with one range",
            "`weave reset`, then `weave launch`, on the one that is to join the other",
        )


def _owners(facts: Facts) -> Iterator[Finding]:
    """Unreachable owners of addresses: nothing fails until their addresses are needed."""
    for owner in (facts.report or {})["ipam"]["peers"]:
        if not owner["reachable"]:
            yield note(
                f"{named(facts.mesh, owner['name'])} is out of reach and owns {100 * owner['share']:.0f}% of the range",
                f"start it again; if it will never come back: `weave rmpeer {owner['name']}`",
            )

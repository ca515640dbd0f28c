"""Packet sizes: does the overlay's MTU fit this host's underlay and the path to each peer?"""

from collections.abc import Iterator
from typing import Any

from overlay.check.facts import Facts
from overlay.check.finding import Finding, fine, unseen, wrong
from overlay.check.peers import named
from overlay.datapath.vxlan import ALL_PATHS, CLEAR_PATHS, MIN_MTU, TUNNEL_TAG, Path

__all__ = ["mtu", "smaller"]

_LEAST = min(path.value for path in CLEAR_PATHS)


def mtu(facts: Facts) -> Iterator[Finding]:
    """The MTU of the underlay's interface, and of the path to each neighbour."""
    if facts.report is None:
        yield unseen("the router does not answer")
        return
    overlay = facts.driver["mtu"]
    bad = [*_underlay(facts, overlay), *_peers(facts, overlay)]
    yield from bad
    if not bad:
        host = facts.host
        below = f", {host.underlay} {host.underlay_mtu}" if host is not None and host.underlay else ""
        yield fine(f"overlay {overlay}{below}")


def smaller(facts: Facts, path: Any) -> bool:
    """Whether the path to a neighbour does not carry the overlay's largest packets."""
    return bool(path["mtu"] < facts.driver["mtu"])


def _underlay(facts: Facts, overlay: int) -> Iterator[Finding]:
    host = facts.host
    if host is None or not host.underlay_mtu or overlay + _LEAST <= host.underlay_mtu:
        return
    yield wrong(
        f"{host.underlay} has MTU {host.underlay_mtu}, and the overlay's packets of {overlay} bytes take "
        f"{overlay + _LEAST} with their headers: large ones do not arrive",
        f"MTU {overlay + _LEAST} or more on {host.underlay}, or a smaller overlay on all hosts",
        _launch(facts, host.underlay_mtu),
    )


def _peers(facts: Facts, overlay: int) -> Iterator[Finding]:
    for peer, path in (facts.report or {})["paths"].items():
        if path["path"] != "sleeve" or path["sleeve"] != "confirmed" or not smaller(facts, path):
            continue
        header = Path.TUNNEL_IPV4.value - (0 if path["encrypted"] else TUNNEL_TAG)
        way = path["mtu"] + header
        yield wrong(
            f"the way to {named(facts.mesh, peer)} takes packets of {way} bytes at the most: the overlay's, of "
            f"{overlay}, take the slow tunnel there",
            f"{overlay + _LEAST} bytes all the way, or a smaller overlay on all hosts",
            _launch(facts, way),
        )


def _launch(facts: Facts, way: int) -> str:
    paths = ALL_PATHS if facts.mesh["encrypted"] else CLEAR_PATHS
    fits = way - max(path.value for path in paths)
    if way - max(path.value for path in CLEAR_PATHS) < MIN_MTU:
        return f"raise the MTU below: an overlay of less than {MIN_MTU} bytes is not possible"
    return f"on every host `weave stop`, then `weave launch --mtu {max(fits, MIN_MTU)}` with the flags of before"

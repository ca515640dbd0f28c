"""The router's environment: the engine, routes of the host, policy, and the state directory."""

import ipaddress
from collections.abc import Iterator

from overlay.check.facts import Facts
from overlay.check.finding import Finding, fine, note, unseen, wrong
from overlay.daemon.status import policy_troubles
from overlay.ranges import overlapping

__all__ = ["engine", "policy", "routes", "state"]

_DEFAULT_RANGE = "10.32.0.0/12"
_ROOM = 16 << 20
"""With fewer free bytes, the disk will be full soon."""


def engine(facts: Facts) -> Iterator[Finding]:
    """The container engine answers."""
    host = facts.host
    if host is None:
        yield unseen("a simulated host's engine always answers")
    elif host.engine_problem:
        yield wrong(host.engine_problem, "a container engine that answers", "`systemctl start docker`")
    elif host.containers_problem:
        yield unseen(f"{host.engine}; containers: {host.containers_problem}")
    else:
        yield fine(host.engine)


def routes(facts: Facts) -> Iterator[Finding]:
    """The overlay's range does not overlap a network that this host reaches by another route."""
    host = facts.host
    if host is None:
        yield unseen("a simulated host has its scenario's routes")
        return
    text = facts.options.get("ipalloc_range") or _DEFAULT_RANGE
    networks = {ipaddress.ip_network(network): device for network, device in host.routes}
    found = overlapping(ipaddress.ip_network(text), networks)
    if found is None:
        yield fine(f"none into {text}")
        return
    said = f"{found}, which this host reaches by {networks[found]}, lies across the overlay's range {text}"
    if text == _DEFAULT_RANGE:
        yield wrong(
            f"{said}: one of the two cannot be reached",
            "a range that no other network has",
            "on every host `weave reset`, then `weave launch` with --ipalloc-range and a free range",
        )
    else:
        yield note(f"{said}, which somebody chose")


def policy(facts: Facts) -> Iterator[Finding]:
    """All peers have the same policy rules."""
    if facts.report is None:
        yield unseen("the router does not answer")
        return
    told = facts.report.get("policy")
    if not told:
        yield unseen("this router knows no policies")
        return
    troubles = policy_troubles(told)
    for trouble in troubles:
        yield wrong(trouble, "every peer enforces the same policies", "`weave policies` shows them, and who differs")
    if not troubles:
        count = len(told["policies"])
        open_one = not count and told["default"] == "allow"
        yield fine(
            "none: all is allowed" if open_one else f"{count}, default {told['default']}, agreed on by all peers"
        )


def state(facts: Facts) -> Iterator[Finding]:
    """The state directory is writable, and its files are readable."""
    bad = []
    if problem := facts.driver.get("disk"):
        bad.append(wrong(problem, "room for what the router has to keep", "`df -h` shows what is full"))
    elif facts.driver.get("stalled"):
        bad.append(
            wrong("nothing is sent to other peers until the disk has room", "room", "`df -h` shows what is full")
        )
    host = facts.host
    if host is None or host.state is None:
        why = "a simulated host has no disk" if host is None else "the state can be read by root only"
        yield from bad or [unseen(why)]
        return
    kept = host.state
    if kept.problem:
        bad.append(wrong(f"{kept.directory}: {kept.problem}", "a directory of root's", f"`ls -ld {kept.directory}`"))
    elif not bad and 0 < kept.free < _ROOM:
        room = f"{kept.free >> 20} MiB are free in {kept.directory}"
        bad.append(wrong(room, f"{_ROOM >> 20} MiB or more", f"`df -h {kept.directory}`, and make room"))
    for name in kept.damaged:
        bad.append(
            wrong(
                f"{kept.directory}/{name} is damaged: the router starts without what was in it",
                "state files as the router wrote them",
                f"`rm {kept.directory}/{name}` once nothing of it is needed",
            )
        )
    yield from bad
    if not bad:
        yield fine(f"{kept.directory}, {kept.free >> 20} MiB free" if kept.free else f"{kept.directory} is empty yet")

"""DNS: does this host's name server answer, and do containers use it?"""

from collections.abc import Iterator

from overlay.check.facts import ContainerFacts, Facts
from overlay.check.finding import Finding, fine, note, unseen, wrong

__all__ = ["dns"]

_EMBEDDED = "127.0.0.11"
"""The engine's own name server in user-defined networks; it forwards to the servers in the engine's settings."""


def dns(facts: Facts) -> Iterator[Finding]:
    """The server on the engine's bridge, and each container's resolv.conf."""
    if facts.report is None:
        yield unseen("the router does not answer")
        return
    address = facts.driver["dns_address"]
    if not address:
        yield from _absent(facts)
        return
    containers = facts.host.containers if facts.host is not None else ()
    bad = [*_silent(facts, address), *(found for each in containers for found in _asks(each, address))]
    yield from bad
    if not any(found.level.value == "WRONG" for found in bad):
        seen = sum(each.servers is not None and address in each.servers for each in containers)
        yield fine(f"answers at {address}" + (f", {seen} containers ask it" if containers else ""))


def _absent(facts: Facts) -> Iterator[Finding]:
    problem = facts.driver.get("dns_problem")
    if not problem:
        yield fine("switched off (`weave launch` without --no-dns serves it)")
        return
    yield wrong(
        f"DNS is {problem}",
        "an address on the engine's bridge, or one of --dns-listen-address",
        "`weave stop`, then `weave launch --dns-listen-address 127.0.0.1` with an address that containers reach",
    )


def _silent(facts: Facts, address: str) -> Iterator[Finding]:
    for way, problem in facts.host.dns if facts.host is not None else ():
        if problem:
            yield wrong(
                f"no answer from {address} port 53 over {way}: {problem}",
                "an answer of this host's own name server",
                f"`ip addr show to {address}` shows whether the engine still has that address; if not, `weave stop`, "
                "then `weave launch`",
            )


def _asks(container: ContainerFacts, address: str) -> Iterator[Finding]:
    servers = container.servers
    if servers is None or address in servers or (_EMBEDDED in servers and address in container.asked):
        return
    told = " ".join(servers) or "no server"
    if address in container.asked:
        yield wrong(
            f"container {container.shown} asks {told}, though it was made to ask {address}: its resolv.conf was "
            "changed",
            f"nameserver {address}",
            f"`docker restart {container.shown}` has the engine write it again",
        )
    elif not container.plugin:
        yield note(
            f"container {container.shown} asks {told}: it does not know the names of the overlay",
            f"make it again by the proxy, or with --dns={address}",
        )

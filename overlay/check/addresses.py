"""Duplicate addresses: quarantined ones, and those that somebody set by hand on a container's `ethwe`."""

import ipaddress
from collections.abc import Iterator, Mapping

from overlay.check.facts import ContainerFacts, Facts
from overlay.check.finding import Finding, fine, unseen, wrong

__all__ = ["addresses"]


def addresses(facts: Facts) -> Iterator[Finding]:
    """Each address has one owner, and each container has its assigned addresses."""
    if facts.report is None:
        yield unseen("the router does not answer")
        return
    containers = facts.host.containers if facts.host is not None else ()
    owners = _owners(facts)
    bad = [*_quarantined(facts), *(found for each in containers for found in _on_interface(each, owners))]
    yield from bad
    if not bad:
        yield fine(f"{len(owners)} in use, each by one")


def _quarantined(facts: Facts) -> Iterator[Finding]:
    assert facts.report is not None
    for contest in facts.report["endpoints"]["quarantine"]:
        yield wrong(f"{contest['what']} is quarantined", "one owner for each address", contest["mend"])
    for conflict in facts.report["ipam"]["conflicts"]:
        if conflict["kind"] == "range":
            found = f"{conflict['owner'] or 'a peer'} uses the range {conflict['range']}, this one another"
        else:
            holder = f", and held there by {conflict['holder'][:12]}" if conflict["holder"] else ""
            found = f"{conflict['address']} of {conflict['container'][:12]} is owned by {conflict['owner']}{holder}"
        yield wrong(found, "one owner for each address", conflict["remedy"])


def _owners(facts: Facts) -> Mapping[str, str]:
    """Address to the container that has it, on any host."""
    assert facts.report is not None
    return {
        cidr.partition("/")[0]: entry["container"]
        for entry in facts.report["endpoints"]["entries"]
        for cidr in entry["addresses"]
        if entry["state"] != "gone"
    }


def _on_interface(container: ContainerFacts, owners: Mapping[str, str]) -> Iterator[Finding]:
    if container.found is None or not container.pid or container.plugin:
        return
    enter = f"nsenter --net=/proc/{container.pid}/ns/net"
    for cidr in container.found:
        if cidr in container.addresses:
            continue
        owner = owners.get(str(ipaddress.ip_interface(cidr).ip), "")
        whose = f", which belongs to {owner[:12]}" if owner and owner != container.id else ""
        yield wrong(
            f"container {container.shown} has {cidr} on ethwe{whose}; the router did not give it that",
            f"{' '.join(container.addresses)} alone",
            f"`{enter} ip addr del {cidr} dev ethwe`",
        )
    for cidr in container.addresses:
        if cidr not in container.found:
            yield wrong(
                f"container {container.shown} lacks {cidr} on ethwe, which the router gave it",
                f"{' '.join(container.addresses)} on ethwe",
                f"`weave attach {cidr} {container.shown}`",
            )

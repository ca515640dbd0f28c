"""The bridge `weave`: does each container's port, and no other, get the frames for its MAC?

The ports and their MACs come from the kernel's own table `weave-ports`, which stays while no router runs.
"""

from collections.abc import Iterator

from overlay.check.facts import Facts
from overlay.check.finding import Finding, fine, note, unseen, wrong
from overlay.env import SECOND

__all__ = ["bridge"]

_RECENT = 60 * SECOND
_STICKY = "sticky"


def bridge(facts: Facts) -> Iterator[Finding]:
    """Entries, ports, guards, and the report of the router's audit."""
    bad = [*_audit(facts), *_entries(facts)]
    yield from bad
    if bad:
        return
    host = facts.host
    if host is None:
        yield unseen("a simulated host has no tables of its own")
    elif host.bridge_problem:
        yield unseen(host.bridge_problem)
    elif not host.bridge and facts.report is None:
        yield unseen("there is no bridge: no router has run here")
    else:
        guarded = facts.driver.get("ports", {}).get("guarded", len(host.entries))
        yield fine(f"{len(host.entries)} ports, {guarded} guarded, every entry in place")


def _audit(facts: Facts) -> Iterator[Finding]:
    driver = facts.driver
    if problem := driver.get("ports", {}).get("problem"):
        found, _, remedy = problem.rpartition(": ")
        yield wrong(found, "containers send under their own addresses only", remedy)
    audit = driver.get("audit", {})
    for left in audit.get("left", ()):
        yield wrong(
            f"the router cannot mend what others changed: {left}",
            "the kernel's tables as the router made them",
            "`weave stop`, then `weave launch`",
        )
    if audit.get("mended") and audit["age"] is not None and audit["age"] < _RECENT:
        what = "; ".join(audit["what"])
        yield note(
            f"another program changes the overlay's tables; mended {audit['age'] // SECOND} s ago: {what}",
            "`weave status` counts the changes: find the program if they go on",
        )


def _entries(facts: Facts) -> Iterator[Finding]:
    host = facts.host
    if host is None:
        return
    if facts.report is None:
        remedy = "`weave launch`"
    else:
        remedy = "the router mends it within some seconds: `weave status` says what it mended"
    if facts.report is not None and not host.bridge and not host.bridge_problem:
        yield wrong("the bridge `weave` is gone", "a bridge with every container's port", remedy)
    for entry in host.entries:
        if entry.at == entry.port and entry.manner == _STICKY:
            continue
        if not entry.at:
            found = f"the bridge has no entry for {entry.mac} (port {entry.port}): its frames are flooded"
        elif entry.at != entry.port:
            found = f"frames for {entry.mac} go to {entry.at}, not to {entry.port}, its port"
        else:
            found = f"the entry for {entry.mac} at {entry.port} is {entry.manner}: any frame can move it"
        yield wrong(found, f"a sticky entry at {entry.port}", remedy)

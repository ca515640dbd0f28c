"""Clocks of the peers. The overlay needs no common time; logs, certificates and incarnations after a lost disk do."""

from collections.abc import Iterator

from overlay.check.facts import Facts
from overlay.check.finding import Finding, fine, unseen, wrong
from overlay.check.peers import named
from overlay.env import SECOND

__all__ = ["clocks"]

_MOST = 5 * SECOND
"""With a larger difference, the logs of several hosts cannot be compared."""


def clocks(facts: Facts) -> Iterator[Finding]:
    """The clock offset of each neighbour, minus the uncertainty of the measurement."""
    if facts.report is None:
        yield unseen("the router does not answer")
        return
    if facts.clocks is None:
        yield unseen("the router does not measure clocks")
        return
    answered = [clock for clock in facts.clocks if clock["offset"] is not None]
    bad = []
    for clock in answered:
        offset = clock["offset"]
        if abs(offset) - clock["error"] > _MOST:
            ahead = "ahead of" if offset > 0 else "behind"
            who = named(facts.mesh, clock["peer"])
            bad.append(
                wrong(
                    f"the clock of {who} is {abs(offset) / SECOND:.0f} s {ahead} this host's",
                    f"less than {_MOST // SECOND} s",
                    "`timedatectl set-ntp true` on the one that is wrong (`date` tells)",
                )
            )
    yield from bad
    if not bad:
        if not answered:
            yield unseen("no neighbour answers" if facts.clocks else "there is no neighbour")
            return
        most = max(max(0, abs(clock["offset"]) - clock["error"]) for clock in answered)
        yield fine(f"less than {most // SECOND + 1} s off, neighbours asked: {len(answered)}")

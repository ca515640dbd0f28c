"""A packet that opens a flow over the overlay, and whether policies let it: by the tables of both hosts' kernels, and
by a second reading of the policies themselves that shares no code with what fills those tables.
"""

from collections.abc import Iterable

from msgspec import Struct

from overlay.policy.compiled import Protocol
from overlay.policy.directory import Member
from overlay.policy.words import Policy

__all__ = ["Flow", "judged"]


class Flow(Struct, frozen=True):
    """Who sent it, who gets it, and what for."""

    sender: str
    """The host."""
    container: str
    source: str
    """The address."""
    receiver: str
    """The host."""
    target: str
    """The container."""
    destination: str
    port: int

    @property
    def protocol(self) -> Protocol:
        """Probes know two."""
        return "tcp" if self.port else "icmp"


def judged(flow: Flow, source: Member, target: Member, policies: Iterable[Policy]) -> bool | None:
    """What policies say of a flow between these two; None: nothing."""
    best: list[Policy] = []
    for policy in policies:
        about = source.fits(policy.source) and target.fits(policy.target)
        if policy.protocol and policy.protocol != flow.protocol:
            about = False
        if policy.ports and not any(low <= flow.port <= high for low, high in policy.ports):
            about = False
        if not about:
            continue
        if not best or policy.rank > best[0].rank:
            best = [policy]
        elif policy.rank == best[0].rank:
            best.append(policy)
    return all(policy.accept for policy in best) if best else None

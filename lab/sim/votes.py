"""The votes of a first agreement, as they reach the disks: a value that a majority has accepted stays the only one.

That is the safety of Paxos ("Paxos Made Simple", P2). It is broken before anybody learns of a second ring, and even
where nobody ever does. Owns which host has accepted what. Must not know peers that run, nor who may excuse a violation.
"""

from overlay.ipam.paxos import Acceptor
from overlay.wire.ring import Ballot, Proposal

__all__ = ["Votes"]


class Votes:
    """What acceptors have accepted, and the value that a majority of them has chosen."""

    def __init__(self) -> None:
        self._for: dict[Ballot, dict[str, None]] = {}
        self._chosen: tuple[Ballot, Proposal] | None = None

    def accepted(self, host: str, vote: Acceptor, majority: int) -> str:
        """An acceptor wrote its state. Why it cannot have accepted this; empty: it can."""
        ballot, value = vote.accepted, vote.value
        if ballot is None or value is None:
            return ""
        if self._chosen is not None and ballot > self._chosen[0] and value != self._chosen[1]:
            return f"{host} agreed to a division of the range after a majority had agreed to another one"
        voters = self._for.setdefault(ballot, {})
        voters[host] = None
        if self._chosen is None and len(voters) >= majority:
            self._chosen = ballot, value
        return ""

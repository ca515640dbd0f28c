"""What a node shows of its beliefs to those who ask whether it has converged. Pure data."""

from msgspec import Struct


class PeerView(Struct, frozen=True):
    """What this peer believes, in few words. Digests are hex; equal digests mean equal beliefs."""

    topology: str
    """Of the records of all peers that it can reach."""
    ring: str
    dns: str
    """Of the DNS entries that it would answer with."""
    endpoints: str
    """Of what the peers that it can reach announce."""
    reachable: int
    """How many peers it can reach, itself included."""
    neighbours: tuple[str, ...]
    """Nicknames of the peers with which it has an established connection, sorted."""
    ring_share: float
    """The part of the address range that it owns, 0 to 1."""
    sent_messages: int

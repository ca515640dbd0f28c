"""A node's summary of its state, for convergence checks. Pure data."""

from msgspec import Struct


class PeerView(Struct, frozen=True):
    """A short summary of this peer's state. Digests are hex; equal digests mean equal states."""

    topology: str
    """Digest of the records of all reachable peers."""
    ring: str
    dns: str
    """Digest of the DNS entries that it answers with."""
    endpoints: str
    """Digest of the announcements of all reachable peers."""
    reachable: int
    """Number of reachable peers, including itself."""
    neighbours: tuple[str, ...]
    """Nicknames of the peers with which it has an established connection, sorted."""
    ring_share: float
    """The fraction of the address range that it owns, 0 to 1."""
    sent_messages: int

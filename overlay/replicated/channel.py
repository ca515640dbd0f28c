"""The contract between gossip and the replicated structures that it spreads. No logic.

A channel is a state that every peer holds and that merges commutatively, associatively and idempotently. The mesh sends
`Delta`s along the broadcast tree, compares `digest()`s between neighbours, and repairs differences with `vector()` and
`missing()`. It never looks inside.
"""

from typing import Protocol

from overlay.effects import Effect
from overlay.wire.codec import Delta, Vector


class Channel(Protocol):
    """One replicated state. `name` is its key on the wire (`topology`, `ipam`, `dns`, `endpoints`, `policy`)."""

    name: str

    def digest(self) -> int:
        """64 bits, equal on two peers with equal states, and otherwise different except by chance. Cheap."""
        ...

    def vector(self) -> Vector:
        """A short summary of this peer's state, from which another peer can tell what is missing here."""
        ...

    def missing(self, vector: Vector, named: bool = False) -> Delta | None:
        """Everything in this peer's state that the sender of `vector` lacks; None if it lacks nothing.

        `named`: only for the keys in the vector, each newer than the version there (0: the sender has nothing).
        """
        ...

    def lacking(self, vector: Vector) -> Vector | None:
        """A vector with which to request (`named`) what the sender of `vector` has and this peer lacks, or None."""
        ...

    def merge(self, delta: Delta, now: int) -> tuple[Delta | None, list[Effect]]:
        """Merge `delta`. Returns the part that was new here (None: nothing) and the resulting effects.

        Raises `RemoteError` for a conflict that the structure cannot resolve: the mesh marks the channel for that
        neighbour, `status` shows it, and the connection stays.
        """
        ...

    def join(self, *deltas: Delta) -> Delta:
        """Combine one or more deltas into one, so that pending deltas for a neighbour are coalesced."""
        ...

    def check_invariants(self) -> None:
        """Assert the invariants of this structure."""
        ...

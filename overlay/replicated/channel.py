"""What the mesh knows of a replicated state: the contract between gossip and the structures it spreads. No logic.

A channel is a state that every peer holds and that merges commutatively, associatively and idempotently. The mesh
carries `Delta`s along the broadcast tree, compares `digest()`s between neighbours, and mends differences with
`vector()` and `missing()`. It never looks inside.
"""

from typing import Protocol

from overlay.effects import Effect
from overlay.wire.codec import Delta, Vector


class Channel(Protocol):
    """One replicated state. `name` is its key on the wire (`topology`, `ipam`, `dns`, `endpoints`, `policy`)."""

    name: str

    def digest(self) -> int:
        """64 bits that are equal on two peers when their states are equal (and else differ but by chance). Cheap."""
        ...

    def vector(self) -> Vector:
        """What this peer holds, in few bytes, so that another can tell what is missing here."""
        ...

    def missing(self, vector: Vector, named: bool = False) -> Delta | None:
        """All that the sender of `vector` lacks of what this peer holds; None when it lacks nothing.

        `named`: only of what the vector names, each in a version that the sender has (0 stands for nothing).
        """
        ...

    def lacking(self, vector: Vector) -> Vector | None:
        """What to ask the sender of `vector` for (`named`), as far as its vector tells; None: nothing."""
        ...

    def merge(self, delta: Delta, now: int) -> tuple[Delta | None, list[Effect]]:
        """Take in `delta`. Returns what of it was news here (None: nothing), and what has to be done about it.

        Raises `RemoteError` for a conflict that the structure cannot resolve: the mesh marks the channel for that
        neighbour, `status` shows it, and the connection stays.
        """
        ...

    def join(self, *deltas: Delta) -> Delta:
        """One delta that says what all of these (one at least) say: pending news for one neighbour coalesce."""
        ...

    def check_invariants(self) -> None:
        """Assert what must always hold of this structure."""
        ...

"""Messages between the lab and its relay: one JSON object per line each way.

Owns the messages. An order is executed completely, between two frames, and then answered.
"""

from msgspec import Struct

from lab.links import Link

__all__ = ["DirectionCounts", "RelayOrder", "RelayReply", "SteeredWay"]


class SteeredWay(Struct, frozen=True):
    """Frames with this mark belong to this direction, and leave by this port."""

    mark: int
    sender: str
    receiver: str
    port: str


class DirectionCounts(Struct, frozen=True, kw_only=True):
    """Counters of one direction since its link was set."""

    sender: str
    receiver: str
    link: Link
    since: int
    """Nanoseconds that they cover."""
    packets: int = 0
    """Packets that arrived at the relay."""
    bytes: int = 0
    """Their bytes, as IP packets."""
    lost: int = 0
    """Dropped deliberately: by loss, or because the queue of the rate was full."""
    duplicated: int = 0
    corrupted: int = 0
    cut: int = 0
    """In flight when the direction was cut."""
    failed: int = 0
    """Not deliverable: their host is off, or the relay already holds too much."""
    held_p50: int = 0
    """Nanoseconds from arrival to departure, of packets that left; 0 if there were none."""
    held_p99: int = 0
    late_p50: int = 0
    """Nanoseconds by which packets left late."""
    late_p99: int = 0


class RelayOrder(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Any of these changes, applied in this order."""

    id: int
    ways: tuple[SteeredWay, ...] = ()
    """More marks that are steered here."""
    links: tuple[tuple[str, str, Link], ...] = ()
    """(sender, receiver, its link from now on)."""
    seed: int = 0
    ports: tuple[str, ...] = ()
    """Ports that have been created again."""
    cut: tuple[tuple[str, str], ...] | None = None
    """Exactly these directions are cut."""
    count: bool = False


class RelayReply(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result of an order."""

    id: int
    error: str = ""
    ended: tuple[DirectionCounts, ...] = ()
    """Counters of directions under the links that the order replaced."""
    counts: tuple[DirectionCounts, ...] = ()
    overruns: int = 0
    """Frames of any direction dropped because of a full buffer since the last count."""

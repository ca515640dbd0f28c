"""What the lab tells its relay and hears from it: one JSON object per line each way.

Owns the messages. An order is carried out as a whole, between two frames, and then answered.
"""

from msgspec import Struct

from lab.links import Link

__all__ = ["DirectionCounts", "RelayOrder", "RelayReply", "SteeredWay"]


class SteeredWay(Struct, frozen=True):
    """Frames with this mark are of this direction, and go out of this port."""

    mark: int
    sender: str
    receiver: str
    port: str


class DirectionCounts(Struct, frozen=True, kw_only=True):
    """What one direction did since its link was set."""

    sender: str
    receiver: str
    link: Link
    since: int
    """Nanoseconds for which it holds."""
    packets: int = 0
    """That were to pass."""
    bytes: int = 0
    """Of them, as IP packets."""
    lost: int = 0
    """On purpose: by loss, or because the queue of the rate was full."""
    duplicated: int = 0
    corrupted: int = 0
    cut: int = 0
    """Were under way when the direction was cut."""
    failed: int = 0
    """Could not be delivered: their host is off, or the relay holds too much already."""
    held_p50: int = 0
    """Nanoseconds from coming to leaving, of those that left; 0 where none did."""
    held_p99: int = 0
    late_p50: int = 0
    """Nanoseconds between when a packet should have left and when it did."""
    late_p99: int = 0


class RelayOrder(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Any of these things, in this order."""

    id: int
    ways: tuple[SteeredWay, ...] = ()
    """More marks that are steered here."""
    links: tuple[tuple[str, str, Link], ...] = ()
    """(sender, receiver, its link from now on)."""
    seed: int = 0
    ports: tuple[str, ...] = ()
    """Ports that have been made again."""
    cut: tuple[tuple[str, str], ...] | None = None
    """Exactly these directions are cut."""
    count: bool = False


class RelayReply(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of an order."""

    id: int
    error: str = ""
    ended: tuple[DirectionCounts, ...] = ()
    """What directions did under the links that the order replaced."""
    counts: tuple[DirectionCounts, ...] = ()
    overruns: int = 0
    """Frames, of any direction, for which there was no room since the last count."""

"""Observers of each message between simulated peers, on sending and on receipt. Change nothing."""

from typing import TYPE_CHECKING, Any, Protocol

from overlay.config import Address

if TYPE_CHECKING:
    from lab.sim.streams import End
    from lab.sim.world import Peer
    from overlay.effects import SendProbe

__all__ = ["PeerTap"]


class PeerTap(Protocol):
    """Called by peers; `end` is always the peer's own end of a connection."""

    def opened(self, end: "End") -> None:
        """A connection is open, and both sides have sent their first frames."""
        ...

    def wrote(self, end: "End", message: Any) -> None:
        """A message was written to a connection."""
        ...

    def got(self, end: "End", message: Any) -> None:
        """A message was received on a connection."""
        ...

    def closes(self, end: "End") -> None:
        """The peer closes a connection gracefully."""
        ...

    def closed(self, end: "End", reason: str) -> None:
        """The other side or a timeout closed a connection."""
        ...

    def died(self, peer: "Peer") -> None:
        """The process ended, and its kernel resets its connections."""
        ...

    def sent(self, peer: "Peer", destination: Address, message: Any) -> None:
        """A datagram was sent."""
        ...

    def probed(self, peer: "Peer", probe: "SendProbe") -> None:
        """A path probe, or a reply to one, was sent."""
        ...

    def heard(self, peer: "Peer", source: Address, message: Any) -> None:
        """A datagram or a path probe was received."""
        ...

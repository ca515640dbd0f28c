"""What may be told of each message between simulated peers as it is sent and as it comes. Changes nothing."""

from typing import TYPE_CHECKING, Any, Protocol

from overlay.config import Address

if TYPE_CHECKING:
    from lab.sim.streams import End
    from lab.sim.world import Peer
    from overlay.effects import SendProbe

__all__ = ["PeerTap"]


class PeerTap(Protocol):
    """Told by peers; `end` is always the peer's own end of a connection."""

    def opened(self, end: "End") -> None:
        """A connection stands, and both sides have said their first frames."""
        ...

    def wrote(self, end: "End", message: Any) -> None:
        """A message was written to a connection."""
        ...

    def got(self, end: "End", message: Any) -> None:
        """A message came."""
        ...

    def closes(self, end: "End") -> None:
        """The peer ends a connection in good order."""
        ...

    def closed(self, end: "End", reason: str) -> None:
        """The other side, or time, has ended one."""
        ...

    def died(self, peer: "Peer") -> None:
        """The process has ended, and its kernel resets its connections."""
        ...

    def sent(self, peer: "Peer", destination: Address, message: Any) -> None:
        """A datagram was sent."""
        ...

    def probed(self, peer: "Peer", probe: "SendProbe") -> None:
        """A probe of a path was sent, or an answer to one."""
        ...

    def heard(self, peer: "Peer", source: Address, message: Any) -> None:
        """A datagram or a probe came."""
        ...

"""A packet that opens a flow over the overlay. Pure data."""

from msgspec import Struct

from overlay.compiled_policy import Protocol

__all__ = ["Flow"]


class Flow(Struct, frozen=True):
    """Sender, receiver and purpose."""

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
    protocol: Protocol

"""Sends frames out of one interface of the current network namespace. Decides nothing."""

import logging
import socket
from collections.abc import Iterable

from overlay.errors import EnvironmentProblem

__all__ = ["send_frames"]

log = logging.getLogger(__name__)


def send_frames(device: str, frames: Iterable[bytes]) -> None:
    """Send complete Ethernet frames; a frame that the interface does not accept is lost. Raises
    `EnvironmentProblem`."""
    try:
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
    except OSError as error:
        raise EnvironmentProblem(f"cannot open a packet socket on {device}: {error}") from None
    with raw:
        for frame in frames:
            try:
                # Set the protocol for each frame, because the bridge reads it before it reads the frame.
                raw.sendto(frame, (device, int.from_bytes(frame[12:14], "big")))
            except OSError as error:
                log.debug("%s takes no frame: %s", device, error)

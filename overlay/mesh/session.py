"""One control connection as bytes: first frame, version negotiation, framing. Knows no peers and no meaning.

Every frame is a length (4 octets, big-endian, of what follows) and so many octets. The first frame of each side is
`MAGIC`, the lowest and the highest protocol version it speaks (one octet each), and whatever a later version adds;
both then speak the highest version that both know. All later frames hold one message each; whoever has not been
accepted yet has nothing long to say, so that strangers cannot fill the memory of a peer. The driver makes one
`Session` for each TCP connection, sends `outgoing()` at once, feeds what arrives to `receive`, and reports
`TcpOpened` as soon as `agreed` is not None.
"""

from enum import Enum
from typing import Final

from overlay.errors import RemoteError
from overlay.mesh.envelopes import Accept
from overlay.wire import MAX_MESSAGE, Envelope, Message, decode_message, encode_message

MAGIC: Final = b"overlay-mesh"
LOWEST_VERSION: Final = 1
HIGHEST_VERSION: Final = 1
MAX_FIRST_FRAME: Final = 256
"""Bytes that a stranger may send before both sides know that they speak the same protocol."""
MAX_HANDSHAKE: Final = 16 * 1024
"""Bytes of one message until the other side's `Accept` has come."""

_LENGTH = 4


class Phase(Enum):
    """What a session expects to receive."""

    FIRST_FRAME = 1
    HANDSHAKE = 2
    MESSAGES = 3
    BROKEN = 4


_LIMITS = {Phase.FIRST_FRAME: MAX_FIRST_FRAME, Phase.HANDSHAKE: MAX_HANDSHAKE, Phase.MESSAGES: MAX_MESSAGE}


class Session:
    """The codec of one control connection, without I/O."""

    __slots__ = ("_buffer", "_error", "_highest", "_lowest", "_phase", "agreed")

    def __init__(self, lowest: int = LOWEST_VERSION, highest: int = HIGHEST_VERSION) -> None:
        self._lowest = lowest
        self._highest = highest
        self._buffer = bytearray()
        self._phase = Phase.FIRST_FRAME
        self._error = ""
        self.agreed: int | None = None
        """The protocol version of this connection; None until the other side's first frame has arrived."""

    def outgoing(self) -> bytes:
        """The first frame, to be sent before anything else."""
        return _frame(MAGIC + bytes((self._lowest, self._highest)))

    def encode(self, message: Message) -> bytes:
        """The frame of one message. A message beyond `MAX_MESSAGE` is this side's own fault: ValueError."""
        assert self.agreed is not None, "a message was to be sent before a version was agreed on"
        payload = encode_message(message)
        if len(payload) > MAX_MESSAGE:
            raise ValueError(f"message of {len(payload)} bytes; the protocol allows {MAX_MESSAGE}")
        return _frame(payload)

    def receive(self, data: bytes) -> list[Envelope]:
        """The messages that `data` (any piece of the stream) completes, in order.

        Raises `RemoteError` for whatever the protocol does not allow; the session is of no use afterwards.
        """
        if self._phase is Phase.BROKEN:
            raise RemoteError(self._error)
        self._buffer += data
        try:
            return self._take_frames()
        except RemoteError as error:
            self._phase = Phase.BROKEN
            self._error = str(error)
            self._buffer.clear()
            raise

    def _take_frames(self) -> list[Envelope]:
        messages: list[Envelope] = []
        buffer = self._buffer
        start = 0
        while len(buffer) - start >= _LENGTH:
            length = int.from_bytes(buffer[start : start + _LENGTH], "big")
            if length > _LIMITS[self._phase]:
                raise RemoteError(self._too_long(length))
            end = start + _LENGTH + length
            if len(buffer) < end:
                break
            payload = bytes(buffer[start + _LENGTH : end])
            if self._phase is Phase.FIRST_FRAME:
                self._negotiate(payload)
            else:
                message = decode_message(payload)
                messages.append(message)
                if type(message) is Accept:
                    self._phase = Phase.MESSAGES
            start = end
        del buffer[:start]
        return messages

    def _too_long(self, length: int) -> str:
        if self._phase is Phase.FIRST_FRAME:
            return f"first frame announces {length} bytes, at most {MAX_FIRST_FRAME} expected: not a peer of this mesh"
        return f"frame announces {length} bytes; the protocol allows {_LIMITS[self._phase]} now"

    def _negotiate(self, frame: bytes) -> None:
        if not frame.startswith(MAGIC) or len(frame) < len(MAGIC) + 2:
            raise RemoteError(f"first frame is {frame[:32]!r}, expected {MAGIC!r}: not a peer of this mesh")
        lowest, highest = frame[len(MAGIC)], frame[len(MAGIC) + 1]
        common = min(highest, self._highest)
        if lowest > highest or common < max(lowest, self._lowest):
            raise RemoteError(
                f"no common protocol version: the other side speaks {lowest} to {highest}, "
                f"this one {self._lowest} to {self._highest}"
            )
        self.agreed = common
        self._phase = Phase.HANDSHAKE


def _frame(payload: bytes) -> bytes:
    return len(payload).to_bytes(_LENGTH, "big") + payload

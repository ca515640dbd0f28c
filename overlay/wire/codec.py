"""All wire structs and their codec: which structs are allowed where. No protocol logic.

Messages are MessagePack arrays that start with an integer tag; `overlay.mesh.session` has framing, sizes and the first
frame. Decoding raises `RemoteError` for anything invalid, and no other exception.
"""

import msgspec

from overlay.errors import RemoteError
from overlay.wire.envelopes import Body, DatagramMessage, Delta, Envelope, Vector
from overlay.wire.ring import IpamMessage

__all__ = [
    "MAX_DATAGRAM",
    "MAX_MESSAGE",
    "Body",
    "DatagramMessage",
    "Delta",
    "Envelope",
    "IpamMessage",
    "Message",
    "Vector",
    "decode_datagram",
    "decode_message",
    "encode_datagram",
    "encode_message",
]

Message = Envelope | Delta | Vector | Body
"""Everything that a control message can be or contain."""

MAX_MESSAGE = 32 * 1024 * 1024
"""Maximum bytes of one control message."""

MAX_DATAGRAM = 512
"""Maximum bytes of one control datagram."""

DATAGRAM_MAGIC = b"ovc\x01"
"""Prefix of every control datagram; its last byte is the version of the datagram format."""

_encoder = msgspec.msgpack.Encoder()
_message_decoder: msgspec.msgpack.Decoder[Envelope] = msgspec.msgpack.Decoder(Envelope)
_datagram_decoder: msgspec.msgpack.Decoder[DatagramMessage] = msgspec.msgpack.Decoder(DatagramMessage)

# Exceptions of msgspec for malformed, mistyped, too deeply nested and badly encoded input.
_DECODE_ERRORS = (msgspec.MsgspecError, RecursionError, ValueError, OverflowError, MemoryError)


def encode_message(message: Message) -> bytes:
    """The MessagePack form of one message, without framing."""
    return _encoder.encode(message)


def decode_message(data: bytes | memoryview) -> Envelope:
    """Decode one control message, without framing. Raises `RemoteError`."""
    try:
        return _message_decoder.decode(data)
    except _DECODE_ERRORS as error:
        raise RemoteError(f"control message of {len(data)} bytes is not one of this protocol: {error}") from error


def encode_datagram(message: DatagramMessage) -> bytes:
    """The complete payload of one control datagram."""
    return DATAGRAM_MAGIC + _encoder.encode(message)


def decode_datagram(data: bytes) -> DatagramMessage:
    """Decode one control datagram. Raises `RemoteError` if it is malformed, or of another protocol or version."""
    if len(data) > MAX_DATAGRAM:
        raise RemoteError(f"datagram of {len(data)} bytes; a control datagram has at most {MAX_DATAGRAM}")
    if not data.startswith(DATAGRAM_MAGIC):
        raise RemoteError(f"datagram starts with {data[:4]!r}, a control datagram with {DATAGRAM_MAGIC!r}")
    try:
        return _datagram_decoder.decode(memoryview(data)[len(DATAGRAM_MAGIC) :])
    except _DECODE_ERRORS as error:
        raise RemoteError(f"datagram of {len(data)} bytes is not one of this protocol: {error}") from error

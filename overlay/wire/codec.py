"""The whole vocabulary of the wire and its codec: which structs may stand where. No protocol logic.

Messages are MessagePack arrays led by an integer tag; framing, sizes and the first frame stand in
`overlay.mesh.session`. Decoding raises `RemoteError` for whatever is not one of these, never anything else.
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
"""Everything that stands in a control message, whole or within another."""

MAX_MESSAGE = 10 * 1024 * 1024
"""Bytes of one control message at the most."""

MAX_DATAGRAM = 512
"""Bytes of one control datagram at the most."""

DATAGRAM_MAGIC = b"ovc\x01"
"""Leads every control datagram; its last byte is the version of the datagram format."""

_encoder = msgspec.msgpack.Encoder()
_message_decoder: msgspec.msgpack.Decoder[Envelope] = msgspec.msgpack.Decoder(Envelope)
_datagram_decoder: msgspec.msgpack.Decoder[DatagramMessage] = msgspec.msgpack.Decoder(DatagramMessage)

# What msgspec raises for malformed, mistyped, too deeply nested and badly encoded input.
_DECODE_ERRORS = (msgspec.MsgspecError, RecursionError, ValueError, OverflowError, MemoryError)


def encode_message(message: Message) -> bytes:
    """The MessagePack form of one message, without framing."""
    return _encoder.encode(message)


def decode_message(data: bytes | memoryview) -> Envelope:
    """One whole control message, without framing. Raises `RemoteError`."""
    try:
        return _message_decoder.decode(data)
    except _DECODE_ERRORS as error:
        raise RemoteError(f"control message of {len(data)} bytes is not one of this protocol: {error}") from error


def encode_datagram(message: DatagramMessage) -> bytes:
    """The whole payload of one control datagram."""
    return DATAGRAM_MAGIC + _encoder.encode(message)


def decode_datagram(data: bytes) -> DatagramMessage:
    """One control datagram. Raises `RemoteError` for one of another protocol or version, or a malformed one."""
    if len(data) > MAX_DATAGRAM:
        raise RemoteError(f"datagram of {len(data)} bytes; a control datagram has at most {MAX_DATAGRAM}")
    if not data.startswith(DATAGRAM_MAGIC):
        raise RemoteError(f"datagram starts with {data[:4]!r}, a control datagram with {DATAGRAM_MAGIC!r}")
    try:
        return _datagram_decoder.decode(memoryview(data)[len(DATAGRAM_MAGIC) :])
    except _DECODE_ERRORS as error:
        raise RemoteError(f"datagram of {len(data)} bytes is not one of this protocol: {error}") from error

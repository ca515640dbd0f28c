"""Messages of netlink's netfilter family: attributes, dumps, and batches that are carried out whole or not at all.

Owns the bytes and the waiting for answers. Which tables or connections they speak of is for `nftables` and `conntrack`.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

__all__ = ["CREATE", "attribute", "batch", "dump", "nest", "number", "open_socket", "parsed", "text"]

_NETLINK_NETFILTER = 12
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
CREATE = 0x400
_ERROR, _DONE = 2, 3
_INTERRUPTED = 0x10
"""NLM_F_DUMP_INTR: the table changed under the dump."""
_TRIES = 20
"""Dumps that may be interrupted in a row. Any program of the host interrupts them by changing any table."""
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NESTED = 0x8000
_SO_SNDBUFFORCE = 32
_WAIT = 5.0
_RECEIVED = 1 << 17


def open_socket() -> socket.socket:
    """A socket to netfilter. Raises `OSError`."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    sock.bind((0, 0))
    sock.settimeout(_WAIT)
    return sock


def batch(sock: socket.socket, subsystem: int, family: int, messages: list[tuple[int, int, bytes]]) -> None:
    """Carry out (kind, flags, attributes), all or nothing. Raises the first `OSError` of the kernel's."""
    # Only the last one asks to be answered: errors are always told, and a thousand answers overflow the socket.
    data = bytearray(_message(_BATCH_BEGIN, _REQUEST, 0, b"", 0, subsystem))
    for place, (kind, flags, attributes) in enumerate(messages, 1):
        flags |= _REQUEST | (_ACK if place == len(messages) else 0)
        data += _message(subsystem << 8 | kind, flags, place, attributes, family)
    data += _message(_BATCH_END, _REQUEST, len(messages) + 1, b"", 0, subsystem)
    with suppress(OSError):  # without the right to it, a batch that is too large is refused
        sock.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, max(1 << 20, 2 * len(data)))
    sock.send(data)
    first, ended = 0, not messages
    while not ended:
        received = sock.recv(_RECEIVED)
        while len(received) >= 20:
            length, kind, _, sequence, _, code = struct.unpack_from("=IHHIIi", received)
            received = received[(length + 3) & ~3 :]
            if kind == _ERROR:
                first = first or -code
                # Zero is the batch as a whole: nobody answers for its parts.
                ended |= sequence in (0, len(messages))
    if first:
        raise OSError(first, os.strerror(first))


def dump(
    sock: socket.socket, subsystem: int, family: int, kind: int, attributes: bytes = b"", flags: int = _DUMP
) -> list[bytes]:
    """The attributes of all there is. With `_ACK` for flags: of one.

    Raises `OSError`; `InterruptedError` if the tables change so often that they cannot be read now.
    """
    for _ in range(_TRIES):
        sock.send(_message(subsystem << 8 | kind, _REQUEST | flags, 0, attributes, family))
        found, done, interrupted = [], False, False
        while not done:
            data = sock.recv(_RECEIVED)
            place = 0
            while len(data) - place >= 20:
                length, answer, told, _, _ = struct.unpack_from("=IHHII", data, place)
                interrupted |= bool(told & _INTERRUPTED)
                if answer in (_DONE, _ERROR):
                    code = -struct.unpack_from("=i", data, place + 16)[0]
                    if code:
                        raise OSError(code, os.strerror(code))
                    done = True
                else:
                    found.append(data[place + 20 : place + length])
                place += (length + 3) & ~3
        if not interrupted:
            return found
    raise InterruptedError(errno.EINTR, "the tables of nftables change too often to be read")


def one(sock: socket.socket, subsystem: int, family: int, kind: int, attributes: bytes) -> list[bytes]:
    """The attributes of the one that is named. Raises `OSError`."""
    return dump(sock, subsystem, family, kind, attributes, _ACK)


def _message(kind: int, flags: int, sequence: int, attributes: bytes, family: int, subsystem: int = 0) -> bytes:
    body = struct.pack("!BBH", family, 0, subsystem) + attributes
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute."""
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def nest(kind: int, value: bytes) -> bytes:
    """One that holds others."""
    return attribute(kind | _NESTED, value)


def text(kind: int, value: str) -> bytes:
    """One that is a name."""
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int, size: int = 4) -> bytes:
    """One that is a number of this many bytes, in the network's order."""
    return attribute(kind, (value & ((1 << 8 * size) - 1)).to_bytes(size, "big"))


def parsed(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(kind, value) of attributes in a row."""
    place = 0
    while len(data) - place >= 4:
        length, kind = struct.unpack_from("=HH", data, place)
        yield kind & 0x3FFF, data[place + 4 : place + length]
        place += max(4, (length + 3) & ~3)

"""Messages of netlink's netfilter family: attributes, dumps, and atomic batches.

Owns the encoding and the wait for replies. `nftables` and `conntrack` define which tables or connections they are
about.
"""

import os
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress

from overlay.kernel.messages import NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_ERROR
from overlay.kernel.netlink import Netlink, NetlinkError, NetlinkRequest, error_of

__all__ = ["CREATE", "Netfilter", "attribute", "nest", "number", "text"]

_NETLINK_NETFILTER = 12
CREATE = 0x400
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_HEADER = 20
"""Header length of a netfilter message, including its own four bytes."""
_NESTED = 0x8000
_SO_SNDBUFFORCE = 32


class _Request(NetlinkRequest):
    """A message with attributes as bytes."""

    __slots__ = ("attributes", "family", "kind", "resource")

    def __init__(self, kind: int, flags: int, family: int, attributes: bytes = b"", resource: int = 0) -> None:
        self.kind, self.flags, self.family, self.attributes, self.resource = kind, flags, family, attributes, resource
        self.what = f"netfilter {kind:#x}"

    def encode(self, sequence: int) -> bytes:
        body = struct.pack("!BBH", self.family, 0, self.resource) + self.attributes
        return struct.pack("=IHHII", 16 + len(body), self.kind, NLM_F_REQUEST | self.flags, sequence, 0) + body


class Netfilter(Netlink):
    """A socket to one netfilter subsystem."""

    def __init__(self, subsystem: int) -> None:
        """Raises `OSError`."""
        super().__init__(_NETLINK_NETFILTER)
        self._subsystem = subsystem

    def change(self, family: int, messages: Sequence[tuple[int, int, bytes]]) -> None:
        """Carry out (kind, flags, attributes), all or nothing. Raises the kernel's first `OSError`."""
        # Only the last one requests an acknowledgement: errors are always reported, and thousands of replies would
        # overflow the socket.
        data = bytearray(_Request(_BATCH_BEGIN, 0, 0, resource=self._subsystem).encode(0))
        for place, (kind, flags, attributes) in enumerate(messages, 1):
            flags |= NLM_F_ACK if place == len(messages) else 0
            data += _Request(self._subsystem << 8 | kind, flags, family, attributes).encode(place)
        data += _Request(_BATCH_END, 0, 0, resource=self._subsystem).encode(len(messages) + 1)
        with suppress(OSError):  # without the privilege, the kernel refuses a batch that is too large
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, max(1 << 20, 2 * len(data)))
        self._socket.send(data)
        first, ended = 0, not messages
        while not ended:
            for kind, _, sequence, payload in self._receive():
                if kind == NLMSG_ERROR:
                    first = first or error_of(payload)
                    # Zero means the batch as a whole; its parts are not acknowledged.
                    ended |= sequence in (0, len(messages))
        if first:
            raise OSError(first, os.strerror(first))

    def ask(self, family: int, kind: int, attributes: bytes = b"", flags: int = NLM_F_DUMP) -> list[bytes]:
        """The attributes of all objects.

        Raises `OSError`; `InterruptedError` if the tables change too often to be read now.
        """
        request = _Request(self._subsystem << 8 | kind, flags, family, attributes)
        try:
            return [payload[_HEADER:] for payload in self.raw(request)]
        except NetlinkError as error:
            raise OSError(error.errno, error.strerror) from None

    def ask_one(self, family: int, kind: int, attributes: bytes) -> list[bytes]:
        """The attributes of the named object. Raises `OSError`."""
        return self.ask(family, kind, attributes, NLM_F_ACK)


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute."""
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def nest(kind: int, value: bytes) -> bytes:
    """A nested attribute."""
    return attribute(kind | _NESTED, value)


def text(kind: int, value: str) -> bytes:
    """A string attribute."""
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int, size: int = 4) -> bytes:
    """A number of this many bytes, in network byte order."""
    return attribute(kind, (value & ((1 << 8 * size) - 1)).to_bytes(size, "big"))

"""Messages of netlink's netfilter family: attributes, dumps, and batches that are carried out whole or not at all.

Owns the bytes and the waiting for answers. Which tables or connections they speak of is for `nftables` and `conntrack`.
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
"""Of a message of netfilter, its own four bytes among them."""
_NESTED = 0x8000
_SO_SNDBUFFORCE = 32


class _Request(NetlinkRequest):
    """A message whose attributes are bytes."""

    __slots__ = ("attributes", "family", "kind", "resource")

    def __init__(self, kind: int, flags: int, family: int, attributes: bytes = b"", resource: int = 0) -> None:
        self.kind, self.flags, self.family, self.attributes, self.resource = kind, flags, family, attributes, resource
        self.what = f"netfilter {kind:#x}"

    def encode(self, sequence: int) -> bytes:
        body = struct.pack("!BBH", self.family, 0, self.resource) + self.attributes
        return struct.pack("=IHHII", 16 + len(body), self.kind, NLM_F_REQUEST | self.flags, sequence, 0) + body


class Netfilter(Netlink):
    """A socket to one subsystem of netfilter."""

    def __init__(self, subsystem: int) -> None:
        """Raises `OSError`."""
        super().__init__(_NETLINK_NETFILTER)
        self._subsystem = subsystem

    def change(self, family: int, messages: Sequence[tuple[int, int, bytes]]) -> None:
        """Carry out (kind, flags, attributes), all or nothing. Raises the first `OSError` of the kernel's."""
        # Only the last one asks to be answered: errors are always told, and a thousand answers overflow the socket.
        data = bytearray(_Request(_BATCH_BEGIN, 0, 0, resource=self._subsystem).encode(0))
        for place, (kind, flags, attributes) in enumerate(messages, 1):
            flags |= NLM_F_ACK if place == len(messages) else 0
            data += _Request(self._subsystem << 8 | kind, flags, family, attributes).encode(place)
        data += _Request(_BATCH_END, 0, 0, resource=self._subsystem).encode(len(messages) + 1)
        with suppress(OSError):  # without the right to it, a batch that is too large is refused
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, max(1 << 20, 2 * len(data)))
        self._socket.send(data)
        first, ended = 0, not messages
        while not ended:
            for kind, _, sequence, payload in self._receive():
                if kind == NLMSG_ERROR:
                    first = first or error_of(payload)
                    # Zero is the batch as a whole: nobody answers for its parts.
                    ended |= sequence in (0, len(messages))
        if first:
            raise OSError(first, os.strerror(first))

    def ask(self, family: int, kind: int, attributes: bytes = b"", flags: int = NLM_F_DUMP) -> list[bytes]:
        """The attributes of all there is.

        Raises `OSError`; `InterruptedError` if the tables change so often that they cannot be read now.
        """
        request = _Request(self._subsystem << 8 | kind, flags, family, attributes)
        try:
            return [payload[_HEADER:] for payload in self.raw(request)]
        except NetlinkError as error:
            raise OSError(error.errno, error.strerror) from None

    def ask_one(self, family: int, kind: int, attributes: bytes) -> list[bytes]:
        """The attributes of the one that is named. Raises `OSError`."""
        return self.ask(family, kind, attributes, NLM_F_ACK)


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

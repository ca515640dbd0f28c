"""Sets up a host's interfaces by netlink, in the host's init: a few system calls, however many neighbours it has.

Owns the socket and the errors. `lab.fabric.host_messages` makes the messages. Must stay light: every host's init loads
it.
"""

import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence

from lab.fabric.host_messages import PlannedInterface, address_message, at_interface, link_up

__all__ = ["connect_host"]

_HEADER = struct.Struct("=IHHII")
_ERROR = 2
_ACKNOWLEDGE = 4
_FLAGS_AT, _SEQUENCE_AT = 6, 8
_PIECE = 60_000
"""Bytes of messages per system call, below the default send buffer."""


def connect_host(interfaces: Sequence[PlannedInterface], neighbours: Mapping[str, bytes]) -> None:
    """Bring up loopback and these interfaces, with addresses and neighbours. Raises `OSError` with what was refused.

    `neighbours`: file -> its content, because the host does not see the lab's files any more.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as kernel:
        kernel.bind((0, 0))
        _send(kernel, link_up(1), "link set lo up")
        for one in interfaces:
            index = socket.if_nametoindex(one.name)
            _send(kernel, link_up(index, whole=one.whole), f"link set {one.name} up")
            _send(
                kernel,
                address_message(index, one.address, one.prefix),
                f"address add {one.address}/{one.prefix} dev {one.name}",
            )
            for piece in _pieces(at_interface(neighbours[one.neighbours], index, one.place)):
                _send(kernel, piece, f"neighbours at {one.name}")


def _pieces(messages: bytes) -> Iterator[bytes]:
    """The same messages, in whole ones."""
    if messages:
        (size,) = struct.unpack_from("=I", messages)
        step = max(_PIECE // size, 1) * size
        for start in range(0, len(messages), step):
            yield messages[start : start + step]


def _send(kernel: socket.socket, messages: bytes, what: str) -> None:
    """Send messages of one size (or one message), and wait for the answer to the last; errors come for each."""
    (size,) = struct.unpack_from("=I", messages)
    last = len(messages) - size
    marked = bytearray(messages)
    (flags,) = struct.unpack_from("=H", marked, last + _FLAGS_AT)
    struct.pack_into("=H", marked, last + _FLAGS_AT, flags | _ACKNOWLEDGE)
    struct.pack_into("=I", marked, last + _SEQUENCE_AT, 1)
    kernel.send(marked)
    refused = 0
    while True:
        answers = kernel.recv(1 << 18)
        at = 0
        while at + _HEADER.size <= len(answers):
            length, kind, _, sequence, _ = _HEADER.unpack_from(answers, at)
            if kind == _ERROR:
                (code,) = struct.unpack_from("=i", answers, at + _HEADER.size)
                refused = refused or -code
                if sequence == 1:
                    if refused:
                        raise OSError(refused, f"{what}: {os.strerror(refused)}")
                    return
            at += (length + 3) & ~3

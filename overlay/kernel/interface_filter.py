"""Socket filters in the kernel: accept packets from certain interfaces only, and choose one of several sockets.

A host accepts packets for any of its addresses on any interface, so a socket on the address of an engine's bridge is
open to the underlay too. Packets that these filters drop use no queue space, wake no process and open no TCP
connection; the sender gets no answer. Needs no privilege. Knows no protocol above IP.
"""

import ctypes
import socket
import struct
from collections.abc import Sequence

__all__ = ["accept_only_from", "spread_by_source"]

_SO_ATTACH_FILTER = 26
_SO_ATTACH_REUSEPORT_CBPF = 51
_LOAD_WORD = 0x20
"""BPF_LD | BPF_W | BPF_ABS; offsets in linux/filter.h select data outside of the packet."""
_JUMP_EQUAL = 0x15
_MODULO = 0x94
_RETURN, _RETURN_ACCUMULATOR = 0x06, 0x16
_INTERFACE = 0xFFFFF008
"""SKF_AD_OFF + SKF_AD_IFINDEX."""
_NETWORK_HEADER = 0xFFF00000
"""SKF_NET_OFF."""
_WHOLE = 0xFFFFFFFF

_Instruction = tuple[int, int, int, int]
"""Code, jump offsets if true and if false, and the operand."""


def accept_only_from(sock: socket.socket, interfaces: Sequence[int]) -> None:
    """Have the kernel drop packets from other interfaces than these. Connections of a listener inherit the filter."""
    program: list[_Instruction] = [(_LOAD_WORD, 0, 0, _INTERFACE)]
    for index in interfaces:
        program += ((_JUMP_EQUAL, 0, 1, index), (_RETURN, 0, 0, _WHOLE))
    _attach(sock, _SO_ATTACH_FILTER, [*program, (_RETURN, 0, 0, 0)])


def spread_by_source(sock: socket.socket, count: int) -> None:
    """Distribute packets over `count` sockets with SO_REUSEPORT by source, so that one source always uses the same
    socket."""
    last_word = _NETWORK_HEADER + (12 if sock.family == socket.AF_INET else 20)
    program = [(_LOAD_WORD, 0, 0, last_word), (_MODULO, 0, 0, count), (_RETURN_ACCUMULATOR, 0, 0, 0)]
    _attach(sock, _SO_ATTACH_REUSEPORT_CBPF, program)


def _attach(sock: socket.socket, option: int, program: Sequence[_Instruction]) -> None:
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in program))
    sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("@HP", len(program), ctypes.addressof(code)))

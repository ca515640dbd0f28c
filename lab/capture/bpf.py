"""Classic BPF as a kernel runs it, for packets that do not pass a kernel. Pure.

A program comes from tcpdump (`lab.capture.filters`). It has no loops, so it terminates; a read beyond the packet drops
the packet, as does an instruction that a kernel would reject.
"""

from collections.abc import Sequence
from typing import Final

from lab.capture.filters import Instruction

__all__ = ["passes"]

_WORD: Final = 0xFFFFFFFF
_SIZES: Final = {0x00: 4, 0x08: 2, 0x10: 1}


def passes(program: Sequence[Instruction], packet: bytes) -> bool:
    """Whether a filter accepts a packet; an empty one accepts all."""
    if not program:
        return True
    try:
        return _run(program, packet) > 0
    except (IndexError, ValueError, ZeroDivisionError):
        return False


def _run(program: Sequence[Instruction], packet: bytes) -> int:
    a = x = at = 0
    memory = [0] * 16
    while True:
        code, jt, jf, k = program[at]
        at += 1
        kind = code & 0x07
        if kind == 0x00:  # ld
            a = _loaded(code, k, x, packet, memory)
        elif kind == 0x01:  # ldx
            x = 4 * (_read(packet, k, 1) & 0x0F) if code & 0xE0 == 0xA0 else _loaded(code, k, x, packet, memory)
        elif kind == 0x02:
            memory[k] = a
        elif kind == 0x03:
            memory[k] = x
        elif kind == 0x04:
            a = _computed(code & 0xF0, a, x if code & 0x08 else k)
        elif kind == 0x05:
            at += k if code & 0xF0 == 0 else (jt if _holds(code & 0xF0, a, x if code & 0x08 else k) else jf)
        elif kind == 0x06:
            return a if code & 0x18 == 0x10 else k
        elif code & 0xF8:
            a = x
        else:
            x = a


def _loaded(code: int, k: int, x: int, packet: bytes, memory: list[int]) -> int:
    mode = code & 0xE0
    if mode == 0x00:
        return k
    if mode == 0x80:
        return len(packet)
    if mode == 0x60:
        return memory[k]
    if mode not in (0x20, 0x40):
        raise ValueError("no such instruction")
    return _read(packet, k + (x if mode == 0x40 else 0), _SIZES[code & 0x18])


def _read(packet: bytes, at: int, size: int) -> int:
    if at < 0 or at + size > len(packet):
        raise IndexError("beyond the packet")
    return int.from_bytes(packet[at : at + size], "big")


def _computed(operation: int, a: int, value: int) -> int:
    match operation:
        case 0x00:
            a += value
        case 0x10:
            a -= value
        case 0x20:
            a *= value
        case 0x30:
            a //= value
        case 0x40:
            a |= value
        case 0x50:
            a &= value
        case 0x60:
            a = a << value if value < 32 else 0
        case 0x70:
            a >>= value
        case 0x80:
            a = -a
        case 0x90:
            a %= value
        case 0xA0:
            a ^= value
        case _:
            raise ValueError("no such instruction")
    return a & _WORD


def _holds(operation: int, a: int, value: int) -> bool:
    match operation:
        case 0x10:
            return a == value
        case 0x20:
            return a > value
        case 0x30:
            return a >= value
        case 0x40:
            return bool(a & value)
    raise ValueError("no such instruction")

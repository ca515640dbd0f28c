"""Ethernet frames as hosts would have sent them: IPv4 and IPv6, TCP, UDP and ICMP, with correct checksums. Pure.

Owns the headers that the simulator generates around real payload. Knows no lab.
"""

import struct
from ipaddress import ip_address
from typing import Final
from zlib import crc32

__all__ = ["ACK", "FIN", "PUSH", "RESET", "SYN", "Sides", "echo", "mac_of", "tcp", "udp", "vxlan"]

FIN: Final = 1
SYN: Final = 2
RESET: Final = 4
PUSH: Final = 8
ACK: Final = 16
_ICMP, _TCP, _UDP, _ICMP6 = 1, 6, 17, 58
_WINDOW: Final = 0xFFFF
_TTL: Final = 64

Sides = tuple[str, str, str, str]
"""Sender's and receiver's MAC, sender's and receiver's address."""


def mac_of(name: str) -> str:
    """A MAC for something without one: derived from its name, so the same in every run."""
    raw = crc32(name.encode()).to_bytes(4, "big")
    return "02:00:" + ":".join(f"{byte:02x}" for byte in raw)


def tcp(sides: Sides, ports: tuple[int, int], numbers: tuple[int, int], flags: int, payload: bytes = b"") -> bytes:
    """A segment; `numbers` are its sequence and acknowledgement numbers."""
    numbers = numbers[0] & 0xFFFFFFFF, numbers[1] & 0xFFFFFFFF
    head = struct.pack("!HHIIBBHHH", *ports, *numbers, 0x50, flags, _WINDOW, 0, 0)
    return _packet(sides, _TCP, _checked(sides, _TCP, head + payload, 16))


def udp(sides: Sides, ports: tuple[int, int], payload: bytes) -> bytes:
    """A datagram."""
    head = struct.pack("!HHHH", *ports, 8 + len(payload), 0)
    return _packet(sides, _UDP, _checked(sides, _UDP, head + payload, 6))


def echo(sides: Sides, number: int, sequence: int, payload: bytes, *, answer: bool) -> bytes:
    """An echo request, or its reply."""
    if ":" in sides[2]:
        head = struct.pack("!BBHHH", 129 if answer else 128, 0, 0, number & 0xFFFF, sequence & 0xFFFF)
        return _packet(sides, _ICMP6, _checked(sides, _ICMP6, head + payload, 2))
    text = struct.pack("!BBHHH", 0 if answer else 8, 0, 0, number & 0xFFFF, sequence & 0xFFFF) + payload
    return _packet(sides, _ICMP, text[:2] + _sum(text).to_bytes(2, "big") + text[4:])


def vxlan(sides: Sides, ports: tuple[int, int], vni: int, frame: bytes) -> bytes:
    """A frame encapsulated in VXLAN."""
    return udp(sides, ports, struct.pack("!II", 0x08 << 24, vni << 8) + frame)


def _packet(sides: Sides, protocol: int, content: bytes) -> bytes:
    source, target, own, other = sides
    macs = bytes.fromhex(target.replace(":", "")) + bytes.fromhex(source.replace(":", ""))
    here, there = ip_address(own).packed, ip_address(other).packed
    if len(here) == 16:
        return macs + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(content), protocol, _TTL) + here + there + content
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(content), 0, 0x4000, _TTL, protocol, 0) + here + there
    return macs + b"\x08\x00" + head[:10] + _sum(head).to_bytes(2, "big") + head[12:] + content


def _checked(sides: Sides, protocol: int, text: bytes, at: int) -> bytes:
    """The text with the checksum of text and addresses filled in."""
    here, there = ip_address(sides[2]).packed, ip_address(sides[3]).packed
    total = _sum(here + there + struct.pack("!II", len(text), protocol) + text) or 0xFFFF
    return text[:at] + total.to_bytes(2, "big") + text[at + 2 :]


def _sum(data: bytes) -> int:
    """The Internet checksum."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF

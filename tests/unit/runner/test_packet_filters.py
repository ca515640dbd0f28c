"""Filters of packets that no kernel sees: programs of tcpdump on frames of the simulator, as the kernel judges."""

import ctypes
import socket
import struct
from random import Random

import pytest

from lab.capture.bpf import passes
from lab.capture.filters import Instruction, compiled, find_tcpdump, instructions
from lab.capture.frames import ACK, SYN, echo, tcp, udp, vxlan

FOUR = ("02:00:00:00:00:01", "02:00:00:00:00:02", "192.168.0.2", "192.168.0.3")
SIX = (*FOUR[:2], "fd00::2", "fd00::3")
FILTERS = (
    "udp port 6783",
    "icmp[0] == 8",
    "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn",
    "ip6 and (icmp6 or udp portrange 1000-7000)",
    "host 192.168.0.3 and not tcp",
    "src net 192.168.0.0/30 and greater 100",
    "udp[8:4] & 0xff = 0x6f or ip[8] < 64",
    "ether src 02:00:00:00:00:01 and len <= 90",
    "tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420",
    "tcp and (ip[2:2] - ((ip[0]&0xf)<<2) - ((tcp[12]&0xf0)>>2)) != 0",
)
pytestmark = pytest.mark.skipif(find_tcpdump() is None, reason="no tcpdump here (Debian: package tcpdump)")


def frames() -> list[bytes]:
    inner = echo(FOUR, 1, 2, b"x" * 56, answer=True)
    whole = [
        *(udp(sides, (port, 6783), b"ovc" * 9) for sides in (FOUR, SIX) for port in (999, 6783)),
        *(echo(sides, 7, 8, b"odd", answer=answer) for sides in (FOUR, SIX) for answer in (False, True)),
        tcp(FOUR, (40000, 80), (1, 0), SYN),
        tcp(FOUR, (80, 40000), (1, 2), ACK | SYN),
        tcp(FOUR, (40000, 80), (2, 2), ACK, b"GET / HTTP/1.1\r\n\r\n"),
        tcp(SIX, (40000, 80), (2, 2), ACK, b"GET / HTTP/1.1\r\n\r\n"),
        vxlan(FOUR, (50000, 6784), 7, inner),
    ]
    rng = Random(3)
    cut = [frame[: rng.randrange(len(frame))] for frame in whole for _ in range(3)]
    return whole + cut + [rng.randbytes(rng.randrange(1, 120)) for _ in range(40)]


def judged_by_kernel(program: tuple[Instruction, ...], packets: list[bytes]) -> list[bool]:
    """A datagram socket of this machine, which no network has a part in, with the same filter."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in program))
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    found = []
    with one, other:
        other.setsockopt(socket.SOL_SOCKET, 26, struct.pack("@HP", len(program), ctypes.addressof(code)))
        other.setblocking(False)
        for packet in packets:
            try:
                one.send(packet)
                found.append(bool(other.recv(2048)))
            except (BlockingIOError, PermissionError):
                found.append(False)
    return found


@pytest.mark.parametrize("text", FILTERS)
def test_a_filter_lets_pass_what_the_kernel_lets_pass(text: str) -> None:
    program, packets = instructions(compiled(text)), frames()
    ours = [passes(program, packet) for packet in packets]
    assert ours == judged_by_kernel(program, packets)
    assert any(ours) and not all(ours)


@pytest.mark.parametrize("program", [((0x00, 0, 0, 1),), ((0x34, 0, 0, 0), (6, 0, 0, 9)), ((0xFF, 0, 0, 0),) * 3])
def test_a_program_that_no_kernel_takes_lets_nothing_pass(program: tuple[Instruction, ...]) -> None:
    assert not passes(program, bytes(100))
    assert passes((), b"")

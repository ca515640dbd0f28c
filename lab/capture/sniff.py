"""Writes what passes the interfaces of a network namespace to standard output, as pcapng.

Runs on a host of a lab (or in a container's network, entered from there) as a child of the command that captures
(`python3 -m lab.capture.sniff`): it ends with its input, with the host, at a size or a time, and on SIGINT.
Imports little, because hosts have little. A filter is a program of the kernel's own kind (classic BPF) that tcpdump has
made; this file knows no words of filters.
"""

import argparse
import contextlib
import ctypes
import os
import select
import signal
import socket
import struct
import sys
import time

from lab.capture import pcapng
from lab.fabric.syscalls import Clone, setns

_ETH_P_ALL = 3
_SOL_PACKET = 263
_PACKET_STATISTICS = 6
_SO_ATTACH_FILTER = 26
_SO_TIMESTAMPNS = 35
_OUTGOING = 4
_MOST = 1 << 18
_BUFFER = 16 << 20


def main() -> int:
    """Capture until the end; the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--label", default="")
    parser.add_argument("--comment", default="")
    parser.add_argument("--pid", type=int, default=0, help="of a process in whose network it is")
    parser.add_argument("--interface", action="append", default=[])
    parser.add_argument("--most", type=int, required=True, help="bytes of the file")
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--filter", default="", help="classic BPF as `tcpdump -ddd` prints it, with commas")
    parser.add_argument("--overwrite", action="store_true", help="empty the file before the first packet")
    parser.add_argument("--between", default="", help="IPv4 or IPv6 addresses, of which one must be in each packet")
    options = parser.parse_args()
    if options.pid:
        with open(f"/proc/{options.pid}/ns/net", "rb") as network:
            setns(network.fileno(), Clone.NEWNET)
    return _capture(options)


def _capture(options: argparse.Namespace) -> int:
    names = [name for _, name in socket.if_nameindex()]
    usual = [name for name in names if name != "lo" and (options.pid or name.startswith("eth"))]
    wanted = names if options.interface == ["any"] else options.interface or usual
    for name in wanted:
        if name not in names:
            print(f"no interface {name} here; there are {', '.join(names)}", file=sys.stderr)
            return 2
    program = _program(options.filter)
    others = [
        socket.inet_pton(socket.AF_INET6 if ":" in one else socket.AF_INET, one) for one in options.between.split()
    ]
    out = sys.stdout.buffer
    poll = select.poll()
    poll.register(0, select.POLLHUP | select.POLLIN)
    sockets: dict[int, tuple[socket.socket, int]] = {}
    head = pcapng.section("overlay-lab", options.comment)
    for number, name in enumerate(wanted):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        if program is not None:
            sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
        sock.bind((name, _ETH_P_ALL))
        sockets[sock.fileno()] = sock, number
        poll.register(sock.fileno(), select.POLLIN)
        head += pcapng.interface(f"{options.label} {name}".strip())
    ended: list[int] = []
    told, tell = os.pipe2(os.O_NONBLOCK)
    signal.set_wakeup_fd(tell)  # a signal alone does not end a poll
    poll.register(told, select.POLLIN)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.append(1))
    until = time.monotonic() + options.seconds if options.seconds else None
    written, packets = len(head), 0
    if options.overwrite:
        with contextlib.suppress(OSError):  # a device or a pipe
            os.ftruncate(1, 0)
    try:
        out.write(head)
        out.flush()
        print(f"capturing on {', '.join(wanted)} of {options.label}", file=sys.stderr, flush=True)
        while not ended and written < options.most:
            left = None if until is None else (until - time.monotonic()) * 1000
            if left is not None and left <= 0:
                break
            for descriptor, _ in poll.poll(left):
                if descriptor in (0, told):
                    ended.append(1)  # the command is gone, or wants an end
                    continue
                for block in _blocks(*sockets[descriptor], others):
                    if written + len(block) > options.most:
                        print(f"the file would have more than {options.most} bytes: it ends here", file=sys.stderr)
                        ended.append(1)
                        break
                    out.write(block)
                    written, packets = written + len(block), packets + 1
            out.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Wireshark was closed
    lost = sum(
        struct.unpack("II", sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))[1] for sock, _ in sockets.values()
    )
    print(f"{packets} packets, {written} bytes" + (f"; {lost} lost" if lost else ""), file=sys.stderr)
    return 0


def _blocks(sock: socket.socket, number: int, others: list[bytes]) -> list[bytes]:
    """What is there to be read now."""
    found = []
    for _ in range(256):
        try:
            data, more, _, address = sock.recvmsg(_MOST, 64)
        except OSError:
            break
        if others and not any(one in data[12:54] for one in others):
            continue
        t = next((struct.unpack("=qq", value) for _, kind, value in more if kind == _SO_TIMESTAMPNS), None)
        at = t[0] * 1_000_000_000 + t[1] if t is not None else time.time_ns()
        found.append(
            pcapng.packet(number, at, data, 0, pcapng.OUTGOING if address[2] == _OUTGOING else pcapng.INCOMING)
        )
    return found


_keep: list[object] = []


def _program(text: str) -> bytes | None:
    """`struct sock_fprog` of what `tcpdump -ddd` printed."""
    words = [tuple(map(int, line.split())) for line in text.split(",")[1:] if line.strip()]
    if not words:
        return None
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *word) for word in words))
    _keep.append(code)
    return struct.pack("@HP", len(words), ctypes.addressof(code))


if __name__ == "__main__":
    sys.exit(main())

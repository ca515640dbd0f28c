"""Writes the packets on the interfaces of a network namespace to standard output, as pcapng.

Runs on a host of a lab (or in a container's network namespace, entered from there) for the command or the run that
captures (`python3 -m lab.capture.sniff`). It ends with its input, with the host or the container, at a size or a time,
and on SIGINT. It writes only whole blocks. It imports little, because hosts have little installed. A filter is a
classic BPF program compiled by tcpdump; this file does not know the filter language.
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
from collections.abc import Sequence

from lab.capture import pcapng
from lab.fabric.syscalls import Clone, setns

_ETH_P_ALL = 3
_SOL_PACKET = 263
_PACKET_STATISTICS = 6
_SO_ATTACH_FILTER = 26
_SO_TIMESTAMPNS = 35
_OUTGOING = 4
_NETLINK_ROUTE = 0
_RTMGRP_LINK = 1
_INTERFACES = 64
"""Interfaces of one container that are captured at most."""
_MOST = 1 << 18
_BUFFER = 16 << 20
_AT_ONCE = 256
"""Packets read from one interface before it is the others' turn."""


class _Refused(Exception):
    """Capturing is not possible here."""


def main(argv: Sequence[str] | None = None) -> int:
    """Capture until the end; returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--label", default="")
    parser.add_argument("--comment", default="")
    parser.add_argument("--pid", type=int, default=0, help="in whose network it is, and with which it ends")
    parser.add_argument("--interface", action="append", default=[])
    parser.add_argument("--most", type=int, required=True, help="bytes of the file")
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--filter", default="", help="classic BPF as `tcpdump -ddd` prints it, with commas")
    parser.add_argument("--overwrite", action="store_true", help="empty the file before the first packet")
    parser.add_argument("--between", default="", help="IPv4 or IPv6 addresses, of which one must be in each packet")
    parser.add_argument("--told", action="store_true", help="say what is wrong in the comment of a section, too")
    parser.add_argument("--clock", type=int, help="by how much a right wall clock is ahead of this monotonic one (ns)")
    options = parser.parse_args(argv)
    try:
        return _Sniffer(options).run()
    except _Refused as refused:
        print(refused, file=sys.stderr)
        if options.told:
            _write(pcapng.section("overlay-lab", str(refused)))
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # its reader is gone
        return 0


class _Sniffer:
    """Sockets, one for each interface, and the counters."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._life = _enter(options.pid) if options.pid else -1
        self._links = _links() if options.pid and not options.interface else None
        """Tells of interfaces that come later: an overlay may attach a container after its start."""
        self._names = _chosen(options.interface, bool(options.pid))
        self._others = [
            socket.inet_pton(socket.AF_INET6 if ":" in one else socket.AF_INET, one) for one in options.between.split()
        ]
        self._program = _program(options.filter)
        self._seen = {socket.if_nametoindex(name) for name in self._names}
        opened = [_opened(name, self._program) for name in self._names]
        self._sockets = {sock.fileno(): (sock, number) for number, sock in enumerate(opened)}
        clock: int | None = options.clock
        self._shift = 0 if clock is None else clock - (time.time_ns() - time.monotonic_ns())
        self._written = 0
        self._packets = 0

    def run(self) -> int:
        """Capture until the end."""
        options = self._options
        told, tell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(tell)  # a signal alone does not end a poll
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        # A socket keeps its network namespace alive, so this process must end with the container that owns it.
        ends = {0, told, self._life} - {-1}
        poll = select.poll()
        links = -1 if self._links is None else self._links.fileno()
        for descriptor in {*ends, *self._sockets, links} - {-1}:
            poll.register(descriptor, select.POLLIN | select.POLLHUP)
        until = time.monotonic() + options.seconds if options.seconds else None
        head = pcapng.section("overlay-lab", options.comment)
        if options.overwrite:
            with contextlib.suppress(OSError):  # a device or a pipe
                os.ftruncate(1, 0)
        self._put(head + b"".join(pcapng.interface(f"{options.label} {name}".strip()) for name in self._names))
        print(f"capturing on {', '.join(self._names)} of {options.label}", file=sys.stderr, flush=True)
        over = False
        while not over:
            left = None if until is None else max(until - time.monotonic(), 0.0)
            ready = {descriptor for descriptor, _ in poll.poll(None if left is None else left * 1000)}
            over = bool(ready & ends) or left == 0.0
            if links in ready:
                for descriptor in self._new_interfaces():
                    poll.register(descriptor, select.POLLIN | select.POLLHUP)
            # Packets that have arrived by the end are still written.
            full = [self._take(descriptor) for descriptor in (self._sockets if over else ready & self._sockets.keys())]
            over = over or any(full)
        self._count()
        return 0

    def _new_interfaces(self) -> list[int]:
        """Capture on the interfaces that came since the last look; returns their sockets' descriptors."""
        assert self._links is not None
        with contextlib.suppress(OSError):  # nothing more, or so much that the kernel dropped some: all are looked at
            while True:
                self._links.recv(1 << 16)
        found = []
        for index, name in socket.if_nameindex():
            if index in self._seen or name == "lo" or len(self._seen) >= _INTERFACES:
                continue
            try:
                sock = _opened(name, self._program)
            except OSError:
                continue  # gone again
            self._seen.add(index)
            self._sockets[sock.fileno()] = (sock, len(self._names))
            self._names.append(name)
            self._put(pcapng.interface(f"{self._options.label} {name}".strip()))
            found.append(sock.fileno())
        return found

    def _take(self, descriptor: int) -> bool:
        """Write an interface's packets; returns whether the size limit is reached."""
        sock, number = self._sockets[descriptor]
        room, data = self._options.most - self._written, bytearray()
        for block in self._blocks(sock, number):
            if len(data) + len(block) > room:
                self._put(bytes(data))
                print(f"the file would have more than {self._options.most} bytes: it ends here", file=sys.stderr)
                return True
            data += block
            self._packets += 1
        self._put(bytes(data))
        return False

    def _blocks(self, sock: socket.socket, number: int) -> list[bytes]:
        found = []
        for _ in range(_AT_ONCE):
            try:
                data, more, _, address = sock.recvmsg(_MOST, 64)
            except OSError:
                break
            if self._others and not any(one in data[12:54] for one in self._others):
                continue
            t = next((struct.unpack("=qq", value) for _, kind, value in more if kind == _SO_TIMESTAMPNS), None)
            at = (t[0] * 1_000_000_000 + t[1] if t is not None else time.time_ns()) + self._shift
            flags = pcapng.OUTGOING if address[2] == _OUTGOING else pcapng.INCOMING
            found.append(pcapng.packet(number, at, data, 0, flags))
        return found

    def _count(self) -> None:
        """Write the counters: packets delivered, and packets dropped by the kernel."""
        lost, blocks = 0, b""
        for sock, number in self._sockets.values():
            received, dropped = struct.unpack("II", sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
            lost += dropped
            blocks += pcapng.statistics(number, time.time_ns() + self._shift, received, dropped)
        if self._written + len(blocks) <= self._options.most:
            self._put(blocks)
        words = f"{self._packets} packets, {self._written} bytes"
        print(words + (f"; {lost} lost" if lost else ""), file=sys.stderr)

    def _put(self, data: bytes) -> None:
        if data:
            _write(data)
        self._written += len(data)


def _enter(pid: int) -> int:
    """Enter the network namespace of a process; returns a descriptor that is ready when the process ends."""
    try:
        life = os.pidfd_open(pid)
        with open(f"/proc/{pid}/ns/net", "rb") as network:
            setns(network.fileno(), Clone.NEWNET)
    except OSError as error:
        raise _Refused(f"the container is gone ({error.strerror})") from None
    return life


def _chosen(asked: Sequence[str], container: bool) -> list[str]:
    names = [name for _, name in socket.if_nameindex()]
    usual = [name for name in names if name != "lo" and (container or name.startswith("eth"))]
    wanted = names if list(asked) == ["any"] else list(asked) or usual
    for name in wanted:
        if name not in names:
            raise _Refused(f"no interface {name} here; there are {', '.join(names)}")
    return wanted


def _links() -> socket.socket:
    """A netlink socket (rtnetlink(7)) that is readable when an interface of this network namespace changes."""
    links = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_ROUTE)
    links.bind((0, _RTMGRP_LINK))
    return links


def _opened(name: str, program: bytes | None) -> socket.socket:
    """A socket that gets the packets of an interface."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    if program is not None:
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
        except OSError as error:
            raise _Refused(f"the kernel does not take the filter: {error.strerror}") from None
    sock.bind((name, _ETH_P_ALL))
    return sock


def _write(data: bytes) -> None:
    """Write all bytes. On a full disk the partial write is undone, and the capture ends."""
    done = 0
    while done < len(data):
        try:
            done += os.write(1, data[done:])
        except BrokenPipeError:
            raise
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(1, os.lseek(1, 0, os.SEEK_CUR) - done)
            raise _Refused(f"it cannot be written: {error.strerror}") from None


_keep: list[object] = []


def _program(text: str) -> bytes | None:
    """`struct sock_fprog` from the output of `tcpdump -ddd`."""
    words = [tuple(map(int, line.split())) for line in text.split(",")[1:] if line.strip()]
    if not words:
        return None
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *word) for word in words))
    _keep.append(code)
    return struct.pack("@HP", len(words), ctypes.addressof(code))


if __name__ == "__main__":
    sys.exit(main())

"""The datagrams of the control port on real sockets: control messages and tunnel packets, many in one system call.

Owns the two sockets (IPv4, IPv6) and segmentation offload (UDP_SEGMENT and UDP_GRO, Linux 4.18 and 5.0). Without
UDP_SEGMENT each datagram is sent by its own call; receiving is always batched (`recvmmsg`). Does not know what messages
mean; the first byte distinguishes tunnel packets from control datagrams.
"""

import asyncio
import errno
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from overlay.config import Address
from overlay.datapath.sleeve import Flag
from overlay.datapath.tunnel_session import Send, Socket, datagrams
from overlay.errors import RemoteError
from overlay.inputs import Datagram, Input
from overlay.runtime.rate_limited_log import RateLimitedLog
from overlay.runtime.recvmmsg import ReceiveBuffers
from overlay.runtime.scheduling import BUFFER, widen
from overlay.runtime.tcp import bind_all
from overlay.wire.codec import DatagramMessage, decode_datagram, encode_datagram

__all__ = ["UdpDriver"]

_SOL_UDP = 17
_UDP_SEGMENT = 103
_UDP_GRO = 104
_IP_MTU_DISCOVER = 10
_IPV6_MTU_DISCOVER = 23
_PMTUDISC_PROBE = 3
_MOST = 65_536
_AT_ONCE = 32
"""Datagrams, or joined datagrams, in one system call."""
_BATCH = 4
"""Such calls in one turn of the loop, so that other work does not wait long."""


class TunnelSink(Protocol):
    """Receives tunnel packets (`overlay.runtime.sleeve`)."""

    def received(self, data: bytes, segment: int, source: Socket) -> None:
        """Datagrams of `segment` bytes each (0: a single one)."""
        ...

    def receive(self, slots: ReceiveBuffers, descriptor: int) -> tuple[int, int]:
        """Receive datagrams into slots; returns their number, and how many of the first are handled already, so that
        the others are passed on. Raises `OSError`."""
        ...

    def turn_over(self) -> None:
        """All available packets have been passed on."""
        ...


class UdpDriver:
    """The control port of one peer. `sink` receives control messages, `tunnel` the tunnel's packets if there is a
    tunnel."""

    def __init__(self, port: int, sink: Callable[[Input], None], complaints: RateLimitedLog, host: str = "") -> None:
        self._port = port
        self._sink = sink
        self._complaints = complaints
        self._host = host
        self._sockets: dict[int, socket.socket] = {}
        self._descriptors = (-1, -1)
        self.tunnel: TunnelSink | None = None
        self.segments = True
        """Whether the kernel supports UDP_SEGMENT, as far as is known."""
        self._receptions = ReceiveBuffers(_AT_ONCE, _MOST)
        self.joins = True
        """Whether the kernel supports UDP_GRO."""
        self.buffer = BUFFER
        """Bytes of the receiving buffer that the kernel allowed."""
        self.dropped = 0
        """Datagrams that the kernel did not accept."""

    async def listen(self) -> None:
        """Open the port. Raises `EnvironmentProblem`."""
        loop = asyncio.get_running_loop()
        for sock in bind_all(socket.SOCK_DGRAM, self._port, "UDP", self._host):
            self.buffer = widen(sock, BUFFER)
            # The tunnel does its own path MTU discovery; the kernel must neither fragment datagrams nor trust ICMP.
            with suppress(OSError):
                if sock.family == socket.AF_INET:
                    sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
                else:
                    sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
            try:
                sock.setsockopt(_SOL_UDP, _UDP_GRO, 1)
            except OSError:
                self.joins = False
            self._sockets[sock.family] = sock
            four, six = (self._sockets.get(family) for family in (socket.AF_INET, socket.AF_INET6))
            self._descriptors = (four.fileno() if four else -1, six.fileno() if six else -1)
            loop.add_reader(sock.fileno(), self._readable, sock)

    def send(self, destination: Address, message: DatagramMessage) -> None:
        """Carry out `effects.SendDatagram`."""
        sock = self._socket_for(destination.host)
        if sock is not None:
            # Heartbeats detect unreachable hosts.
            with suppress(OSError):
                sock.sendto(encode_datagram(message), (destination.host, destination.port))

    def send_many(self, sends: list[Send]) -> None:
        """Send the tunnel's packets. If the kernel does not accept a packet it is lost, as on a wire."""
        for address, buffers, segment in sends:
            sock = self._socket_for(address[0])
            if sock is None:
                continue
            if segment and self.segments:
                try:
                    sock.sendmsg(buffers, [(_SOL_UDP, _UDP_SEGMENT, struct.pack("=H", segment))], 0, address)
                    continue
                except OSError as error:
                    if error.errno not in (errno.EINVAL, errno.EIO, errno.EMSGSIZE, errno.ENOPROTOOPT):
                        self.dropped += -(-sum(map(len, buffers)) // segment)
                        continue
                    if error.errno in (errno.EIO, errno.ENOPROTOOPT):
                        self.segments = False
            for packet in datagrams(buffers, segment):
                try:
                    sock.sendto(packet, address)
                except OSError:
                    self.dropped += 1

    @property
    def descriptors(self) -> tuple[int, int]:
        """The sockets of IPv4 and IPv6 for datagrams that the kernel cuts, -1 where there is none."""
        return self._descriptors if self.segments else (-1, -1)

    def close(self) -> None:
        """Close both sockets."""
        self._descriptors = (-1, -1)
        loop = asyncio.get_running_loop()
        for sock in self._sockets.values():
            loop.remove_reader(sock.fileno())
            sock.close()
        self._sockets.clear()

    def _socket_for(self, host: str) -> socket.socket | None:
        return self._sockets.get(socket.AF_INET6 if ":" in host else socket.AF_INET)

    def _readable(self, sock: socket.socket) -> None:
        tunnel, receptions = self.tunnel, self._receptions
        for _ in range(_BATCH):
            try:
                if tunnel is None:
                    number, first = receptions.receive(sock.fileno()), 0
                else:
                    number, first = tunnel.receive(receptions, sock.fileno())
            except OSError:
                break
            for data, segment, source in receptions.datagrams(number, first) if first < number else ():
                if data and data[0] & Flag.TUNNEL:
                    if tunnel is not None:
                        tunnel.received(data, segment, source)
                    continue
                for start in range(0, len(data), segment or len(data) or 1):
                    self._control(data[start : start + (segment or len(data))], source)
            if tunnel is not None and first < number:
                tunnel.turn_over()
            if number < receptions.count:
                break

    def _control(self, data: bytes, source: Any) -> None:
        """Handle one control datagram."""
        address = Address(str(source[0]), int(source[1]))
        try:
            message = decode_datagram(data)
        except RemoteError as error:
            self._complaints.complain("udp", address.host, str(error))
            return
        self._sink(Datagram(address, message))

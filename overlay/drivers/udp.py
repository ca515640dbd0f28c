"""The control port's datagrams on real sockets. Owns the two sockets (IPv4, IPv6); knows no messages' meaning."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from overlay.config import Address
from overlay.drivers.complaints import Complaints
from overlay.drivers.tcp import bind_all
from overlay.errors import RemoteError
from overlay.inputs import Datagram, Input
from overlay.wire import DatagramMessage, decode_datagram, encode_datagram

__all__ = ["UdpDriver"]


class _Port(asyncio.DatagramProtocol):
    def __init__(self, driver: "UdpDriver") -> None:
        self._driver = driver

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._driver.received(data, Address(str(addr[0]), int(addr[1])))

    def error_received(self, exc: Exception) -> None:
        """Unreachable hosts are the heartbeats' business."""


class UdpDriver:
    """The control port of one peer. `sink` takes what arrives."""

    def __init__(self, port: int, sink: Callable[[Input], None], complaints: Complaints, host: str = "") -> None:
        self._port = port
        self._sink = sink
        self._complaints = complaints
        self._host = host
        self._transports: dict[int, asyncio.DatagramTransport] = {}

    async def listen(self) -> None:
        """Open the port. Raises `EnvironmentProblem`."""
        loop = asyncio.get_running_loop()
        for sock in bind_all(socket.SOCK_DGRAM, self._port, "UDP", self._host):
            transport, _ = await loop.create_datagram_endpoint(lambda: _Port(self), sock=sock)
            self._transports[sock.family] = transport

    def send(self, destination: Address, message: DatagramMessage) -> None:
        """Carry out `effects.SendDatagram`."""
        family = socket.AF_INET6 if ":" in destination.host else socket.AF_INET
        transport = self._transports.get(family)
        if transport is not None:
            transport.sendto(encode_datagram(message), (destination.host, destination.port))

    def received(self, data: bytes, source: Address) -> None:
        """One datagram came in."""
        try:
            message = decode_datagram(data)
        except RemoteError as error:
            self._complaints.complain(f"udp {source.host}", str(error))
            return
        self._sink(Datagram(source, message))

    def close(self) -> None:
        """Close both sockets."""
        for transport in self._transports.values():
            transport.close()

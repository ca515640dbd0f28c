"""The userspace tunnel on a real host: its port on the bridge, and the probes of both paths.

Owns the packet sockets and the work of one turn of the event loop; `overlay.datapath.tunnel` decides, this module moves
bytes. The port is an AF_PACKET socket with virtio-net headers on one end of a veth pair, whose other end is on the
bridge. This is as fast as a TAP device, and the owner of the network namespace may do it.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from overlay.config import PeerName
from overlay.datapath import fast_probe
from overlay.datapath.fast_probe import ETHERTYPE, FastProbe
from overlay.datapath.inner import VNET
from overlay.datapath.tunnel import Tunnel
from overlay.datapath.tunnel_session import Socket
from overlay.datapath.vxlan import BRIDGE, TUNNEL_DEVICE
from overlay.effects import SendProbe
from overlay.env import SECOND
from overlay.errors import RemoteError
from overlay.inputs import Input, ProbeHeard, TrafficSeen
from overlay.kernel.forwarding import Forwarding
from overlay.runtime.recvmmsg import ReceiveBuffers, keep_heap
from overlay.runtime.udp import UdpDriver

__all__ = ["Sleeve"]

log = logging.getLogger(__name__)

_SOL_PACKET = 263
_PACKET_VNET_HDR = 15
_PACKET_IGNORE_OUTGOING = 23
_ETH_P_ALL = 0x0003
_BUFFER = 4 << 20
_MOST = 70_000
_BATCH = 32
"""Frames handled in one turn of the loop, so that other work does not wait long."""
_LOOK = 1.0
"""Seconds between two reads of the kernel's forwarding counters."""


class Sleeve:
    """The tunnel's driver. `start` opens the port; without packet sockets only the kernel's path works."""

    def __init__(
        self, own: PeerName, tunnel: Tunnel, udp: UdpDriver, forwarding: Forwarding, sink: Callable[[Input], None],
        holder: Callable[[str], PeerName | None], clock: Callable[[], int],
    ) -> None:  # fmt: skip
        self._own = own
        self._tunnel = tunnel
        self._udp = udp
        self._forwarding = forwarding
        self._sink = sink
        self._holder = holder
        self._clock = clock
        self._port: socket.socket | None = None
        self._receptions = ReceiveBuffers(_BATCH, _MOST)
        self._probes: socket.socket | None = None
        self._out: dict[int, socket.socket] = {}
        """Sockets for sending probes of the kernel's paths, by index of the VXLAN device."""
        self._looking: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Open the port and listen for probes. Raises `OSError`."""
        keep_heap()
        port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
        port.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
        with suppress(OSError):  # Linux 4.20; on older kernels `_own_frame` filters them
            port.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            port.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
        port.bind((TUNNEL_DEVICE, _ETH_P_ALL))
        self._port = port
        self._probes = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
        self._probes.bind((BRIDGE, ETHERTYPE))
        for device in self._forwarding.devices.vxlans:
            out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
            self._out[device] = out
            out.bind((socket.if_indextoname(device), 0))
        loop = asyncio.get_running_loop()
        loop.add_reader(port.fileno(), self._readable)
        loop.add_reader(self._probes.fileno(), self._probed)
        self._udp.tunnel = self
        self._looking = loop.call_later(_LOOK, self._look)

    def close(self) -> None:
        """Close the port."""
        self._udp.tunnel = None
        if self._looking is not None:
            self._looking.cancel()
        loop = asyncio.get_running_loop()
        for sock in (self._port, self._probes):
            if sock is not None:
                loop.remove_reader(sock.fileno())
                sock.close()
        for sock in self._out.values():
            sock.close()
        self._port = self._probes = None
        self._out.clear()

    # --- probes -------------------------------------------------------------------------------------------------------

    def send_probe(self, effect: SendProbe) -> None:
        """Carry out `effects.SendProbe`."""
        if not effect.fast:
            self._tunnel.probe(effect.peer, effect.nonce, effect.size, self._clock(), effect.answer)
            self._udp.send_many(self._tunnel.take_sends())
        elif (out := self._out.get(self._forwarding.port(host := effect.via or effect.address.host))) is not None:
            self._forwarding.set_bridge_of(effect.peer, host)
            frame = fast_probe.encode(FastProbe(self._own, effect.nonce, effect.size, effect.answer), effect.peer)
            with suppress(OSError):  # too big for the device, or the device is down: the probe is lost
                out.send(frame)

    def _probed(self) -> None:
        assert self._probes is not None
        for _ in range(_BATCH):
            try:
                frame = self._probes.recv(_MOST)
            except OSError:
                return
            try:
                probe = fast_probe.decode(frame)
            except RemoteError:
                continue
            self._sink(ProbeHeard(probe.sender, True, probe.nonce, probe.size, probe.answer))

    def _look(self) -> None:
        """Tell the node which peers' containers have traffic, because their paths are watched more closely."""
        self._looking = asyncio.get_running_loop().call_later(_LOOK, self._look)
        peers = {self._holder(mac) for mac in self._forwarding.used(int(_LOOK * SECOND))}
        peers.update(self._tunnel.take_busy())
        seen = tuple(sorted(peer for peer in peers if peer is not None))
        if seen:
            self._sink(TrafficSeen(seen))

    # --- bytes --------------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        assert self._port is not None
        receptions, tunnel, now = self._receptions, self._tunnel, self._clock()
        try:
            number = receptions.receive(self._port.fileno())
        except OSError as error:
            log.debug("the tunnel's port: %s", error)
            return
        for data in receptions.packets(number):
            tunnel.outgoing(data, now)
        self._flush()

    def received(self, data: bytes, segment: int, source: Socket) -> None:
        """See `overlay.runtime.udp.TunnelSink`."""
        self._tunnel.incoming(data, segment, source, self._clock())

    def turn_over(self) -> None:
        """See `overlay.runtime.udp.TunnelSink`."""
        self._flush()
        for heard in self._tunnel.take_heard():
            self._sink(heard)

    def _flush(self) -> None:
        sends = self._tunnel.take_sends()
        if sends:
            self._udp.send_many(sends)
        writes = self._tunnel.take_writes()
        if writes and self._port is not None:
            descriptor = self._port.fileno()
            for buffers in writes:
                try:
                    os.writev(descriptor, buffers)
                except OSError as error:
                    self._tunnel.counts["lost"] += 1
                    log.debug("the tunnel's port takes no frame of %d bytes: %s", sum(map(len, buffers)), error)

    def report(self) -> dict[str, Any]:
        """The kernel features in use, for `status`."""
        return {
            "port": self._port is not None,
            "segmentation": self._udp.segments,
            "coalescing": self._udp.joins,
            "dropped": self._udp.dropped,
        }


assert VNET.size == 10, "the kernel's default size of a virtio-net header on packet sockets"

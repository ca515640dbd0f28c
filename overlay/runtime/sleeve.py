"""The userspace tunnel on a real host: its port on the bridge, and the probes of both paths.

Owns the work of one turn of the event loop; `overlay.datapath.tunnel` decides, `tunnel_port` and `udp` have the
sockets, this module moves bytes.
"""

import asyncio
import logging
import os
import re
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
from overlay.runtime.rows.loading import loaded
from overlay.runtime.rows.row_calls import CompiledRows
from overlay.runtime.scheduling import gain_precedence, leave_precedence, shortcomings
from overlay.runtime.tunnel_port import TunnelPort
from overlay.runtime.udp import UdpDriver

__all__ = ["Sleeve"]

log = logging.getLogger(__name__)

_MOST = 70_000
_BATCH = 32
"""Frames handled in one turn of the loop, so that other work does not wait long."""
_TURN = 256 << 10
"""Bytes that a queue is served before the next one, of several."""
_LEAST = 4
"""The same in frames, at least."""
_JOINS_DATAGRAMS = (6, 2)
"""The kernel since which a packet socket takes several datagrams as one."""
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
        self._port: TunnelPort | None = None
        self._receptions = ReceiveBuffers(_BATCH, _MOST)
        self._probes: socket.socket | None = None
        self._out: dict[int, socket.socket] = {}
        """Sockets for sending probes of the kernel's paths, by index of the VXLAN device."""
        self._looking: asyncio.TimerHandle | None = None
        self._turns: dict[socket.socket, int] = {}
        """How many frames of a queue fill its turn, as long as they were lately."""
        self._rows: CompiledRows | None = None
        self._uncompiled = ""
        self._first = False
        """Whether it has precedence: only while it carries frames, because a daemon also does much that can wait."""
        self._scheduling = ""

    def start(self) -> None:
        """Open the port and listen for probes. Raises `OSError`."""
        keep_heap()
        self._scheduling = gain_precedence()  # to know whether it may
        leave_precedence()
        self._first = False
        self._tunnel.set_join_datagrams(_release() >= _JOINS_DATAGRAMS)
        library = loaded()
        self._rows = CompiledRows(library, self._tunnel) if not isinstance(library, str) else None
        self._uncompiled = library if isinstance(library, str) else ""
        self._port = TunnelPort(TUNNEL_DEVICE)
        self._probes = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
        self._probes.bind((BRIDGE, ETHERTYPE))
        for device in self._forwarding.devices.vxlans:
            out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
            self._out[device] = out
            out.bind((socket.if_indextoname(device), 0))
        loop = asyncio.get_running_loop()
        for queue in self._port.sockets:
            loop.add_reader(queue.fileno(), self._readable, queue)
        loop.add_reader(self._probes.fileno(), self._probed)
        self._udp.tunnel = self
        self._looking = loop.call_later(_LOOK, self._look)

    def close(self) -> None:
        """Close the port."""
        self._udp.tunnel = None
        if self._rows is not None:
            self._rows.close()
            self._rows = None
        if self._looking is not None:
            self._looking.cancel()
        loop = asyncio.get_running_loop()
        queues = self._port.sockets if self._port is not None else []
        for sock in (*queues, self._probes):
            if sock is not None:
                loop.remove_reader(sock.fileno())
                sock.close()
        for sock in self._out.values():
            sock.close()
        self._port = self._probes = None
        self._turns.clear()
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
        carried = self._tunnel.take_busy()
        peers.update(carried)
        if carried and not self._first:
            self._scheduling = gain_precedence()
        elif self._first and not carried:
            leave_precedence()
        self._first = bool(carried)
        if carried and self._port is not None and self._port.missed:
            for queue in self._port.spread():
                asyncio.get_running_loop().add_reader(queue.fileno(), self._readable, queue)
        seen = tuple(sorted(peer for peer in peers if peer is not None))
        if seen:
            self._sink(TrafficSeen(seen))

    # --- bytes --------------------------------------------------------------------------------------------------------

    def _readable(self, queue: socket.socket) -> None:
        receptions, tunnel, rows, now = self._receptions, self._tunnel, self._rows, self._clock()
        most = self._turns.get(queue, _BATCH)
        try:
            if rows is not None and tunnel.quiet:
                number, left = rows.turn_out(receptions, most, now, queue.fileno(), self._udp)
                size = rows.received_bytes
            else:
                number = receptions.receive(queue.fileno(), most)
                left, size = list(range(number)), receptions.total(number)
        except OSError as error:
            log.debug("the tunnel's port: %s", error)
            return
        if number and self._port is not None and len(self._port.sockets) > 1:
            self._turns[queue] = min(max(_TURN // (size // number + 1), _LEAST), _BATCH)
        for slot in left:
            tunnel.outgoing(receptions.packet(slot), now)
        if left:
            self._flush()

    def received(self, data: bytes, segment: int, source: Socket) -> None:
        """See `overlay.runtime.udp.TunnelSink`."""
        self._tunnel.incoming(data, segment, source, self._clock())

    def receive(self, slots: ReceiveBuffers, descriptor: int) -> tuple[int, int]:
        """See `overlay.runtime.udp.TunnelSink`."""
        if self._rows is None or self._port is None or not self._tunnel.quiet:
            return slots.receive(descriptor), 0
        return self._rows.turn_in(slots, self._clock(), descriptor, self._port.descriptor)

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
            descriptor = self._port.descriptor
            for buffers in writes:
                try:
                    os.writev(descriptor, buffers)
                except OSError as error:
                    self._tunnel.counts["lost"] += 1
                    log.debug("the tunnel's port takes no frame of %d bytes: %s", sum(map(len, buffers)), error)

    def report(self) -> dict[str, Any]:
        """The kernel features in use, for `status`."""
        port = self._port
        buffer = min(port.buffer, self._udp.buffer) if port is not None else self._udp.buffer
        return {
            "port": port is not None,
            "queues": len(port.sockets) if port is not None else 0,
            "missed": port.missed if port is not None else 0,
            "segmentation": self._udp.segments,
            "coalescing": self._udp.joins,
            "dropped": self._udp.dropped,
            "compiled": self._rows is not None,
            "uncompiled": self._uncompiled,
            "scheduling": self._scheduling,
            "refused": shortcomings(self._scheduling, buffer),
        }


def _release() -> tuple[int, ...]:
    """The kernel's version: (6, 2)."""
    return tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])


assert VNET.size == 10, "the kernel's default size of a virtio-net header on packet sockets"

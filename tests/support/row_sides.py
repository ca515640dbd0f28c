"""One peer of two, its tunnel as Python alone or with compiled rows, and the frames of its containers."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import CDLL
from typing import Any

from filled_slots import FilledSlots
from tunnels import Tunnels, mac

from overlay.datapath import inner
from overlay.datapath.inner import NEEDS_CSUM, VNET, Gso, layers
from overlay.datapath.tunnel_session import Send, datagrams
from overlay.runtime.rows.row_calls import CompiledRows, sockaddr


class FilledRows(CompiledRows):
    """Compiled rows without system calls: of slots that a test has filled."""

    def outgoing(self, slots: FilledSlots, number: int, now: int) -> tuple[list[Send], list[int]]:
        """The packets of frames, and the slots that are left, in order."""
        if not self._tunnel.quiet:
            return [], list(range(number))
        if self._copied != self._tunnel.changes or now >= self._until:
            self._copy(now)
        self._turn.received = number
        self._library.rows_frames(self._turn_at, slots.headers, slots.size)
        left = self._left(number, now)
        return self._sends(0), left

    def incoming(self, slots: FilledSlots, number: int, now: int) -> tuple[list[bytes], int]:
        """The writes to the port for datagrams, and how many slots they took."""
        if self._copied != self._tunnel.changes:
            self._copy(now)
        self._turn.received = number
        self._library.rows_datagrams(self._turn_at, slots.headers, slots.size)
        self._note_received()
        writes = [bytes(self._view[each.at : each.at + each.length]) for each in self._pieces[: self._turn.count]]
        return writes, self._turn.taken


class Side:
    """One peer of two, as Python alone or with compiled rows."""

    def __init__(self, index: int, library: CDLL | None, *, sealed: bool) -> None:
        world = Tunnels(2, [(0, 1)], sealed=sealed)
        self.tunnel = world.tunnels[index]
        self.tunnel.set_join_datagrams(True)
        self.other = world.tunnels[1 - index]
        self.now = world.now
        self.slots = FilledSlots(32, 70_000)
        self.rows = FilledRows(library, self.tunnel) if library else None
        self.port = FilledSlots(32, 65_536)
        self.taken = 0

    def out(self, frames: list[bytes]) -> list[bytes]:
        """The packets for these frames of the port, each with its virtio-net header."""
        sends: list[Any] = []
        number = self.slots.fill([(frame, 0, b"") for frame in frames])
        left: Sequence[int] = range(number)
        if self.rows is not None:
            made, left = self.rows.outgoing(self.slots, number, self.now)
            sends = [(address, [bytes(buffer) for buffer in buffers], segment) for address, buffers, segment in made]
            self.taken += number - len(left)
        for slot in left:
            self.tunnel.outgoing(self.slots.packet(slot), self.now)
        sends += self.tunnel.take_sends()
        assert all(len(datagrams(buffers, segment)) <= 64 for _, buffers, segment in sends)
        return [bytes(packet) for _, buffers, segment in sends for packet in datagrams(buffers, segment)]

    def incoming(self, packets: list[tuple[bytes, int]], source: tuple[str, int] | None = None) -> list[bytes]:
        """The writes to the port for these slots of the socket."""
        (session,) = self.tunnel.sessions
        number = self.port.fill([(data, segment, sockaddr(source or session.address)) for data, segment in packets])
        done = 0
        writes: list[bytes] = []
        if self.rows is not None:
            writes, done = self.rows.incoming(self.port, number, self.now)
            self.taken += done
        for data, segment, origin in self.port.datagrams(number, done) if done < number else ():
            if data and data[0] & 0x80:
                self.tunnel.incoming(data, segment, origin, self.now)
        return writes + [b"".join(buffers) for buffers in self.tunnel.take_writes()]


def both(index: int, library: CDLL, *, sealed: bool) -> tuple[Side, Side]:
    return Side(index, None, sealed=sealed), Side(index, library, sealed=sealed)


def ip_frame(source: int, target: int, protocol: int, body: bytes, *, number: int = 7, df: bool = True) -> bytes:
    head = b"\x45\x00" + (20 + len(body)).to_bytes(2, "big") + number.to_bytes(2, "big")
    head += (b"\x40\x00" if df else bytes(2)) + b"\x40" + bytes((protocol,)) + bytes(2)
    head = inner._ipv4_checked(head + bytes((10, 0, 0, source, 10, 0, 0, target)))
    return mac(target) + mac(source) + b"\x08\x00" + head + body


def ip6_frame(source: int, target: int, protocol: int, body: bytes) -> bytes:
    head = b"\x60\0\0\0" + len(body).to_bytes(2, "big") + bytes((protocol, 64))
    return (
        mac(target)
        + mac(source)
        + b"\x86\xdd"
        + head
        + bytes(15)
        + bytes((source,))
        + bytes(15)
        + bytes((target,))
        + body
    )


def tcp(sequence: int, payload: bytes, *, flags: int = 0x10, ports: int = 80) -> bytes:
    return (
        ports.to_bytes(2, "big")
        + b"\x00\x50"
        + sequence.to_bytes(4, "big")
        + b"\0\0\0\1\x50"
        + bytes((flags,))
        + (b"\x20\0\0\0\0\0" + payload)
    )


def udp(payload: bytes, *, ports: int = 80) -> bytes:
    return ports.to_bytes(2, "big") + b"\x00\x50" + (8 + len(payload)).to_bytes(2, "big") + bytes(2) + payload


def partial(frame: bytes, *, cut: int = 0) -> bytes:
    """A frame as the kernel gives it whose checksum must be completed; a super-packet with `cut`."""
    found = layers(frame)
    assert found is not None
    kind = Gso.NONE
    if cut:
        kind = Gso.UDP_L4 if found.protocol == 17 else Gso.TCPV4 if found.version == 4 else Gso.TCPV6
    at = 16 if found.protocol == 6 else 6
    return VNET.pack(NEEDS_CSUM, kind, found.end if cut else 0, cut, found.transport, at) + frame


def plain(frame: bytes) -> bytes:
    return bytes(VNET.size) + frame

"""Calls the compiled rows: copies sessions, keys, counters and routes for them, and carries their results back.

`turn_out` and `turn_in` are a whole turn of the event loop each, system calls included. What they copy holds
until `Tunnel.changes` moves, because everything that the reference does moves it. A row is handled as far as it is
usual; the caller passes the rest to the tunnel as if there were no compiled code.
"""

import ctypes
import mmap
import os
import socket
import struct
from typing import Final, Protocol

from overlay.datapath.tunnel import Tunnel
from overlay.datapath.tunnel_session import Send, Socket, TunnelRoute, TunnelSession
from overlay.runtime.recvmmsg import ReceiveBuffers
from overlay.runtime.rows.loading import RowPiece, RowRoute, RowSession, RowTurn, RowWay

__all__ = ["CompiledRows"]

_ROOM: Final = 6 << 20
"""Bytes for the packets of one call: 32 super-packets with all headers."""
_PIECES: Final = 2048
_SLOTS: Final = 64
_ROUTES: Final = 256
"""MACs that one call knows; the others go the long way."""
_SESSIONS: Final = 4096


class PacketSender(Protocol):
    """Where packets are sent (`overlay.runtime.udp.UdpDriver`)."""

    @property
    def descriptors(self) -> tuple[int, int]:
        """The sockets of IPv4 and IPv6 for datagrams that the kernel cuts; -1: none."""
        ...

    def send_many(self, sends: list[Send]) -> None:
        """Send what the compiled code could not."""
        ...


class CompiledRows:
    """The compiled code with the tables of one tunnel. `write`: of the port, where frames are written."""

    def __init__(self, library: ctypes.CDLL, tunnel: Tunnel) -> None:
        self._library = library
        self._tunnel = tunnel
        self._copied = -1
        self._until = 0
        """When a key must be changed, which the reference does."""
        self._keys: dict[tuple[bytes, int], int] = {}
        self._sessions: list[TunnelSession] = []
        self._table = (RowSession * 0)()
        self._ways = (RowWay * 0)()
        self._routes = (RowRoute * 0)()
        self._buffer = mmap.mmap(-1, _ROOM)
        self._view = memoryview(self._buffer)
        self._at = ctypes.addressof(ctypes.c_char.from_buffer(self._buffer))
        self._pieces = (RowPiece * _PIECES)()
        self._marks = (RowPiece * _SLOTS)()
        self._held = (ctypes.c_int32 * (_SLOTS + 1))()
        pieces, marks, held = (ctypes.addressof(each) for each in (self._pieces, self._marks, self._held))
        self._turn = RowTurn(out=self._at, pieces=pieces, marks=marks, held=held, room=_ROOM, most=_PIECES)
        self._turn.own[: len(tunnel.own_id)] = tunnel.own_id
        self._turn_at = ctypes.addressof(self._turn)

    def close(self) -> None:
        """Release the keys."""
        for key in self._keys.values():
            self._library.rows_free(key)
        self._keys.clear()
        self._copied = -1

    def turn_out(
        self, slots: ReceiveBuffers, most: int, now: int, port: int, underlay: PacketSender
    ) -> tuple[int, list[int]]:
        """Receive frames from the port into slots, and send their packets.

        Returns the number of frames, and the slots that are left, in order. The tunnel is quiet. Raises `OSError`.
        """
        turn = self._turn
        if self._copied != self._tunnel.changes or now >= self._until:
            self._copy(now)
        most = min(most, slots.count, _SLOTS)
        self._library.rows_turn_out(
            self._turn_at, slots.headers, slots.size, slots.used, most, port, *underlay.descriptors
        )
        received = self._received(slots)
        left = self._left(received, now)
        if turn.sent < turn.count:
            underlay.send_many(self._sends(turn.sent))
        return received, left

    def turn_in(self, slots: ReceiveBuffers, now: int, descriptor: int, port: int) -> tuple[int, int]:
        """Receive datagrams from a socket into slots, and write their frames to the port.

        Returns the number of slots, and how many of them were handled. Raises `OSError`.
        """
        turn = self._turn
        if self._copied != self._tunnel.changes:
            self._copy(now)
        most = min(slots.count, _SLOTS)
        self._library.rows_turn_in(self._turn_at, slots.headers, slots.size, slots.used, most, descriptor, port)
        received = self._received(slots)
        self._note_received()
        if turn.lost:
            self._tunnel.counts["lost"] += turn.lost
        return received, turn.taken

    @property
    def received_bytes(self) -> int:
        """Bytes that the last turn received."""
        return int(self._turn.bytes)

    def _received(self, slots: ReceiveBuffers) -> int:
        received: int = self._turn.received
        slots.used = max(received, 0)
        if received < 0:
            raise OSError(-received, os.strerror(-received))
        return received

    def _left(self, received: int, now: int) -> list[int]:
        """Tell the tunnel what was sent; returns the slots that were not handled, in order."""
        turn = self._turn
        if turn.taken < 0:
            raise RuntimeError("the cipher of the compiled tunnel failed")
        for mark in self._marks[: turn.marked]:
            self._tunnel.sent_row(self._sessions[mark.session], mark.count, now)
        left = []
        for slot in self._held:
            if slot < 0:
                break
            left.append(slot)
        return left + list(range(turn.taken, received))

    def _sends(self, first: int) -> list[Send]:
        """The packets of the last turn from this piece on."""
        sends: list[Send] = []
        for piece in self._pieces[first : self._turn.count]:
            data = self._view[piece.at : piece.at + piece.length]
            sends.append((self._sessions[piece.session].address, [data], piece.segment if piece.count > 1 else 0))
        return sends

    def _note_received(self) -> None:
        for mark in self._marks[: self._turn.marked]:
            self._tunnel.received_row(self._sessions[mark.session], mark.at, mark.count)

    # --- copies -------------------------------------------------------------------------------------------------------

    def _copy(self, now: int) -> None:
        tunnel = self._tunnel
        self._sessions = list(tunnel.sessions)[:_SESSIONS]
        numbers = {id(session): number for number, session in enumerate(self._sessions)}
        self._table = (RowSession * len(self._sessions))()
        kept: dict[tuple[bytes, int], int] = {}
        self._until = 1 << 63
        for entry, session in zip(self._table, self._sessions, strict=True):
            self._copy_session(entry, session, now, kept)
        for what, key in self._keys.items():
            if what not in kept:
                self._library.rows_free(key)
        self._keys = kept
        ways: dict[int, tuple[int, TunnelRoute]] = {}
        routes = []
        for mac, way in tunnel.recent_ways(_ROUTES):
            if id(way.session) in numbers:
                number, _ = ways.setdefault(id(way), (len(ways), way))
                routes.append(RowRoute((ctypes.c_uint8 * 6)(*mac), number))
        self._routes = (RowRoute * len(routes))(*routes)
        self._ways = (RowWay * len(ways))()
        for copied, (_, way) in zip(self._ways, ways.values(), strict=True):
            copied.session = numbers[id(way.session)]
            copied.plain[:], copied.partial[:], copied.packed[:] = *way.heads, way.packed
        turn = self._turn
        turn.routes, turn.ways, turn.sessions = (
            ctypes.addressof(each) for each in (self._routes, self._ways, self._table)
        )
        turn.route_count, turn.way_count, turn.session_count = len(routes), len(ways), len(self._sessions)
        turn.join_datagrams = tunnel.joins_datagrams
        self._copied = tunnel.changes

    def _copy_session(
        self, entry: RowSession, session: TunnelSession, now: int, kept: dict[tuple[bytes, int], int]
    ) -> None:
        entry.held = entry.held_last = entry.held_way = -1
        entry.room = max(session.room, 0)
        entry.tag[:] = session.tag
        name = sockaddr(session.address)
        ours, theirs = session.counters, session.expected
        usable = True
        if session.sealer is not None and session.opener is not None:
            entry.seal = self._key(session.sealer.key, 1, kept)
            entry.open = self._key(session.opener.key, 0, kept)
            usable = bool(entry.seal and entry.open)
            if now < session.sealer.until:
                self._until = min(self._until, session.sealer.until)
            else:
                ours = ours[:0]
        if usable and name and session.room > 0:
            entry.out_counter, entry.out_limit = ours.start, ours.stop
            entry.in_counter, entry.in_limit = theirs.start, theirs.stop
            entry.name[: len(name)] = name
            entry.name_length = len(name)

    def _key(self, key: bytes, seal: int, kept: dict[tuple[bytes, int], int]) -> int | None:
        made = self._keys.get((key, seal)) or self._library.rows_key(key, seal, 0)
        if made:
            kept[key, seal] = made
        return made or None


def sockaddr(address: Socket) -> bytes:
    """The `struct sockaddr_in` or `sockaddr_in6` of an address, as the kernel tells it; empty if it has none."""
    host, _, interface = address[0].partition("%")
    try:
        if ":" not in host:
            return struct.pack("=H2s4s8x", socket.AF_INET, address[1].to_bytes(2, "big"), socket.inet_aton(host))
        scope = (int(interface) if interface.isdigit() else socket.if_nametoindex(interface)) if interface else 0
        port = address[1].to_bytes(2, "big")
        return struct.pack("=H2s4x16sI", socket.AF_INET6, port, socket.inet_pton(socket.AF_INET6, host), scope)
    except OSError:
        return b""

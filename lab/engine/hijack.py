"""Connections that stop being HTTP: attach and exec, raw for a terminal, multiplexed otherwise.

Owns the connection from the moment the request has been read until both sides are done. It replaces the protocol of the
transport, so that half-closed connections work (the client's end of input) and no data is parsed as HTTP any more.
Knows streams, not containers.
"""

import asyncio
import struct
from typing import cast

from aiohttp import web

from lab.engine.errors import invalid
from lab.engine.streams import STDERR, STDOUT, OutputFanOut, StandardInput

__all__ = ["Hijack", "detach_keys"]

_HEADER = struct.Struct(">BxxxI")
_TYPE = b"Content-Type: application/vnd.docker.raw-stream\r\n"
_UPGRADED = b"HTTP/1.1 101 UPGRADED\r\n" + _TYPE + b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
_PLAIN = b"HTTP/1.1 200 OK\r\n" + _TYPE + b"\r\n"


def detach_keys(text: str) -> bytes:
    """`ctrl-p,ctrl-q` -> the bytes that leave a terminal without ending it. Raises `ApiError` 400."""
    keys = bytearray()
    for key in (text or "ctrl-p,ctrl-q").split(","):
        if len(key) == 1 and key.isascii():
            keys += key.encode()
        elif key.startswith("ctrl-") and len(key) == 6 and key[5] in "abcdefghijklmnopqrstuvwxyz@[\\]^_":
            keys.append(ord(key[5].upper()) & 0x1F)
        else:
            raise invalid(f"Invalid detach keys ({text}) provided")
    return bytes(keys)


class Hijack(asyncio.Protocol):
    """One attached client: a `streams.Sink` on one side, a writer to a process's input on the other.

    `done` is set when the process has ended and everything has been sent, or when the client went away.
    """

    def __init__(
        self,
        fan: OutputFanOut,
        stdin: StandardInput | None,
        *,
        tty: bool,
        streams: tuple[int, ...] = (STDOUT, STDERR),
        end_stdin: bool = True,
        keys: bytes = b"",
    ) -> None:
        self._fan = fan
        self._stdin = stdin
        self._tty = tty
        self._streams = streams
        self._end_stdin = end_stdin
        self._keys = keys if tty else b""
        self._typed = b""
        """The part of the detach keys that has been typed so far."""
        self._transport: asyncio.Transport | None = None
        self._http: asyncio.BaseProtocol | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(self, request: web.Request, *, listen: bool = True) -> None:
        """Take over the connection and answer the request, whose body must have been read."""
        transport = cast(asyncio.Transport, request.transport)
        self._transport = transport
        self._http = transport.get_protocol()
        transport.set_protocol(self)
        if not transport.is_reading():
            transport.resume_reading()
        transport.write(_UPGRADED if request.headers.get("Upgrade", "").lower() == "tcp" else _PLAIN)
        if self._stdin is not None:
            self._stdin.drained = self._resume
        if listen:
            self._fan.add(self)

    def feed(self, stream: int, data: bytes) -> None:
        if stream in self._streams and self._transport is not None:
            self._transport.write(data if self._tty else _HEADER.pack(stream, len(data)) + data)

    def finish(self) -> None:
        """The process has ended: close once all data has been sent."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        if self._stdin is None:
            return
        if self._keys:
            data = self._typed + data
            place = data.find(self._keys)
            if place >= 0:
                self._stdin.write(data[:place])
                self.finish()
                return
            kept = next(n for n in range(len(self._keys) - 1, -1, -1) if data.endswith(self._keys[:n]))
            self._typed = data[len(data) - kept :]
            data = data[: len(data) - kept]
        self._stdin.write(data)
        if self._stdin.full and self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        if self._stdin is not None and self._end_stdin:
            self._stdin.end()
        return True  # the client sends no more, but still receives

    def pause_writing(self) -> None:
        self._fan.hold(self, True)

    def resume_writing(self) -> None:
        self._fan.hold(self, False)

    def connection_lost(self, error: Exception | None) -> None:
        self._fan.remove(self)
        self._transport = None
        if self._stdin is not None:
            self._stdin.drained = None
        if self._http is not None:
            self._http.connection_lost(error)
        if not self.done.done():
            self.done.set_result(None)

    def _resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing() and not self._transport.is_reading():
            self._transport.resume_reading()

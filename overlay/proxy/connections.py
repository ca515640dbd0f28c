"""The two sides of a proxied connection: reading and writing, half-close, and TLS that supports half-close.

Owns sockets and buffers. Knows no HTTP.
"""

import asyncio
import contextlib
import socket
import ssl

__all__ = ["ConnectionLost", "Side", "TlsSide", "connect_unix"]

CHUNK = 1 << 18


class ConnectionLost(ConnectionError):
    """The other end closed the connection in the middle of a message."""


class Side:
    """One end of a connection, with the data that was read but not used yet."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.buffer = b""

    async def recv(self) -> bytes:
        """The next bytes (buffered ones first); empty at end of file."""
        if self.buffer:
            data, self.buffer = self.buffer, b""
            return data
        return await self._recv()

    async def fill(self) -> bool:
        """Read more data into the buffer; False at end of file."""
        data = await self._recv()
        self.buffer += data
        return bool(data)

    async def until(self, mark: bytes, most: int) -> bytes:
        """Bytes up to and including `mark`; empty if the connection ends before the first byte.

        Raises `ConnectionLost`, `ValueError`.
        """
        start = 0
        while (at := self.buffer.find(mark, start)) < 0:
            if len(self.buffer) > most:
                raise ValueError(f"no end within {most} bytes")
            start = max(0, len(self.buffer) - len(mark))
            if not await self.fill():
                if self.buffer:
                    raise ConnectionLost("the connection ended within a head")
                return b""
        at += len(mark)
        data, self.buffer = self.buffer[:at], self.buffer[at:]
        return data

    async def send(self, data: bytes) -> None:
        """Write, and wait while the other end is slow. Raises `ConnectionError`."""
        self._writer.write(data)
        await self._writer.drain()

    async def send_eof(self) -> None:
        """Close the write direction; the other direction stays open."""
        with contextlib.suppress(OSError, RuntimeError):
            if self._writer.can_write_eof():
                self._writer.write_eof()

    def close(self) -> None:
        """Close the connection after pending data is written."""
        self._writer.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self._writer.transport.abort()

    async def _recv(self) -> bytes:
        try:
            return await self._reader.read(CHUNK)
        except ConnectionError:
            return b""


class TlsSide(Side):
    """A TLS connection, server side.

    asyncio's own TLS closes both directions when the other end closes one (RFC 8446, 6.1, allows half-closing since TLS
    1.3), which would cut off the output of `docker run -i` after its input has ended.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> None:
        super().__init__(reader, writer)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)

    async def handshake(self) -> None:
        """Raises `ssl.SSLError` and `ConnectionLost`."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                data = await super()._recv()
                if not data:
                    raise ConnectionLost("the client left during the handshake") from None
                self._in.write(data)
            except ssl.SSLError:
                await self._flush()  # the alert tells the client the reason
                raise
            else:
                await self._flush()
                return

    async def send(self, data: bytes) -> None:
        """See `Side.send`."""
        self._tls.write(data)
        await self._flush()

    async def send_eof(self) -> None:
        """See `Side.send_eof`: sends a close_notify alert."""
        with contextlib.suppress(ssl.SSLError, OSError):
            self._tls.unwrap()
        with contextlib.suppress(OSError):
            await self._flush()

    async def _recv(self) -> bytes:
        while True:
            try:
                return self._tls.read(CHUNK)
            except ssl.SSLWantReadError:
                await self._flush()
                data = await super()._recv()
                if data:
                    self._in.write(data)
                else:
                    self._in.write_eof()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""
            except ssl.SSLError as error:
                raise ConnectionLost(f"TLS: {error.reason or error}") from None

    async def _flush(self) -> None:
        if self._out.pending:
            await super().send(self._out.read())


async def connect_unix(path: str) -> Side:
    """Connect to a unix socket. Raises `OSError`."""
    return Side(*await asyncio.open_unix_connection(path, limit=CHUNK))


def tcp_options(writer: asyncio.StreamWriter) -> bool:
    """Disable Nagle's algorithm and enable keepalive, for streams over TCP. Returns False for a unix socket."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.family == socket.AF_UNIX:
        return False
    if sock is not None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return True

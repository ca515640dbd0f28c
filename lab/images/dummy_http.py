"""The service of the walk-through, `ksahnine/dummy-http NAME`: a tiny HTTP/1.1 server that says who answered.

Owns only its listening socket and connections: one thread, one selector, so that a hundred of them forked from one
loaded process cost little. Standard library only, because a bare interpreter also runs it as a program. Must not know
of engines or of the overlay; it reads the address of `eth0` at every request, because it may change.
"""

import errno
import fcntl
import os
import selectors
import signal
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

__all__ = ["HttpConnection", "greeting", "main"]

PORT = 8080
MAX_HEAD = 16 * 1024
MAX_BODY = 1 << 20
MAX_CONNECTIONS = 4096
_SIOCGIFADDR = 0x8915


def greeting(name: str, address: str) -> bytes:
    """The page's content."""
    return f"Hi! I'm [{name}] service and my Docker container's IP is [{address}]\n".encode()


def address_of(interface: str) -> str:
    """First IPv4 address of an interface; empty when it has none or does not exist."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        try:
            reply = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("256s", interface.encode()[:15]))
        except OSError:
            return ""
    return socket.inet_ntoa(reply[20:24])


class BadRequest(Exception):
    """The client's request is not HTTP that this server supports; args: status code, reason."""


class HttpConnection:
    """One client: bytes in, bytes out, no socket. `feed` returns the bytes to send; `closing` marks the last ones."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._buffer = b""
        self._skip = 0
        """Remaining bytes of the current request's body, which are discarded."""
        self.closing = False

    def feed(self, data: bytes) -> bytes:
        """Process received bytes, and answer every complete request (clients may pipeline)."""
        out = bytearray()
        self._buffer += data
        while not self.closing:
            if self._skip:
                taken = min(self._skip, len(self._buffer))
                self._buffer = self._buffer[taken:]
                self._skip -= taken
                if self._skip:
                    break
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > MAX_HEAD:
                    out += self._refuse(431, "Request Header Fields Too Large")
                break
            head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
            try:
                out += self._answer(head)
            except BadRequest as error:
                out += self._refuse(*error.args)
        return bytes(out)

    def _answer(self, head: bytes) -> bytes:
        # Ignore an empty line before a request (RFC 9112, 2.2).
        request, *lines = head.decode("latin-1").lstrip("\r\n").split("\r\n")
        words = request.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise BadRequest(400, "Bad Request")
        method, target, version = words
        headers: dict[str, str] = {}
        for line in lines:
            key, colon, value = line.partition(":")
            if not colon or not key or key != key.strip():
                raise BadRequest(400, "Bad Request")
            headers[key.lower()] = value.strip()
        if "transfer-encoding" in headers:
            raise BadRequest(411, "Length Required")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > MAX_BODY:
            raise BadRequest(
                413 if length.isdigit() else 400, "Content Too Large" if length.isdigit() else "Bad Request"
            )
        self._skip = int(length)
        options = {token.strip().lower() for token in headers.get("connection", "").split(",")}
        keep = "close" not in options if version == "HTTP/1.1" else "keep-alive" in options
        self.closing = not keep

        path = target.split("?", 1)[0]
        if path.startswith("http://"):
            path = "/" + path.removeprefix("http://").partition("/")[2]
        if method not in ("GET", "HEAD"):
            return self._response(405, "Method Not Allowed", b"Method Not Allowed\n", True, "Allow: GET, HEAD\r\n")
        if path != "/":
            return self._response(404, "Not Found", b"Not Found\n", method == "GET")
        return self._response(200, "OK", greeting(self._name, address_of("eth0")), method == "GET")

    def _response(self, status: int, reason: str, body: bytes, with_body: bool, extra: str = "") -> bytes:
        connection = "close" if self.closing else "keep-alive"
        head = (
            f"HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\n{extra}Connection: {connection}\r\n\r\n"
        )
        return head.encode() + (body if with_body else b"")

    def _refuse(self, status: int, reason: str) -> bytes:
        self.closing = True
        return self._response(status, reason, f"{reason}\n".encode(), True)


class _HttpClient:
    __slots__ = ("connection", "out", "sock")

    def __init__(self, sock: socket.socket, name: str) -> None:
        self.sock = sock
        self.connection = HttpConnection(name)
        self.out = b""


class HttpServer:
    """The listening socket and its clients, driven by one selector."""

    def __init__(self, name: str, port: int = PORT) -> None:
        self._name = name
        self._listener = _listen(port)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._clients: dict[int, _HttpClient] = {}

    def serve_forever(self) -> NoReturn:
        """Run until the process ends."""
        while True:
            for key, events in self._selector.select():
                client = self._clients.get(key.fd)
                if client is None:
                    self._accept()
                elif events & selectors.EVENT_WRITE:
                    self._flush(client)
                else:
                    self._read(client)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE) and self._clients:
                    # Out of descriptors: close the oldest connection.
                    self._close(next(iter(self._clients.values())))
                    continue
                if error.errno in (errno.ECONNABORTED, errno.EINTR):
                    continue
                raise
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A peer beyond a cut never closes its connection, so it would stay open for ever without this.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
            if len(self._clients) >= MAX_CONNECTIONS:
                self._close(next(iter(self._clients.values())))
            client = _HttpClient(sock, self._name)
            self._clients[sock.fileno()] = client
            self._selector.register(sock, selectors.EVENT_READ)
            self._read(client)

    def _read(self, client: _HttpClient) -> None:
        try:
            data = client.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            self._close(client)
            return
        if not data:
            self._close(client)
            return
        client.out += client.connection.feed(data)
        if client.out:
            self._flush(client)

    def _flush(self, client: _HttpClient) -> None:
        try:
            sent = client.sock.send(client.out)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close(client)
            return
        client.out = client.out[sent:]
        if client.out:
            # While a client does not read its responses, read nothing more from it.
            self._selector.modify(client.sock, selectors.EVENT_WRITE)
        elif client.connection.closing:
            self._close(client)
        else:
            self._selector.modify(client.sock, selectors.EVENT_READ)

    def _close(self, client: _HttpClient) -> None:
        del self._clients[client.sock.fileno()]
        self._selector.unregister(client.sock)
        client.sock.close()


def _listen(port: int) -> socket.socket:
    """A socket on all addresses of both families, or of IPv4 if the machine has no IPv6."""
    try:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("::", port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("0.0.0.0", port))
    sock.listen(1024)
    sock.setblocking(False)
    return sock


def main(arguments: Sequence[str], ready: Callable[[], None] = lambda: None) -> int:
    """`dummy-http NAME`: serve until a signal ends the process. `ready` is called once the port is open."""
    if len(arguments) != 1:
        os.write(2, b"usage: dummy-http NAME\n")
        return 2
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        server = HttpServer(arguments[0])
    except OSError as error:
        os.write(2, f"dummy-http: port {PORT}: {error}\n".encode())
        return 1
    ready()
    return server.serve_forever()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

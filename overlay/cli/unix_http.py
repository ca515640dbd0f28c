"""HTTP over a unix socket, for commands: they ask one thing and end, so they wait. Knows nothing of who answers."""

import http.client
import socket

__all__ = ["UnixHttpConnection"]


class UnixHttpConnection(http.client.HTTPConnection):
    """The server behind the socket `path`. `host` is the header's; `timeout` in seconds, None: for ever."""

    def __init__(self, path: str, timeout: float | None, host: str) -> None:
        super().__init__(host, timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

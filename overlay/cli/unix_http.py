"""HTTP over a unix socket, for commands. Blocking, because a command sends one request and ends."""

import http.client
import json
import socket
from typing import Any

__all__ = ["UnixHttpConnection", "engine_answer"]


class UnixHttpConnection(http.client.HTTPConnection):
    """A connection to the socket `path`. `host` is the value of the header; `timeout` is in seconds, None: no limit."""

    def __init__(self, path: str, timeout: float | None, host: str) -> None:
        super().__init__(host, timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def engine_answer(path: str, method: str, url: str, body: Any = None, *, timeout: float) -> tuple[int, Any]:
    """Status and answer of a container engine: a value, or bytes if it is not JSON.

    Raises `OSError` if nothing answers, or something other than an engine.
    """
    connection = UnixHttpConnection(path, timeout, "engine")
    try:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        connection.request(method, url, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        data = response.read()
        # Older engines send no content type for a log; its frames begin with a small number.
        kind = response.getheader("Content-Type") or ("application/json" if data[:1] == b"{" else "")
        return response.status, json.loads(data) if data and kind.startswith("application/json") else data
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"what answers there is no container engine ({error})") from None
    finally:
        connection.close()

"""HTTP over a unix socket, for commands: they ask one thing and end, so they wait."""

import http.client
import json
import socket
from typing import Any

__all__ = ["UnixHttpConnection", "engine_answer"]


class UnixHttpConnection(http.client.HTTPConnection):
    """The server behind the socket `path`. `host` is the header's; `timeout` in seconds, None: for ever."""

    def __init__(self, path: str, timeout: float | None, host: str) -> None:
        super().__init__(host, timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def engine_answer(path: str, method: str, url: str, body: Any = None, *, timeout: float) -> tuple[int, Any]:
    """Status and answer of a container engine: a value, or bytes where it is no JSON.

    Raises `OSError` where nothing answers, or something else does.
    """
    connection = UnixHttpConnection(path, timeout, "engine")
    try:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        connection.request(method, url, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        data = response.read()
        # A log has no type on older engines; its frames begin with a small number.
        kind = response.getheader("Content-Type") or ("application/json" if data[:1] == b"{" else "")
        return response.status, json.loads(data) if data and kind.startswith("application/json") else data
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"what answers there is no container engine ({error})") from None
    finally:
        connection.close()

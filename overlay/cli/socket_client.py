"""The client of this host's daemon: HTTP over its unix socket. Owns connections, status codes, and stopping the
daemon."""

import http.client
import json
import os
import select
import socket
import struct
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from overlay.cli.client import DaemonClient, NotRunning, Pairs, RequestRefused
from overlay.cli.unix_http import UnixHttpConnection

__all__ = ["SocketClient", "socket_path"]

END_TIMEOUT = 15.0
"""Seconds for a daemon to end after its farewell."""


def socket_path(environment: Mapping[str, str]) -> str:
    """The path of the daemon's socket."""
    return environment.get("WEAVE_SOCK") or "/var/run/weave/router.sock"


class _DaemonConnection(UnixHttpConnection):
    def __init__(self, path: str, timeout: float | None = None) -> None:
        super().__init__(path, timeout, "weave")

    def peer(self) -> int:
        """The process id of the daemon."""
        credentials = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", credentials)[0])


class SocketClient(DaemonClient):
    """The daemon at a socket of this host. Requests block; `fetch` and `end` are the versions without `await`."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def ask(
        self, method: str, path: str, query: Pairs = (), form: Pairs | None = None, value: Any = None, lines: str = ""
    ) -> str:
        if query:
            path += "?" + urlencode(query, quote_via=quote)
        if form is not None:
            return self.fetch(method, path, urlencode(form), "application/x-www-form-urlencoded")
        if value is not None:
            return self.fetch(method, path, json.dumps(value), "application/json")
        return self.fetch(method, path, lines, "text/plain; charset=utf-8") if lines else self.fetch(method, path)

    async def leave(self, *, surrender: bool = False, restart: bool = False) -> None:
        self.end(surrender=surrender, restart=restart)

    def end(self, *, surrender: bool = False, restart: bool = False) -> None:
        """See `leave`."""
        connection = _DaemonConnection(self._path)
        try:
            self._connect(connection)
            pidfd = _pidfd(connection.peer())
            try:
                self._exchange(
                    connection, "POST", "/leave" + ("?surrender=1" if surrender else "?restart=1" if restart else "")
                )
                if pidfd >= 0 and not select.select([pidfd], [], [], END_TIMEOUT)[0]:
                    raise RequestRefused(f"the router was told to end, and has not ended within {END_TIMEOUT:g} s")
            finally:
                if pidfd >= 0:
                    os.close(pidfd)
        finally:
            connection.close()

    def fetch(self, method: str, path: str, body: str | None = None, kind: str = "") -> str:
        """The answer to one request; `path` as in a URL, `kind`: the type of the body."""
        connection = _DaemonConnection(self._path, self.timeout)
        try:
            self._connect(connection)
            return self._exchange(connection, method, path, body, kind)
        finally:
            connection.close()

    def _connect(self, connection: _DaemonConnection) -> None:
        try:
            connection.connect()
        except (FileNotFoundError, ConnectionRefusedError):
            raise NotRunning from None
        except PermissionError:
            raise RequestRefused(f"not allowed to use {self._path}: run `weave` as root") from None
        except OSError as error:
            raise RequestRefused(f"{self._path}: {error.strerror or error}") from None

    def _exchange(
        self, connection: _DaemonConnection, method: str, path: str, body: str | None = None, kind: str = ""
    ) -> str:
        try:
            data = None if body is None else body.encode()
            connection.request(method, path, data, {"Content-Type": kind} if kind else {})
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
        except TimeoutError:
            raise RequestRefused(f"it does not answer within {self.timeout:g} s") from None
        except (OSError, http.client.HTTPException):
            raise RequestRefused("the router ended before it answered") from None
        if response.status >= 400:
            raise RequestRefused(text.strip() or f"{response.status} {response.reason}")
        return text


def _pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return -1

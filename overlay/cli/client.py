"""The client interface of the daemon: its requests, and their two errors.

Asynchronous, because commands also run on simulated hosts, where time passes while they wait; `socket_client` is the
client of this host's daemon.
"""

import json
from collections.abc import Sequence
from typing import Any

from overlay.errors import OverlayError

__all__ = ["DaemonClient", "NotRunning", "Pairs", "RequestRefused"]


class NotRunning(OverlayError):
    """No daemon answers."""


class RequestRefused(OverlayError):
    """The daemon answered with an error; the text is the daemon's."""


Pairs = Sequence[tuple[str, str]]
"""Fields of a query or a form, in order."""


class DaemonClient:
    """A client of a daemon. Raises `NotRunning` and `RequestRefused`."""

    timeout: float | None = None
    """Seconds to wait for an answer; None: no limit."""

    async def ask(
        self, method: str, path: str, query: Pairs = (), form: Pairs | None = None, value: Any = None, lines: str = ""
    ) -> str:
        """The answer to a request, as text. The body is a form, a value sent as JSON, or the lines of a batch."""
        raise NotImplementedError

    async def leave(self, *, surrender: bool = False, restart: bool = False) -> None:
        """Stop the daemon, and wait until its process is gone. `restart`: without a farewell."""
        raise NotImplementedError

    async def get(self, path: str, query: Pairs = ()) -> str:
        """GET a path as text."""
        return await self.ask("GET", path, query)

    async def get_json(self, path: str, query: Pairs = ()) -> Any:
        """GET a path as JSON."""
        return json.loads(await self.ask("GET", path, query))

    async def post(self, path: str, form: Pairs) -> str:
        """POST a form."""
        return await self.ask("POST", path, form=form)

    async def post_json(self, path: str, value: Any) -> str:
        """POST a value as JSON."""
        return await self.ask("POST", path, value=value)

    async def put(self, path: str, query: Pairs = ()) -> str:
        """PUT without a body."""
        return await self.ask("PUT", path, query)

    async def delete(self, path: str, query: Pairs = ()) -> str:
        """DELETE a path."""
        return await self.ask("DELETE", path, query)

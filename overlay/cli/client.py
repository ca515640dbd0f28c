"""Asking the daemon: what can be asked, and the two ways in which that fails.

Asynchronous, because commands also run on simulated hosts, where time passes while they wait; `socket_client` is the
daemon of this host.
"""

import json
from collections.abc import Sequence
from typing import Any

from overlay.errors import OverlayError

__all__ = ["DaemonClient", "NotRunning", "Pairs", "RequestRefused"]


class NotRunning(OverlayError):
    """No daemon answers."""


class RequestRefused(OverlayError):
    """The daemon answered with an error; the text is its own."""


Pairs = Sequence[tuple[str, str]]
"""Fields of a query or a form, in their order."""


class DaemonClient:
    """A daemon that is asked. Raises `NotRunning` and `RequestRefused`."""

    timeout: float | None = None
    """Seconds for an answer; None: however long it takes."""

    async def ask(self, method: str, path: str, query: Pairs = (), form: Pairs | None = None, value: Any = None) -> str:
        """The text that a request is answered with. It may have a form or a value, which is sent as JSON."""
        raise NotImplementedError

    async def leave(self, *, surrender: bool = False, restart: bool = False) -> None:
        """Have the daemon end, and wait until its process is gone. `restart`: without a farewell."""
        raise NotImplementedError

    async def get(self, path: str, query: Pairs = ()) -> str:
        """The text behind a path."""
        return await self.ask("GET", path, query)

    async def get_json(self, path: str, query: Pairs = ()) -> Any:
        """The value behind a path."""
        return json.loads(await self.ask("GET", path, query))

    async def post(self, path: str, form: Pairs) -> str:
        """Send a form."""
        return await self.ask("POST", path, form=form)

    async def post_json(self, path: str, value: Any) -> str:
        """Send a value."""
        return await self.ask("POST", path, value=value)

    async def put(self, path: str, query: Pairs = ()) -> str:
        """PUT without a body."""
        return await self.ask("PUT", path, query)

    async def delete(self, path: str, query: Pairs = ()) -> str:
        """DELETE."""
        return await self.ask("DELETE", path, query)

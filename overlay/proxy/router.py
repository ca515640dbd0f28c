"""The proxy's requests to this host's router, over its control socket. Owns paths and error messages."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import aiohttp

__all__ = ["RouterGone", "RouterRefused", "RouterSide"]

_CONNECT = 5.0
_PATIENCE = 60.0
"""Seconds for the router to allocate addresses; the first ones of a network need a majority of its peers."""


class RouterGone(Exception):
    """No router answers."""


class RouterRefused(Exception):
    """The router answered with an error; the text is the router's."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class RouterSide:
    """The router of this host."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def facts(self) -> dict[str, str]:
        """`resolver` and `domain`."""
        found: dict[str, str] = await self._ask("GET", "/proxy")
        return found

    async def reserve(self, container: str, addresses: Sequence[str], **flags: bool) -> None:
        """Book addresses for a container that was just created."""
        await self._ask("POST", f"/proxy/{container}/reserve", {"addresses": list(addresses), **flags})

    async def renew(self, container: str, *, multicast: bool) -> None:
        """Book again the addresses that were released in the meantime."""
        await self._ask("POST", f"/proxy/{container}/renew", {"multicast": multicast})

    async def ensure(self, container: str) -> None:
        """Return once the container is on the overlay."""
        await self._ask("POST", f"/proxy/{container}/ensure", {})

    async def addresses(self, container: str) -> tuple[str, ...]:
        """The addresses ("a.b.c.d/n") of a container; empty: it has none."""
        found = await self._ask("GET", f"/ps?container={quote(container, safe='')}")
        return tuple(found[0]["addresses"]) if found else ()

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=self._path, limit=0))
        timeout = aiohttp.ClientTimeout(total=_PATIENCE, sock_connect=_CONNECT)
        try:
            async with self._session.request(method, f"http://weave{path}", json=body, timeout=timeout) as response:
                if response.status >= 400:
                    raise RouterRefused(response.status, (await response.text()).strip())
                return await response.json(content_type=None)
        except TimeoutError:
            raise RouterRefused(
                503, f"no address within {_PATIENCE:g} s: `weave status ipam` says what the router waits for"
            ) from None
        except (aiohttp.ClientError, OSError):
            raise RouterGone("the router of this host is not running: start it with `weave launch`") from None

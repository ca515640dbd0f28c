"""The Docker Engine API over a unix socket, the part shared by all clients: requests, answers, streams, errors.

Owns connections, status codes and error messages. Knows no path of the API. Works with Docker, Podman, and the lab's
engine of process containers.
"""

import contextlib
import json
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any, Self

import aiohttp

from overlay.errors import EnvironmentProblem, UsageError
from overlay.options import DEFAULT_ENGINE

__all__ = ["EngineApi", "EngineRefusal"]


class EngineRefusal(UsageError):
    """The engine answered with an error; the text is the engine's."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class EngineApi:
    """One engine. `close` it, or use it as a context manager."""

    def __init__(self, path: str, at: str = "", timeout: float | None = 30.0) -> None:
        """`at`: the path of the socket as seen from this process, if it differs; `timeout`: seconds for an answer."""
        self.path = path
        self._at = at or path
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer; None if it is not JSON. Raises `EngineRefusal`, and `EnvironmentProblem` without an engine."""
        if not self.path:
            raise EnvironmentProblem(
                f"DOCKER_HOST={os.environ.get('DOCKER_HOST', '')} is no unix socket, and there is no {DEFAULT_ENGINE}"
            )
        try:
            async with self._ask(method, path, body, aiohttp.ClientTimeout(total=self._timeout)) as response:
                if response.content_type != "application/json":
                    await response.read()
                    return None
                return await response.json()
        except (aiohttp.ClientConnectorError, FileNotFoundError, ConnectionRefusedError):
            raise EnvironmentProblem(
                f"the container engine does not answer at {self.path}: start it, or set DOCKER_HOST"
            ) from None
        except (TimeoutError, aiohttp.ClientError) as error:
            raise EnvironmentProblem(f"the container engine broke off: {str(error) or 'no answer in time'}") from None
        except ValueError as error:
            raise EnvironmentProblem(f"the container engine's answer cannot be read: {error}") from None

    @contextlib.asynccontextmanager
    async def stream(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """A streamed answer. Raises `EngineRefusal`, `OSError` and `aiohttp.ClientError`."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout)
        async with self._ask(method, path, body, timeout) as response:
            yield response.content

    @contextlib.asynccontextmanager
    async def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None, timeout: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None or self._session.closed:
            connector = aiohttp.UnixConnector(path=self._at, limit=64)
            self._session = aiohttp.ClientSession(connector=connector)
        async with self._session.request(method, f"http://engine{path}", json=body, timeout=timeout) as response:
            if response.status >= 400:
                text = (await response.text(errors="replace")).strip()
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    text = str(json.loads(text)["message"])
                raise EngineRefusal(response.status, text or f"{response.status} {response.reason}")
            yield response

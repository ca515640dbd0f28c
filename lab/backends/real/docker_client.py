"""A small client of the Docker Engine API on a host's socket: exec, pids of containers, start events.

Owns the HTTP and Docker's stream frames. The engine may be the lab's own or Docker itself; nothing here knows which.
"""

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import aiohttp

from lab.contracts.lab import CommandResult
from lab.errors import LabError

_FRAME = struct.Struct(">BxxxI")
"""Stream number, length: head of each frame of a multiplexed stream without a terminal."""
_STDERR = 2
_BASE = "http://docker"
_LINE_LIMIT = 1 << 22


class Docker:
    """One engine. Connections are made per call and closed."""

    def __init__(self, socket_path: str) -> None:
        self.path = socket_path

    async def exec(
        self, container: str, argv: Sequence[str], *, env: Mapping[str, str], timeout: float
    ) -> tuple[CommandResult | None, int]:
        """Run a command in a container: (how it ended, 0), or (None, its pid in the host) after `timeout` seconds."""
        async with self._session() as session:
            create = {
                "AttachStdout": True,
                "AttachStderr": True,
                "Cmd": list(argv),
                "Env": [f"{name}={value}" for name, value in env.items()],
            }
            exec_id = (await self._post(session, f"/containers/{container}/exec", create))["Id"]
            texts = {1: bytearray(), _STDERR: bytearray()}
            try:
                async with asyncio.timeout(timeout):
                    start = session.post(f"{_BASE}/exec/{exec_id}/start", json={"Detach": False, "Tty": False})
                    async with start as response:
                        await _checked(response)
                        async for stream, data in _frames(response.content):
                            texts[_STDERR if stream == _STDERR else 1] += data
            except TimeoutError:
                return None, (await self._get(session, f"/exec/{exec_id}/json")).get("Pid", 0)
            code = (await self._get(session, f"/exec/{exec_id}/json"))["ExitCode"]
        return CommandResult(code, texts[1].decode(errors="replace"), texts[_STDERR].decode(errors="replace")), 0

    @contextlib.asynccontextmanager
    async def attached(
        self, container: str, argv: Sequence[str]
    ) -> AsyncIterator[tuple[asyncio.StreamReader, Callable[[bytes], object]]]:
        """Run a command in a container, with its output to read and its input to write; closing ends its input.

        What it writes to its standard error is dropped.
        """
        create = {"AttachStdin": True, "AttachStdout": True, "AttachStderr": True, "Cmd": list(argv)}
        async with self._session() as session:
            exec_id = (await self._post(session, f"/containers/{container}/exec", create))["Id"]
        reader, writer = await asyncio.open_unix_connection(self.path)
        out = asyncio.StreamReader(limit=_LINE_LIMIT)
        body = b'{"Detach":false,"Tty":false}'
        head = f"POST /exec/{exec_id}/start HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n"
        head += f"Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: {len(body)}\r\n\r\n"
        pump: asyncio.Task[None] | None = None
        try:
            writer.write(head.encode() + body)
            status = await reader.readuntil(b"\r\n\r\n")
            if b" 101 " not in status.partition(b"\r\n")[0] + b" ":
                raise LabError(f"the host's engine says: {status.partition(b' ')[2].decode(errors='replace')}")
            pump = asyncio.create_task(_pump(reader, out))
            yield out, writer.write
        except asyncio.IncompleteReadError:
            raise LabError("the host's engine broke off") from None
        finally:
            if pump is not None:
                pump.cancel()
            writer.close()

    async def pid(self, container: str) -> int:
        """The pid (in the host) of a container's first process; 0 when it does not run or does not exist."""
        async with self._session() as session, session.get(f"{_BASE}/containers/{container}/json") as response:
            if response.status == 404:
                return 0
            state = json.loads(await _checked(response))["State"]
            return state["Pid"] if state["Running"] else 0

    async def running(self) -> list[str]:
        """Names of the containers that run."""
        async with self._session() as session:
            found = await self._get(session, "/containers/json")
        return sorted(container["Names"][0].lstrip("/") for container in found)

    async def starts(self) -> AsyncIterator[str]:
        """Names of containers as they start, from now on; first an empty name once the engine listens to us."""
        filters = json.dumps({"type": ["container"], "event": ["start"]})
        async with (
            self._session() as session,
            session.get(f"{_BASE}/events", params={"filters": filters}) as response,
        ):
            if response.status != 200:
                await _checked(response)
            yield ""
            async for line in response.content:
                yield json.loads(line)["Actor"]["Attributes"].get("name", "")

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(self.path), timeout=aiohttp.ClientTimeout(total=None)
        )

    @staticmethod
    async def _post(session: aiohttp.ClientSession, path: str, body: Any) -> Any:
        async with session.post(_BASE + path, json=body) as response:
            return json.loads(await _checked(response))

    @staticmethod
    async def _get(session: aiohttp.ClientSession, path: str) -> Any:
        async with session.get(_BASE + path) as response:
            return json.loads(await _checked(response))


async def _checked(response: aiohttp.ClientResponse) -> bytes:
    """The body of a good answer (unread when it is a stream); raises `LabError` with the engine's own words."""
    if response.status < 400:
        return b"" if "stream" in response.content_type else await response.read()
    text = (await response.read()).decode(errors="replace")
    try:
        text = json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        text = text.strip()
    raise LabError(f"the host's engine says: {text} (HTTP {response.status})")


async def _pump(source: asyncio.StreamReader, out: asyncio.StreamReader) -> None:
    """The standard output out of a multiplexed stream."""
    try:
        async for stream, data in _frames(source):
            if stream != _STDERR:
                out.feed_data(data)
    except ConnectionError:
        pass
    finally:
        out.feed_eof()


async def _frames(content: aiohttp.StreamReader | asyncio.StreamReader) -> AsyncIterator[tuple[int, bytes]]:
    """(stream, data) of a multiplexed stream to its end."""
    while True:
        try:
            stream, length = _FRAME.unpack(await content.readexactly(_FRAME.size))
            yield stream, await content.readexactly(length)
        except asyncio.IncompleteReadError:
            return

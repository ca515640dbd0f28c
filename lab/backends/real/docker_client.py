"""A small client of the Docker Engine API on a host's socket: exec, pids of containers, start events.

Owns Docker's stream frames; `overlay.docker.api` sends the requests. The engine may be the lab's own or Docker itself;
this module does not know which.
"""

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from urllib.parse import quote

import aiohttp

from lab.contracts.lab import CommandResult
from lab.errors import LabError
from overlay.docker.api import EngineApi, EngineRefusal
from overlay.errors import EnvironmentProblem

_FRAME = struct.Struct(">BxxxI")
"""Stream number, length: head of each frame of a multiplexed stream without a terminal."""
_STDERR = 2
_LINE_LIMIT = 1 << 22


class Docker:
    """One engine. A connection is opened for each call."""

    def __init__(self, socket_path: str) -> None:
        self.path = socket_path

    async def exec(
        self, container: str, argv: Sequence[str], *, env: Mapping[str, str], timeout: float
    ) -> tuple[CommandResult | None, int]:
        """Run a command in a container; returns (result, 0), or (None, its pid in the host) after `timeout` seconds."""
        async with self._api() as api:
            create = {
                "AttachStdout": True,
                "AttachStderr": True,
                "Cmd": list(argv),
                "Env": [f"{name}={value}" for name, value in env.items()],
            }
            exec_id = (await api.call("POST", f"/containers/{container}/exec", create))["Id"]
            texts = {1: bytearray(), _STDERR: bytearray()}
            try:
                async with asyncio.timeout(timeout):
                    start = {"Detach": False, "Tty": False}
                    async with api.stream("POST", f"/exec/{exec_id}/start", start) as content:
                        async for stream, data in _frames(content):
                            texts[_STDERR if stream == _STDERR else 1] += data
            except TimeoutError:
                return None, (await api.call("GET", f"/exec/{exec_id}/json")).get("Pid", 0)
            code = (await api.call("GET", f"/exec/{exec_id}/json"))["ExitCode"]
        return CommandResult(code, texts[1].decode(errors="replace"), texts[_STDERR].decode(errors="replace")), 0

    @contextlib.asynccontextmanager
    async def attached(
        self, container: str, argv: Sequence[str]
    ) -> AsyncIterator[tuple[asyncio.StreamReader, Callable[[bytes], object]]]:
        """Run a command in a container; yields its output and its input. Leaving the context closes its input.

        Its standard error is dropped.
        """
        create = {"AttachStdin": True, "AttachStdout": True, "AttachStderr": True, "Cmd": list(argv)}
        async with self._api() as api:
            exec_id = (await api.call("POST", f"/containers/{container}/exec", create))["Id"]
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
        async with self._api() as api:
            try:
                state = (await api.call("GET", f"/containers/{container}/json"))["State"]
            except EngineRefusal as error:
                if error.status == 404:
                    return 0
                raise
        return state["Pid"] if state["Running"] else 0

    async def running(self) -> list[str]:
        """Names of the containers that run."""
        async with self._api() as api:
            found = await api.call("GET", "/containers/json")
        return sorted(container["Names"][0].lstrip("/") for container in found)

    async def starts(self) -> AsyncIterator[str]:
        """Names of containers as they start, from now on; first an empty name once the event stream is open."""
        filters = quote(json.dumps({"type": ["container"], "event": ["start"]}))
        async with self._api() as api, api.stream("GET", f"/events?filters={filters}") as content:
            yield ""
            async for line in content:
                yield json.loads(line)["Actor"]["Attributes"].get("name", "")

    @contextlib.asynccontextmanager
    async def _api(self) -> AsyncIterator[EngineApi]:
        try:
            async with EngineApi(self.path, timeout=None) as api:
                yield api
        except EngineRefusal as error:
            raise LabError(f"the host's engine says: {error} (HTTP {error.status})") from None
        except EnvironmentProblem as error:
            raise LabError(str(error)) from None


async def _pump(source: asyncio.StreamReader, out: asyncio.StreamReader) -> None:
    """Extract the standard output from a multiplexed stream."""
    try:
        async for stream, data in _frames(source):
            if stream != _STDERR:
                out.feed_data(data)
    except ConnectionError:
        pass
    finally:
        out.feed_eof()


async def _frames(content: aiohttp.StreamReader | asyncio.StreamReader) -> AsyncIterator[tuple[int, bytes]]:
    """(stream, data) of a multiplexed stream, until it ends."""
    while True:
        try:
            stream, length = _FRAME.unpack(await content.readexactly(_FRAME.size))
            yield stream, await content.readexactly(length)
        except asyncio.IncompleteReadError:
            return

"""A lab's helper inside a user's engine: a container that connects hosts where the lab itself lacks the privileges.

Runs in a container of the host image with the engine's pid namespace, its own network namespace (the lab's fabric) and
the few capabilities that this needs (`python3 -m lab.backends.dind.helper LABEL`). Owns its protocol (JSON lines:
`HelperRequest` in, `HelperReply` out), the sockets that it forwards, and the clean-up: its input ends when the lab is
gone, for whatever reason, and then it removes every container of the lab, itself last. Decides nothing else.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import aiohttp
import msgspec
from msgspec import Struct

from lab.errors import LabError
from lab.fabric.fabric import run

ENGINE = "/run/outer.sock"
"""The engine's socket, as mounted in the helper."""
SOCKETS = "/run/sockets"
"""The directory of forwarded sockets, shared with the lab."""
LINE = 1 << 22


class HelperRequest(Struct, frozen=True, kw_only=True):
    """Run a tool (`argv`), or listen at SOCKETS/`name` for the socket `path` of the host with init `pid`."""

    id: int
    argv: tuple[str, ...] = ()
    text: str = ""
    check: bool = True
    pid: int = 0
    path: str = ""
    name: str = ""


class HelperReply(Struct, frozen=True, kw_only=True):
    """The result of a request: the tool's output, or an error."""

    id: int
    out: str = ""
    error: str = ""


async def serve(label: str) -> None:
    """Serve requests until the input ends, then clean up."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    tasks: set[asyncio.Task[None]] = set()
    listening: dict[str, asyncio.Server] = {}
    try:
        while line := await reader.readline():
            task = asyncio.create_task(_obey(msgspec.json.decode(line, type=HelperRequest), listening))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    finally:
        _clear(Path(SOCKETS))
        await _remove_all(label)


def _clear(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink(missing_ok=True)


async def _obey(order: HelperRequest, listening: dict[str, asyncio.Server]) -> None:
    try:
        if order.argv:
            done = HelperReply(id=order.id, out=await run(*order.argv, text=order.text, check=order.check))
        else:
            await _pass_on(order, listening)
            done = HelperReply(id=order.id)
    except (LabError, OSError) as error:
        done = HelperReply(id=order.id, error=str(error))
    sys.stdout.buffer.write(msgspec.json.encode(done) + b"\n")
    sys.stdout.buffer.flush()


async def _pass_on(order: HelperRequest, listening: dict[str, asyncio.Server]) -> None:
    """Forward a host's socket; if the name is already in use, it refers to the host's new init from now on."""
    target = f"/proc/{order.pid}/root{order.path}"
    file = f"{SOCKETS}/{order.name}"
    if order.name in listening:
        listening.pop(order.name).close()
    with contextlib.suppress(FileNotFoundError):
        os.unlink(file)  # noqa: PTH108

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            their_reader, their_writer = await asyncio.open_unix_connection(target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, their_writer), _copy(their_reader, writer))

    listening[order.name] = await asyncio.start_unix_server(connected, file)
    os.chmod(file, 0o666)  # noqa: PTH101  # the directory is the lab's user's alone


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    with contextlib.suppress(OSError, RuntimeError):
        target.write_eof() if target.can_write_eof() else target.close()


async def _remove_all(label: str) -> None:
    """Remove every container of the lab with its disks; this one last."""
    connector = aiohttp.UnixConnector(path=ENGINE)
    async with aiohttp.ClientSession(connector=connector) as session:
        filters = quote(f'{{"label":["{label}"]}}')
        async with session.get(f"http://engine/containers/json?all=1&filters={filters}") as answer:
            found = await answer.json()
        found.sort(key=lambda one: "overlay-lab.helper" in one["Labels"])
        for one in found:
            async with session.delete(f"http://engine/containers/{one['Id']}?force=1&v=1") as answer:
                await answer.read()


def main(argv: Sequence[str]) -> int:
    """Serve standard input and output; the label is `KEY=VALUE`."""
    asyncio.run(serve(argv[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

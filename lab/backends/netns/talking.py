"""A process that exchanges lines with the runner while a context is open: probe agents, the relay, drivers.

Owns the two pipes. Knows nothing of the lines' content.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

from lab.backends.netns.spawn import Spawner

__all__ = ["conversing", "talking"]

_COMPLAINT = 1000
"""Maximum characters kept of a line from a foreign program."""


@contextlib.asynccontextmanager
async def talking(
    spawner: Spawner,
    *,
    call: str,
    argv: Sequence[str] = (),
    host: int = 0,
    env: Mapping[str, str] = {},
    log: Path,
    limit: int,
) -> AsyncIterator[tuple[asyncio.StreamReader, Callable[[bytes], object]]]:
    """A fork of the preloaded process that calls this function (in a host, or else in the lab itself). Yields its
    output and a function that writes to its input. Killed with the context. `log` gets its error output; `limit`: bytes
    per line."""
    complaints = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    async with _pipes(spawner, complaints, call=call, argv=argv, host=host, env=env, limit=limit) as pipes:
        yield pipes


@contextlib.asynccontextmanager
async def conversing(
    spawner: Spawner,
    *,
    argv: Sequence[str],
    host: int,
    env: Mapping[str, str],
    complain: Callable[[str], None],
    limit: int,
) -> AsyncIterator[tuple[asyncio.StreamReader, Callable[[bytes], object]]]:
    """The same for a foreign program, which may write anything to its standard error."""
    errors, complaints = os.pipe2(os.O_CLOEXEC)
    reader = asyncio.StreamReader(limit=_COMPLAINT)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(errors, "rb", 0)
    )
    hearing = asyncio.create_task(_hear(reader, complain))
    try:
        async with _pipes(spawner, complaints, call="", argv=argv, host=host, env=env, limit=limit) as pipes:
            yield pipes
    finally:
        hearing.cancel()
        transport.close()


async def _hear(reader: asyncio.StreamReader, complain: Callable[[str], None]) -> None:
    kept = bytearray()
    while data := await reader.read(_COMPLAINT):
        for part in data.splitlines(keepends=True):
            kept += part[: _COMPLAINT - len(kept)]
            if part.endswith((b"\n", b"\r")):
                complain(kept.decode(errors="replace").rstrip())
                kept.clear()
    if kept:
        complain(kept.decode(errors="replace"))


@contextlib.asynccontextmanager
async def _pipes(
    spawner: Spawner, complaints: int, *, call: str, argv: Sequence[str], host: int, env: Mapping[str, str], limit: int
) -> AsyncIterator[tuple[asyncio.StreamReader, Callable[[bytes], object]]]:
    """Owns `complaints`, which is closed here."""
    async with contextlib.AsyncExitStack() as stack:
        loop = asyncio.get_running_loop()
        their_input, commands = os.pipe2(os.O_CLOEXEC)
        answers, their_output = os.pipe2(os.O_CLOEXEC)
        orders = stack.enter_context(os.fdopen(commands, "wb", 0))
        output = stack.enter_context(os.fdopen(answers, "rb", 0))
        theirs = (their_input, their_output, complaints)
        try:
            process = await spawner.spawn(host=host, call=call, argv=argv, env=env, fds=theirs)
        finally:
            for fd in theirs:
                os.close(fd)
        stack.callback(process.kill)
        reader = asyncio.StreamReader(limit=limit)
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), output)
        stack.callback(transport.close)
        # Not by os.write, because a process that does not read must not block the runner.
        writer, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, orders)
        stack.callback(writer.close)
        yield reader, writer.write

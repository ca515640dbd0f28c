"""A host whose programs run on this machine: for drivers that speak lines, without a lab."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from lab.contracts.lab import CommandResult, LineReader


class ProgramsHere:
    """Runs programs as children of this process. Only what drivers ask of a host."""

    name = "here"
    address = "192.0.2.1"

    async def exec(
        self, argv: Sequence[str], *, container: str = "", timeout: float = 30.0, env: Mapping[str, str] = {}
    ) -> CommandResult:
        """A command to its end."""
        process = await asyncio.create_subprocess_exec(*argv, stdout=-1, stderr=-1)
        out, err = await asyncio.wait_for(process.communicate(), timeout)
        return CommandResult(process.returncode or 0, out.decode(), err.decode())

    @contextlib.asynccontextmanager
    async def converse(
        self, argv: Sequence[str], *, env: Mapping[str, str], complain: Callable[[str], None], limit: int
    ) -> AsyncIterator[tuple[LineReader, Callable[[bytes], object]]]:
        """See `lab.contracts.lab.Conversing`."""
        process = await asyncio.create_subprocess_exec(
            *argv, env={"PATH": "/usr/bin:/bin", **env}, stdin=-1, stdout=-1, stderr=-1, limit=limit
        )
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        errors = process.stderr

        async def hear() -> None:
            while line := await errors.readline():
                complain(line.decode(errors="replace").rstrip())

        hearing = asyncio.create_task(hear())
        try:
            yield process.stdout, process.stdin.write
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            await hearing

"""A driver that is a program on its host: one JSON object per line each way, one request at a time.

Owns the program's process, the timeout of each request, and the validation of its answers. The program is not trusted:
its output is limited, decoded by type, and cleaned before it is displayed. Knows no overlay.
"""

import asyncio
import base64
import contextlib
import re
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

import msgspec

from lab.contracts.driver import WORDS, DriverFault, DriverHello, DriverPeer, DriverPlace, DriverPlug, DriverStatus
from lab.contracts.lab import Conversing, Host, LineReader
from lab.errors import LabError
from lab.named_file import read_named
from overlay.clean import LINES, clean

LINE = 1 << 16
"""Maximum bytes of one answer."""
_PATIENCE = {"hello": 30.0, "launch": 60.0, "connect": 30.0, "attach": 30.0, "detach": 30.0, "status": 10.0}
_COPIED = 90_000
"""Maximum bytes of a program that is copied to a host: the limit of one command argument."""
_WRITE = """\
import base64, os, sys
with open(sys.argv[1], "wb") as file:
    file.write(base64.b64decode(sys.argv[2]))
os.chmod(sys.argv[1], 0o755)
"""
_OTHERWISE = 30.0
"""Timeouts of requests in seconds; programs that fetch or compile on their first start do so in `launch`."""
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]{2,45}/[0-9]{1,3}")


class LineDriver:
    """See `lab.contracts.driver.Driver`."""

    def __init__(self, host: Host, place: DriverPlace, command: Sequence[str]) -> None:
        self._host = host
        self._place = place
        self._command = list(command)
        self._number = 0
        self._turn = asyncio.Lock()
        self._stack = contextlib.AsyncExitStack()
        self._talk: tuple[LineReader, Callable[[bytes], object]] | None = None
        self._complaints: deque[str] = deque(maxlen=20)
        self._spoiled = ""
        """Why this program gets no more requests."""

    async def hello(self) -> DriverHello:
        """Starts the program, unless it runs, because a power cut or a fault may have ended it."""
        if self._spoiled or self._talk is None or self._talk[0].at_eof():
            await self.close()
            self._spoiled = ""
        return cast(DriverHello, await self._ask("hello", **msgspec.to_builtins(self._place)))

    async def launch(self) -> None:
        """See `Driver`."""
        await self._ask("launch")

    async def connect(self, peers: Sequence[DriverPeer]) -> None:
        """See `Driver`."""
        await self._ask("connect", peers=[msgspec.to_builtins(peer) for peer in peers])

    async def attach(self, what: DriverPlug) -> str:
        """See `Driver`."""
        answer = await self._ask("attach", **msgspec.to_builtins(what))
        address = answer.get("address", what.address)
        if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
            self._spoil(f"answered `attach` with the address {_shown(address)}, expected one as 10.32.0.1/12")
        return address

    async def detach(self, what: DriverPlug) -> None:
        """See `Driver`."""
        await self._ask("detach", **msgspec.to_builtins(what))

    async def status(self) -> DriverStatus:
        """See `Driver`."""
        return cast(DriverStatus, await self._ask("status"))

    async def stop(self) -> None:
        """See `Driver`."""
        await self._ask("stop")

    async def kill(self) -> None:
        """See `Driver`."""
        await self._ask("kill")

    async def logs(self) -> str:
        """See `Driver`; without a log, the program's error output."""
        text = ""
        with contextlib.suppress(LabError):
            text = str((await self._ask("logs")).get("text", ""))
        return clean(text[-4000:] or "\n".join(self._complaints), keep=LINES)

    async def close(self) -> None:
        """End the program."""
        self._talk = None
        await self._stack.aclose()

    # Internals

    async def _ask(self, word: str, **fields: Any) -> Any:
        async with self._turn:
            if self._spoiled:
                raise DriverFault(self._spoiled)
            if self._talk is None:
                await self._begin()
            self._number += 1
            patience = _PATIENCE.get(word, _OTHERWISE)
            try:
                async with asyncio.timeout(patience):
                    return await self._exchange(word, fields)
            except TimeoutError:
                self._spoil(f"did not answer `{word}` within {patience:g} s")
            finally:
                await self._end_if_spoiled()

    async def _end_if_spoiled(self) -> None:
        if self._spoiled:
            await self.close()

    async def _begin(self) -> None:
        if not isinstance(self._host, Conversing):
            raise LabError(f"{self._place.host}: hosts of this backend cannot run a driver; use netns")
        environment = {
            "LAB_HOST": self._place.host,
            "LAB_ADDRESS": self._place.address,
            "LAB_DIRECTORY": self._place.directory,
            "LAB_SUBNET": self._place.subnet,
            "LAB_PREFIX": self._place.prefix,
            "LAB_HOSTS": " ".join(f"{name}={address}" for name, address in self._place.hosts.items()),
        }
        made = await self._host.exec(["mkdir", "-p", self._place.directory])
        if made.code:
            raise LabError(f"{self._place.host}: {made.err.strip()}")
        command = [await self._visible(self._command[0]), *self._command[1:]]
        context = self._host.converse(command, env=environment, complain=self._complain, limit=LINE)
        self._talk = await self._stack.enter_async_context(context)

    async def _visible(self, program: str) -> str:
        """The program's path on the host; one that the host cannot see, for example below /tmp, is copied there."""
        if "/" not in program or (await self._host.exec(["test", "-x", program])).code == 0:
            return program
        content = read_named(Path(program))
        if len(content) > _COPIED:
            raise LabError(
                f"{self._place.host} does not see {program}, and {len(content):,} bytes are too many to copy there "
                f"({_COPIED:,} at most): put it outside of /tmp, /run and the home directory"
            )
        copy = f"{self._place.directory}/{Path(program).name}"
        words = ["python3", "-ISc", _WRITE, copy, base64.b64encode(content).decode()]
        if (done := await self._host.exec(words)).code:
            raise LabError(f"{self._place.host}: {copy}: {done.err.strip()}")
        return copy

    def _complain(self, text: str) -> None:
        self._complaints.append(clean(text, most=400))

    async def _exchange(self, word: str, fields: dict[str, Any]) -> Any:
        assert self._talk is not None
        reader, write = self._talk
        write(msgspec.json.encode({"id": self._number, "op": word, **fields}) + b"\n")
        try:
            line = await reader.readline()
        except ValueError:
            self._spoil(f"answered `{word}` with a line of more than {LINE >> 10} KiB")
        if not line:
            said = f"; it said: {self._complaints[-1]}" if self._complaints else ""
            self._spoil(f"ended instead of answering `{word}`{said}")
        try:
            answer = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError:
            self._spoil(f"answered `{word}` with {_shown(line)}, expected one JSON object")
        if answer.get("id") != self._number or not isinstance(answer.get("ok"), bool):
            expected = f'"id": {self._number} and "ok": true or false'
            self._spoil(f"answered `{word}` with {_shown(line)}, expected {expected}")
        if not answer["ok"]:
            reason = clean(str(answer.get("error", "it gives no reason")), most=400)
            raise DriverFault(f"{self._place.host}: {self._name}: `{word}` failed: {reason}")
        shape = WORDS[word]
        if shape is None:
            return answer
        try:
            return msgspec.convert(answer, shape)
        except msgspec.ValidationError as error:
            self._spoil(f"answered `{word}` with {_shown(line)}: {error}")

    @property
    def _name(self) -> str:
        return f"the driver {self._command[0]}"

    def _spoil(self, what: str) -> NoReturn:
        """Report the program's error and send no more requests, because answers could no longer be matched."""
        self._spoiled = f"{self._place.host}: {self._name} {what}"
        raise DriverFault(self._spoiled)


def _shown(value: object) -> str:
    text = value.decode(errors="replace").rstrip("\n") if isinstance(value, bytes) else str(value)
    return f"'{clean(text, most=100)}'"

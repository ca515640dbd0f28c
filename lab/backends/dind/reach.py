"""The lab's access to its hosts: direct if the engine is the lab's own, otherwise through a helper container.

Owns the lab's side of the helper's protocol. Knows nothing of what the tools do.
"""

import asyncio
import contextlib
import os
import shutil
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from lab.backends.dind.client import client
from lab.backends.dind.helper import ENGINE, SOCKETS, HelperReply, HelperRequest
from lab.backends.real.docker_client import Docker
from lab.backends.real.observed import Agent
from lab.errors import LabError
from lab.fabric.fabric import run
from lab.fabric.relay.process import RelayLauncher
from lab.images.layers import cache

HELPER = "overlay-lab.helper"
_SUN_PATH, _NAME = 107, 40
"""Maximum bytes of a unix socket's path (unix(7), without the terminator), and the part reserved for a socket's name.
"""
_CAPABILITIES = (
    "NET_ADMIN",
    "NET_RAW",
    "SYS_ADMIN",
    "SYS_PTRACE",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "KILL",
    "SYS_CHROOT",
)


def sockets(lab: str) -> Path:
    """The directory of sockets that a helper forwards: in the user's cache, which the engine can see too."""
    return cache().parent / "run" / lab


def too_long(lab: str) -> str:
    """Why the cache's path is too long for these sockets' names; empty when it is not."""
    room = _SUN_PATH - _NAME - 1 - len(os.fsencode(sockets(lab)))
    if room >= 0:
        return ""
    return (
        f"the sockets of hosts in your engine are made below {cache().parent}, a path {-room} bytes too long for unix "
        f"sockets (at most {_SUN_PATH}): set XDG_CACHE_HOME to a shorter one"
    )


class LocalAccess:
    """Access when the engine is the lab's own and everything is in the lab's namespaces. `relay` starts the relay."""

    def __init__(self, relay: RelayLauncher) -> None:
        self.relay = relay

    async def tool(self, *argv: str, text: str = "", check: bool = True) -> str:
        """See `lab.fabric.fabric.run`."""
        return await run(*argv, text=text, check=check)

    async def open(self, pid: int, name: str, path: str) -> str:
        """A path through the host's root directory."""
        return f"/proc/{pid}/root{path}"

    async def close(self) -> None:
        """Nothing to close."""


class HelperAccess:
    """Access when the engine is the user's: a helper container runs everything that needs privileges. Use `start`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ids = count(1)
        self._waiting: dict[int, asyncio.Future[HelperReply]] = {}
        self._stack = contextlib.AsyncExitStack()
        self._write: Any = None
        self._reading: asyncio.Task[None] | None = None
        self._engine = Docker("")
        self._container = ""

    @classmethod
    async def start(cls, outer: str, image: str, folder: Path, key: str, value: str) -> "HelperAccess":
        """Start the helper of the lab with the label `key=value`; it cleans up and ends when this process does."""
        await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True)
        far = cls(folder)
        container = await asyncio.to_thread(far._create, outer, image, {key: value, HELPER: "1"})
        command = ["python3", "-m", "lab.backends.dind.helper", f"{key}={value}"]
        far._engine, far._container = Docker(outer), container
        reader, far._write = await far._stack.enter_async_context(far._engine.attached(container, command))
        far._reading = asyncio.create_task(far._read(reader))
        return far

    def _create(self, outer: str, image: str, labels: dict[str, str]) -> str:
        with client(outer) as engine:
            settings = engine.api.create_host_config(
                network_mode="none",
                pid_mode="host",
                cap_drop=["ALL"],
                cap_add=list(_CAPABILITIES),
                security_opt=["seccomp=unconfined", "apparmor=unconfined"],
                binds=[f"{outer}:{ENGINE}", f"{self._folder}:{SOCKETS}"],
            )
            made = engine.api.create_container(
                image, command=["sleep", "infinity"], labels=labels, host_config=settings, stop_signal="SIGKILL"
            )
            engine.api.start(made["Id"])
            return str(made["Id"])

    async def tool(self, *argv: str, text: str = "", check: bool = True) -> str:
        """See `lab.fabric.fabric.run`; in the helper's namespaces."""
        return (await self._ask(argv=argv, text=text, check=check)).out

    def relay(self, device: str) -> contextlib.AbstractAsyncContextManager[Agent]:
        """Start the relay in the helper's container, next to the bridges; it ends with the container at the latest."""
        return self._engine.attached(self._container, ["python3", "-m", "lab.fabric.relay.worker", device])

    async def open(self, pid: int, name: str, path: str) -> str:
        """A socket that the helper forwards."""
        file = f"{name}.{Path(path).name}"[-_NAME:]
        await self._ask(pid=pid, path=path, name=file)
        return str(self._folder / file)

    async def close(self) -> None:
        """Close the helper's input: it removes every container of the lab, itself last."""
        if self._reading is not None:
            self._reading.cancel()
        await self._stack.aclose()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _ask(self, **order: Any) -> HelperReply:
        number = next(self._ids)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        self._write(msgspec.json.encode(HelperRequest(id=number, **order)) + b"\n")
        done = await self._waiting[number]
        if done.error:
            raise LabError(done.error)
        return done

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            done = msgspec.json.decode(line, type=HelperReply)
            self._waiting.pop(done.id).set_result(done)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(LabError("the lab's helper container has ended"))

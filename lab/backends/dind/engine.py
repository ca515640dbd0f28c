"""The engine that runs the hosts: selects one, and starts one if there is none.

Owns the choice (LAB_ENGINE, DOCKER_HOST, Docker's usual socket, our own) and the lifecycle of the lab's own engine.
That engine has its own network namespace, so that it does not touch the machine's network, a data directory on the
lab's tmpfs, and its own cgroup. It is a child of the lab and ends with it. Knows nothing of hosts.
"""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from lab import this_machine
from lab.backends.netns.paths import STATE
from lab.errors import LabError
from overlay.cli.unix_http import engine_answer

API = (1, 41)
"""The oldest supported Engine API: Docker 20.10, December 2020."""
USUAL = "/var/run/docker.sock"
OWN = "own"
INSTALL = "sudo apt-get install docker.io"
_DEADLINE = 30.0
"""Timeout for an engine's first answer, in seconds."""


class Choice(Struct, frozen=True):
    """The engine to use. `socket` is empty for the lab's own engine."""

    socket: str = ""

    @property
    def own(self) -> bool:
        """Whether the lab starts the engine."""
        return not self.socket


def choose(environment: Mapping[str, str]) -> Choice:
    """Select the engine that runs the hosts. Raises `LabError` that says what is missing and how to fix it."""
    asked = environment.get("LAB_ENGINE", "")
    if asked == OWN:
        return _own()
    named = asked or environment.get("DOCKER_HOST", "")
    if named.startswith(("tcp://", "ssh://", "http://", "https://", "npipe://")):
        raise LabError(
            f"the dind backend plugs hosts into a network on this machine, and {named} may be elsewhere: name a unix "
            f"socket (LAB_ENGINE=unix://{USUAL}), or LAB_ENGINE={OWN} for an engine of the lab's own"
        )
    path = named.removeprefix("unix://") or USUAL
    try:
        version = _version(path)
    except OSError as error:
        if named:
            raise LabError(f"no Docker Engine answers at {path} ({error.strerror or error}): is it running?") from None
        return _own(denied=isinstance(error, PermissionError))
    if version < API:
        have, want = (".".join(map(str, one)) for one in (version, API))
        raise LabError(f"the engine at {path} speaks API {have}; hosts need {want} or newer (Docker 20.10)")
    return Choice(path)


def _own(*, denied: bool = False) -> Choice:
    if os.geteuid() != 0:
        if denied:
            raise LabError(
                f"not allowed to use the Docker Engine at {USUAL}: join its group (sudo usermod -aG docker $USER, then "
                "log in again), or run the same command with sudo"
            )
        raise LabError(
            f"no Docker Engine answers at {USUAL}, and only root can start one for a lab: start one (after "
            f"{INSTALL}), or run the same command with sudo"
        )
    if program() is None:
        raise LabError(f"no Docker Engine answers at {USUAL}, and there is none to start: {INSTALL}")
    return Choice()


def program() -> str | None:
    """The path of `dockerd`."""
    return this_machine.program("dockerd")


def _version(path: str) -> tuple[int, ...]:
    """The API version of the engine at a socket; raises `OSError` when none answers."""
    _, told = engine_answer(path, "GET", "/version", timeout=5)
    try:
        return tuple(int(part) for part in str(told["ApiVersion"]).split("."))
    except (ValueError, KeyError, TypeError) as error:
        raise OSError(f"something that is no Docker Engine: {error}") from None


class OwnEngine:
    """A `dockerd` in this lab. `directory` holds its socket, state and log; `data` its images and containers."""

    def __init__(self, directory: Path, data: Path, cgroup: str) -> None:
        self.socket = str(directory / "docker.sock")
        self._directory, self._data, self._cgroup = directory, data, cgroup
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it answers. Raises `LabError` with the end of its log."""
        dockerd = program()
        if dockerd is None:
            raise LabError(f"there is no dockerd to start: {INSTALL}")
        self._directory.mkdir(parents=True, exist_ok=True)
        _private_containerd()
        (self._directory / "daemon.json").write_text("{}", encoding="utf-8")
        command = ["unshare", "--net", dockerd, f"--config-file={self._directory}/daemon.json"]
        command += [f"--data-root={self._data}", f"--exec-root={self._directory}/exec"]
        command += [f"--pidfile={self._directory}/docker.pid", f"--host=unix://{self.socket}", "--group="]
        command += ["--storage-driver=overlay2", "--exec-opt=native.cgroupdriver=cgroupfs", "--bridge=none"]
        command += ["--iptables=false", "--ip-forward=false", "--userland-proxy=false"]
        command += [f"--cgroup-parent=/{self._cgroup}"] if self._cgroup else []
        log = self._directory / "dockerd.log"
        path = this_machine.search_path()
        with log.open("wb") as out:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, "PATH": path, "TMPDIR": str(self._directory)},
            )
        try:
            async with asyncio.timeout(_DEADLINE):
                await answers(self.socket, self._process)
        except (TimeoutError, LabError):
            await self.stop()
            lines = "\n".join(log.read_text(errors="replace", encoding="utf-8").splitlines()[-8:])
            raise LabError(f"the lab's own Docker Engine did not come up; the end of its log:\n{lines}") from None

    async def stop(self) -> None:
        """Stop it gracefully, so that its data stay consistent."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(10):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


async def answers(path: str, process: asyncio.subprocess.Process | None = None) -> None:
    """Wait until an engine answers at a socket; raises `LabError` when its process ends first."""
    while True:
        with contextlib.suppress(OSError):
            await asyncio.to_thread(_version, path)
            return
        if process is not None and process.returncode is not None:
            raise LabError("it ended")
        await asyncio.sleep(0.02)


def _private_containerd() -> None:
    """Hide the machine's /run/containerd, which is visible in a lab: dockerd would use the containerd found there."""
    place = Path("/run/containerd")
    if place.is_symlink():
        place.unlink()
    place.mkdir(exist_ok=True)


def state_dir() -> Path:
    """Where the lab's own engine keeps all its files: on the tmpfs that is removed with the lab."""
    return STATE / "engine"

"""A host with nothing but a container engine: fresh namespaces, the engine as a program in them, an HTTP client.

`EngineHost(directory, user=…)` starts one, as root or as the ordinary user `nobody` in a user namespace; it ends with
`close`. The engine is the host's process 1, or with `respawn` the child of a shell that starts another when it dies.
"""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tiers import ENDS_WITH_US
from waiting import PATIENCE

from overlay.cli.unix_http import UnixHttpConnection

ROOT = Path(__file__).resolve().parents[2]
SYSTEM_PYTHON = "/usr/bin/python3"


def skip_reason(user: bool) -> str:
    """Why such a host cannot be had here; empty when it can."""
    for tool in ("unshare", "nsenter", "ip", "nft"):
        if not shutil.which(tool, path="/usr/sbin:/sbin:" + os.environ.get("PATH", "")):
            return f"{tool} is missing"
    if not user:
        return "" if os.geteuid() == 0 else "needs root"
    if os.geteuid() != 0:
        return ""
    if not shutil.which("setpriv"):
        return "setpriv is missing"
    code = subprocess.run([*_as_user(), "test", "-r", str(ROOT / "lab/__init__.py")], check=False).returncode
    if code:
        return "an ordinary user cannot read this checkout"
    probe = subprocess.run(
        [*_as_user(), "env", *_environment(), SYSTEM_PYTHON, "-c", "import aiohttp, msgspec, pyroute2"],
        check=False,
        capture_output=True,
    )
    return "an ordinary user's /usr/bin/python3 cannot import this environment" if probe.returncode else ""


class EngineHost:
    """One host. `api` is its engine, `run` a command in its namespaces."""

    def __init__(self, directory: Path, *, user: bool = False, respawn: bool = False) -> None:
        self.directory = directory
        self.socket = directory / "docker.sock"
        self.state = directory / "state"
        self.user = user
        self._respawn = respawn
        self.start()

    def start(self) -> None:
        """Start the engine in fresh namespaces, over the state that there is."""
        self.directory.mkdir(parents=True, exist_ok=True)
        wrapper: list[str] = []
        python = sys.executable
        if self.user:
            if os.geteuid() == 0:
                shutil.chown(self.directory, "nobody")
                wrapper, python = [*_as_user(), "env", *_environment()], SYSTEM_PYTHON
            wrapper += ["unshare", "-Ur"]
        engine = shlex.join([python, "-m", "lab.engine", "--socket", str(self.socket), "--state", str(self.state)])
        command = "ip link set lo up; " + (f"while :; do {engine}; done" if self._respawn else f"exec {engine}")
        # Whatever ends the tests ends the host too: nothing here forks but the last `unshare`.
        unshare = ["unshare", "-n", "-m", "-p", "-u", "-f", "--mount-proc", "--kill-child", "sh", "-c"]
        self.process = subprocess.Popen(
            [*wrapper, *ENDS_WITH_US, *unshare, command],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=open(self.directory / "engine.err", "ab"),  # noqa: SIM115
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line == "ready\n", (line, (self.directory / "engine.err").read_text())
        self.pid = self._find_first()

    def close(self) -> None:
        """End it, and everything in it."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.process.wait(PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def run(self, *argv: str, check: bool = True) -> str:
        """A command in the host's net and mnt namespaces; its output."""
        enter = ["nsenter", "-t", str(self.pid), *(["-U"] if self.user else []), "-n", "-m", "--preserve-credentials"]
        done = subprocess.run([*enter, *argv], check=False, capture_output=True, text=True, timeout=PATIENCE)
        assert not check or done.returncode == 0, (argv, done)
        return done.stdout

    def api(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """(status, decoded JSON or text) of one request."""
        connection = UnixHttpConnection(str(self.socket), PATIENCE, "engine")
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        if "json" in response.headers.get("Content-Type", "") and data:
            return response.status, json.loads(data)
        return response.status, data

    def stream(self, path: str) -> Iterator[Any]:
        """JSON objects, one a line, as they come; the engine has answered when this returns."""
        connection = UnixHttpConnection(str(self.socket), PATIENCE, "engine")
        connection.request("GET", path)
        response = connection.getresponse()

        def lines() -> Iterator[Any]:
            try:
                while line := response.readline():
                    yield json.loads(line)
            finally:
                connection.close()

        return lines()

    def create(self, name: str, image: str = "process", cmd: list[str] | None = None, **config: Any) -> str:
        """Create a container; its id. `config` in the API's own names."""
        status, made = self.api("POST", f"/containers/create?name={name}", {"Image": image, "Cmd": cmd, **config})
        assert status == 201, made
        return str(made["Id"])

    def started(self, name: str, image: str = "process", cmd: list[str] | None = None, **config: Any) -> str:
        """Create and start a container; its id."""
        made = self.create(name, image, cmd, **config)
        status, answer = self.api("POST", f"/containers/{made}/start")
        assert status == 204, answer
        return made

    def inspect(self, name: str) -> dict[str, Any]:
        status, found = self.api("GET", f"/containers/{name}/json")
        assert status == 200, found
        return dict(found)

    def exec(self, name: str, *argv: str) -> tuple[int, str]:
        """(exit code, output) of a command in a container, collected."""
        status, made = self.api(
            "POST", f"/containers/{name}/exec", {"Cmd": list(argv), "AttachStdout": True, "AttachStderr": True}
        )
        assert status == 201, made
        status, data = self.api("POST", f"/exec/{made['Id']}/start", {})
        assert status == 200, data
        return self.api("GET", f"/exec/{made['Id']}/json")[1]["ExitCode"], demultiplex(data).decode()

    def logs(self, name: str) -> str:
        status, data = self.api("GET", f"/containers/{name}/logs?stdout=1&stderr=1")
        assert status == 200, data
        return demultiplex(data).decode()

    def veths(self) -> list[str]:
        """Container ends on the host."""
        return [line.split("@")[0] for line in self.run("ip", "-br", "link").splitlines() if line.startswith("veth")]

    def processes(self) -> list[int]:
        """Every process of the host and of its containers, in the pids of the test; `pid` is the host's process 1."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                fields = (entry / "status").read_text().split("\n")
                levels = next(line for line in fields if line.startswith("NSpid:")).split()[1:]
                pid = int(entry.name)
                if len(levels) > 1 and self.pid in (pid, *ancestors(pid)):
                    found.append(pid)
        return found

    def _find_first(self) -> int:
        """The pid out here of the host's process 1: the one child of unshare that is process 1 of its namespace."""
        parents = [self.process.pid]
        while parents:
            parent = parents.pop()
            for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
                status = Path(f"/proc/{child}/status").read_text()
                if next(line for line in status.split("\n") if line.startswith("NSpid:")).split()[-1] == "1":
                    return int(child)
                parents.append(int(child))
        raise AssertionError("no engine")


def ancestors(pid: int) -> Iterator[int]:
    """Parents of a process, up to the first."""
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        yield pid


def demultiplex(data: bytes) -> bytes:
    """What stdout and stderr carried, in order."""
    out = b""
    while data:
        size = int.from_bytes(data[4:8], "big")
        out += data[8 : 8 + size]
        data = data[8 + size :]
    return out


def filters(**values: list[str]) -> str:
    """The `filters` parameter."""
    return "filters=" + quote(json.dumps(values))


def _as_user() -> list[str]:
    return ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--"]


def _environment() -> list[str]:
    """What makes the system's own interpreter find the libraries of this one."""
    paths = [path for path in sys.path if path.endswith("site-packages")]
    return [f"PYTHONPATH={os.pathsep.join([str(ROOT), *paths])}", "PYTHONDONTWRITEBYTECODE=1"]

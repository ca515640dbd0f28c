"""Hosts for system tests of the overlay: namespaces with a cable to one switch, the lab's container engine, `weave`.

All of it hangs on one process in fresh namespaces; when that is killed the kernel removes everything. As an ordinary
user the outermost is a user namespace.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tiers import ENDS_WITH_US, cannot_run
from waiting import PATIENCE, eventually

__all__ = ["IMAGE", "PYTHON", "ROOT", "Host", "Underlay", "eventually", "run_services", "two_peers", "underlay"]

PYTHON = sys.executable
ROOT = Path(__file__).resolve().parents[2]
IMAGE = "ksahnine/dummy-http"


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Underlay:
    """A switch in a network namespace, and what is plugged into it."""

    def __init__(self, directory: Path, kind: "type[Host] | None" = None) -> None:
        self.directory = directory
        self.kind = kind or Host
        self.hosts: dict[str, Host] = {}
        flags = [] if os.geteuid() == 0 else ["--map-root-user", "--user"]
        self.process = subprocess.Popen(
            [*ENDS_WITH_US, "unshare", *flags, "--net", "--mount", "sh", "-c", "echo ready; exec sleep infinity"],
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        if self.process.stdout.readline() != b"ready\n":
            cannot_run("no namespaces: allow unprivileged user namespaces, or run as root (`lab doctor` says how)")
        self.run("ip link add switch type bridge && ip link set switch up && ip link set lo up")

    def enter(self) -> list[str]:
        """The words that lead into the switch's namespaces."""
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", "--target", str(self.process.pid), *user, "--net", "--mount"]

    def run(self, script: str) -> str:
        """Run a shell script beside the switch."""
        return subprocess.run([*self.enter(), "sh", "-ec", script], check=True, capture_output=True, text=True).stdout

    def host(self, name: str, number: int) -> "Host":
        """Add a host with the address 192.168.0.NUMBER."""
        self.hosts[name] = self.kind(self, name, number)
        return self.hosts[name]

    def close(self) -> None:
        for host in self.hosts.values():
            host.close()
        self.process.kill()
        self.process.wait()


class Host:
    """One host: namespaces of its own, an engine as its first process, and a disk under a temporary directory."""

    def __init__(self, underlay: Underlay, name: str, number: int) -> None:
        self.name = name
        self.underlay = underlay
        self.address = f"192.168.0.{number}"
        self.disk = underlay.directory / str(number)
        for part in ("engine", "db"):
            (self.disk / part).mkdir(parents=True)
        self.engine_log = (self.disk / "engine.log").open("w")
        self.launcher = subprocess.Popen(
            [
                *underlay.enter(),
                *ENDS_WITH_US,
                *("unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child"),
                *("sh", "-c", f'hostname {name}; exec "$@"', "sh"),
                *self.first_words(number),
            ],
            stdout=subprocess.PIPE,
            stderr=self.engine_log,
            env=self.env,
        )
        assert self.launcher.stdout is not None
        assert self.launcher.stdout.readline() == b"ready\n", (self.disk / "engine.log").read_text()
        self.pid = _first_process(self.launcher.pid)
        underlay.run(
            f"ip link add h{number} type veth peer name eth0 netns {self.pid}; "
            f"ip link set h{number} master switch; ip link set h{number} up"
        )
        self.sh(f"ip addr add {self.address}/24 dev eth0; ip link set eth0 up; ip link set lo up")

    def first_words(self, number: int) -> list[str]:
        """The command of this host's first process, which says `ready` once the rest may begin."""
        return [
            *(PYTHON, "-m", "lab.engine", "--socket", str(self.disk / "d"), "--hostname", self.name),
            *("--state", str(self.disk / "engine"), "--bridge-address", f"172.17.{number}.1/24"),
        ]

    @property
    def env(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DOCKER_HOST": f"unix://{self.disk}/d",
            "WEAVE_DB": str(self.disk / "db"),
            "WEAVE_SOCK": str(self.disk / "w"),
            "WEAVE_LOG": str(self.disk / "weave.log"),
        }

    def popen(self, *words: str, **options: object) -> subprocess.Popen[str]:
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        enter = ["nsenter", "--target", str(self.pid), *user, "--net", "--mount", "--uts", "--pid"]
        options = {"env": self.env, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        return subprocess.Popen([*enter, *words], **options)  # type: ignore[no-any-return,call-overload]

    def run(self, *words: str, check: bool = True, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        """Run a command on this host."""
        process = self.popen(*words)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"{self.name}: {' '.join(words)}: not done within {timeout:g} s\n{self.log}") from None
        if check and process.returncode:
            raise AssertionError(f"{self.name}: {' '.join(words)}: {process.returncode}\n{out}{err}\n{self.log}")
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def sh(self, script: str) -> str:
        return self.run("sh", "-ec", script).stdout

    def weave(self, *words: str, check: bool = True, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        """Run `weave` on this host."""
        return self.run(PYTHON, "-m", "overlay.cli.main", *words, check=check, timeout=timeout)

    def inside(self, container: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the host in the network namespace of a container."""
        pid = self.container(container)["State"]["Pid"]
        return self.run("nsenter", "--target", str(pid), "--net", *words, check=False)

    def pings(self, container: str, address: str, wait: int = 1) -> bool:
        """One ping from a container is answered within these seconds: name more where it must be."""
        return self.inside(container, "ping", "-n", "-c1", f"-W{wait}", address).returncode == 0

    def engine(self, method: str, path: str) -> str:
        return self.run(
            "curl", "-sS", "--fail-with-body", "-X", method, "--unix-socket", f"{self.disk}/d", f"http://engine{path}"
        ).stdout

    def container(self, name: str) -> Mapping[str, Any]:
        import json

        found: Mapping[str, Any] = json.loads(self.engine("GET", f"/containers/{name}/json"))
        return found

    @property
    def log(self) -> str:
        path = self.disk / "weave.log"
        return path.read_text() if path.exists() else ""

    def daemon(self) -> int:
        """Process id of the daemon, as this host sees it."""
        return int((self.disk / "w.pid").read_text())

    def kill_daemon(self) -> None:
        """`kill -9`, and wait until it is gone."""
        pid = self.daemon()
        self.sh(f"kill -9 {pid}; while kill -0 {pid} 2>/dev/null; do :; done")

    def close(self) -> None:
        self.launcher.kill()
        self.launcher.wait()
        self.engine_log.close()


def _first_process(launcher: int) -> int:
    """The process that is number 1 behind `unshare --fork`."""
    pid = launcher
    while True:
        status = Path(f"/proc/{pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("NSpid:"))
        if line.split()[-1] == "1" and len(line.split()) > 2:
            return pid
        (pid,) = _children(pid)


@contextlib.contextmanager
def two_peers() -> Iterator[Underlay]:
    """`orion` (192.168.0.2) and `macbook` (192.168.0.3), launched and told of each other."""
    with underlay() as made:
        for number, name in ((2, "orion"), (3, "macbook")):
            made.host(name, number).weave("launch")
        made.hosts["orion"].weave("connect", "192.168.0.3")
        yield made


def run_services(made: Underlay) -> None:
    """`svc1` with 10.0.1.1 on orion and `svc3` with 10.0.1.3 on macbook."""
    made.hosts["orion"].weave("run", "10.0.1.1/24", "--name", "svc1", IMAGE, "svc1")
    made.hosts["macbook"].weave("run", "10.0.1.3/24", "--name", "svc3", IMAGE, "svc3")


@contextlib.contextmanager
def underlay(kind: type[Host] | None = None) -> Iterator[Underlay]:
    """A switch without hosts (which will be of this kind); everything is gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="ov"))
    made = Underlay(directory, kind)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(directory, ignore_errors=True)

"""Hosts with a real Docker Engine each, in namespaces of their own, and the images that the tests run.

The engine keeps everything under the host's temporary directory; nothing of it touches the machine's own network.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import TypeVar

from overlay_hosts import Host, underlay
from tiers import cannot_run
from waiting import PATIENCE, eventually

from lab.backends.dind import cgroups

__all__ = ["BUSYBOX", "GLIBC", "SCRATCH", "DockerHost", "clients", "gone", "need_docker", "two_hosts"]

BUSYBOX, GLIBC, SCRATCH = "test/busybox", "test/glibc", "test/scratch"
_APPLETS = "sh ls sleep cat echo env ping httpd id ip nslookup true false grep printf touch hostname wget"


def need_docker() -> None:
    """Skip (in CI: fail) where no engine can be started."""
    if os.geteuid() != 0:
        cannot_run("a Docker Engine starts only as root")
    for command, package in (("dockerd", "docker.io"), ("busybox", "busybox-static"), ("iptables", "iptables")):
        if shutil.which(command) is None:
            cannot_run(f"no {command}: apt-get install {package}")


def clients() -> list[str]:
    """The docker command lines of this machine, each version once."""
    found: dict[str, str] = {}
    for path in ("/usr/bin/docker", "/usr/local/bin/docker"):
        if os.access(path, os.X_OK):
            text = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
            found.setdefault(text, path)
    return list(found.values())


class DockerHost(Host):
    """One host whose engine is Docker's own."""

    dockerd_flags: tuple[str, ...] = ()
    storage = "overlay2"

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.cgroup = cgroups.new_name()
        self.start_engine()

    def first_words(self, number: int) -> list[str]:
        self.bridge_address = f"172.17.{number}.1/24"
        return [
            "sh",
            "-c",
            "mount -t tmpfs run /run; ip link set lo up; echo ready; while :; do sleep 1000 & wait $!; done",
        ]

    def start_engine(self, *flags: str) -> None:
        """Start the engine (again), and wait until it answers."""
        words = [
            *("dockerd", "--data-root", f"{self.disk}/engine", "--exec-root", f"{self.disk}/run"),
            *("--pidfile", f"{self.disk}/dockerd.pid", "-H", f"unix://{self.disk}/d"),
            *("--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", f"/{self.cgroup}"),
            *("--storage-driver", self.storage, *(flags or self.dockerd_flags)),
        ]
        if not any(word.startswith("--bridge") for word in words):
            words += ["--bip", self.bridge_address]
        # Whether the kernel may be asked for more than it grants is not the point of these tests.
        script = f'"$@" >>{self.disk}/dockerd.log 2>&1 </dev/null &'
        self.run("sh", "-c", script, "sh", *words)
        eventually(lambda: self.docker("version", check=False).returncode == 0, 60, "the engine answers")

    def close(self) -> None:
        """End everything; control groups outlive processes and are removed."""
        super().close()
        cgroups.remove(self.cgroup)

    def engine_pid(self) -> int:
        return int((self.disk / "dockerd.pid").read_text())

    def end_engine(self, number: int = signal.SIGKILL) -> None:
        """Send the engine (not its containers) a signal, and wait until it is gone."""
        pid = self.engine_pid()
        self.sh(f"kill -{int(number)} {pid}; while kill -0 {pid} 2>/dev/null; do sleep 0.02; done")

    def docker(self, *words: str, check: bool = True, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        """Run the docker command on this host, straight at the engine."""
        return self.run("docker", *words, check=check, timeout=timeout)

    def proxied(
        self, *words: str, client: str = "docker", check: bool = True, timeout: float = PATIENCE
    ) -> subprocess.CompletedProcess[str]:
        """Run the docker command on this host, at the proxy."""
        words = ("env", f"DOCKER_HOST=unix://{self.disk}/w.proxy", client, *words)
        return self.run(*words, check=check, timeout=timeout)

    def attached(self) -> dict[str, list[str]]:
        """Addresses by (short) container id."""
        lines = [line.split() for line in self.weave("ps").stdout.splitlines()]
        return {words[0]: words[2:] for words in lines if words[2:]}

    def booked(self) -> dict[str, list[str]]:
        """Every address that the router holds booked, by owner."""
        report = json.loads(self.weave("report").stdout)
        return {owner: held for owner, held in report["ipam"]["addresses"].items() if held}

    def load_images(self) -> None:
        """Import the images of the tests: there is no registry."""
        busybox = Path(shutil.which("busybox") or "")
        links = {f"bin/{name}": "busybox" for name in _APPLETS.split()}
        self._import(BUSYBOX, {"bin/busybox": busybox, **links}, ['CMD ["sh"]'])
        self._import(SCRATCH, {"busybox": busybox}, ['ENTRYPOINT ["/busybox"]', 'CMD ["sleep", "1000"]'])
        shell = Path(shutil.which("bash") or "")
        listed = subprocess.run(["ldd", str(shell)], capture_output=True, text=True, check=True).stdout
        libraries = [Path(word) for word in listed.split() if word.startswith("/")]
        tools = [Path("/usr/bin/env"), Path("/usr/bin/sleep"), Path("/usr/bin/cat"), Path("/usr/bin/id")]
        for tool in tools:
            more = subprocess.run(["ldd", str(tool)], capture_output=True, text=True, check=True).stdout
            libraries += [Path(word) for word in more.split() if word.startswith("/")]
        files: dict[str, Path | str] = {f"bin/{path.name}": path for path in (shell, *tools)}
        files |= {str(path)[1:]: path for path in libraries}
        self._import(GLIBC, files, ['CMD ["bash"]', "ENV GREETING=hello"])

    def _import(self, name: str, files: dict[str, Path | str], changes: Iterable[str]) -> None:
        path = self.disk / "image.tar"
        with tarfile.open(path, "w") as archive:
            for folder in ("tmp", "etc", "proc", "sys", "dev"):
                entry = tarfile.TarInfo(folder)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
                archive.addfile(entry)
            for target, content in (("etc/passwd", b"root:x:0:0::/:/bin/sh\nworker:x:1000:1000::/:/bin/sh\n"),):
                entry = tarfile.TarInfo(target)
                entry.size = len(content)
                archive.addfile(entry, BytesIO(content))
            for target, source in files.items():
                if isinstance(source, str):
                    entry = tarfile.TarInfo(target)
                    entry.type, entry.linkname = tarfile.SYMTYPE, source
                    archive.addfile(entry)
                else:
                    entry = archive.gettarinfo(str(source.resolve()), target)
                    with source.open("rb") as content_file:
                        archive.addfile(entry, content_file)
        self.docker("import", *(word for change in changes for word in ("--change", change)), str(path), name)
        path.unlink()

    @property
    def log(self) -> str:
        path = self.disk / "dockerd.log"
        tail = "".join(path.read_text().splitlines(keepends=True)[-15:]) if path.exists() else ""
        return super().log + tail


Kind = TypeVar("Kind", bound=DockerHost)


@contextlib.contextmanager
def two_hosts(
    kind: type[Kind],
    launch: Sequence[str] = (),
    proxy: Sequence[str] | None = None,
    images: Callable[[Kind], object] = DockerHost.load_images,
) -> Iterator[tuple[Kind, Kind]]:
    """`orion` and `macbook` with images, connected routers and, unless its flags are None, the proxy."""
    with underlay(kind) as made:
        found: list[Kind] = []
        for number, name in enumerate(("orion", "macbook"), 2):
            host = made.host(name, number)
            assert isinstance(host, kind)
            found.append(host)
        for host in found:
            images(host)
            host.weave("launch", *launch)
            if proxy is not None:
                host.weave("launch-proxy", *proxy)
        one, two = found
        one.weave("connect", two.address)
        yield one, two


def gone(host: DockerHost) -> None:
    """Nothing is attached, booked or left on the bridge."""
    assert host.docker("ps", "-aq").stdout == ""
    eventually(lambda: host.attached() == {}, what="nothing attached")
    eventually(lambda: host.booked() == {}, what="nothing booked")
    assert "vethwel" not in host.sh("ip -o link show master weave")


def reaches(host: "DockerHost", container: str, target: str, *, wait: int = 1) -> bool:
    """One ping from a container is answered within these seconds: name more where it must be."""
    return host.docker("exec", container, "ping", "-c1", f"-W{wait}", target, check=False).returncode == 0

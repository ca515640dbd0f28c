"""`docker run` through the proxy and directly, in turn on one engine; and 200 short-lived containers.

Owns a host for it: an engine, a router and a proxy in namespaces of their own, gone with their first process. Both
candidates run the same container to its end; the proxied one is on the overlay before its program starts.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from benchmarks.rows import Row, row
from lab.backends.dind import cgroups
from lab.errors import LabError

RUNS = 20
SHORT_LIVED, AT_ONCE = 200, 8
_IMAGE = "bench/busybox"
_UP = 60.0


class _Host:
    """Namespaces with an engine; `run` enters them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._cgroup = folder, cgroups.new_name()
        script = (
            "mount -t tmpfs run /run; hostname bench; ip link set lo up; "
            f"dockerd --data-root {folder}/data --exec-root {folder}/exec --pidfile {folder}/pid "
            f"--exec-opt native.cgroupdriver=cgroupfs --cgroup-parent /{self._cgroup} "
            f"-H unix://{folder}/d >{folder}/log 2>&1 </dev/null & echo ready; while :; do sleep 1000 & wait $!; done"
        )
        self._first = subprocess.Popen(
            [
                "unshare",
                "--net",
                "--mount",
                "--uts",
                "--pid",
                "--fork",
                "--mount-proc",
                "--kill-child",
                "sh",
                "-c",
                script,
            ],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._first.stdout is not None
        self._first.stdout.readline()
        children = Path(f"/proc/{self._first.pid}/task/{self._first.pid}/children").read_text(encoding="utf-8").split()
        self._enter = ["nsenter", "--target", children[0], "--net", "--mount", "--uts", "--pid"]
        deadline = time.monotonic() + _UP
        while self.run("docker", "version", check=False).returncode:
            if time.monotonic() > deadline:
                raise LabError(f"the engine has not come up: {(folder / 'log').read_text(encoding='utf-8')[-500:]}")
            time.sleep(0.05)

    def run(self, *words: str, proxied: bool = False, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command there, a docker command at the engine or at the proxy."""
        socket = "w.proxy" if proxied else "d"
        found = {
            "DOCKER_HOST": f"unix://{self.folder}/{socket}",
            "WEAVE_DB": f"{self.folder}/db",
            "WEAVE_SOCK": f"{self.folder}/w",
            "WEAVE_LOG": f"{self.folder}/weave.log",
        }
        done = subprocess.run(
            [*self._enter, *words], env={**os.environ, **found}, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise LabError(f"{' '.join(words)}: {done.stderr.strip() or done.returncode}")
        return done

    def weave(self, *words: str) -> str:
        """Run `weave` there."""
        return self.run(sys.executable, "-m", "overlay.cli.main", *words).stdout

    def close(self) -> None:
        """End everything."""
        self._first.kill()
        self._first.wait()
        cgroups.remove(self._cgroup)


@contextmanager
def _host() -> Iterator[_Host]:
    for command, package in (("dockerd", "docker.io"), ("busybox", "busybox-static")):
        if shutil.which(command) is None:
            raise LabError(f"bench docker_run: no {command} on this machine: apt-get install {package}")
    if os.geteuid() != 0:
        raise LabError("bench docker_run: an engine starts only as root")
    folder = Path(tempfile.mkdtemp(prefix="bench-docker-"))
    host = _Host(folder)
    try:
        image = folder / "image.tar"
        with tarfile.open(image, "w") as archive:
            archive.add(shutil.which("busybox") or "", "bin/busybox")
            for name in ("sh", "true", "ip"):
                entry = tarfile.TarInfo(f"bin/{name}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(entry)
        host.run("docker", "import", str(image), _IMAGE)
        host.weave("launch")
        host.weave("launch-proxy")
        yield host
    finally:
        host.close()
        shutil.rmtree(folder, ignore_errors=True)


def run() -> list[Row]:
    """The rows of this benchmark."""
    with _host() as host:
        taken: dict[bool, list[float]] = {False: [], True: []}
        for number in range(RUNS + 1):
            for proxied in (False, True) if number % 2 else (True, False):
                begin = time.perf_counter()
                host.run("docker", "run", "--rm", _IMAGE, "true", proxied=proxied)
                if number:  # the first round warms caches
                    taken[proxied].append(time.perf_counter() - begin)
        direct = row("direct", "docker run", "s", taken[False])
        rows = [direct, row("through the proxy", "docker run", "s", taken[True], against=direct, goal="at most 1.25")]
        return [*rows, *_short_lived(host)]


def _short_lived(host: _Host) -> Sequence[Row]:
    """All get an address and a name, and none leaks; the figure is how long one takes while eight run."""

    def one(number: int) -> float:
        begin = time.perf_counter()
        script = "ip -o addr show ethwe; hostname -f"
        said = host.run(
            "docker", "run", "--rm", "--name", f"n{number}", _IMAGE, "/bin/busybox", "sh", "-c", script, proxied=True
        ).stdout
        if " inet " not in said or f"n{number}.weave.local" not in said:
            raise LabError(f"container {number} of {SHORT_LIVED} has no address or no name: {said}")
        return time.perf_counter() - begin

    with ThreadPoolExecutor(AT_ONCE) as pool:
        taken = list(pool.map(one, range(SHORT_LIVED)))
    deadline = time.monotonic() + 30
    while left := _left(host):
        if time.monotonic() > deadline:
            raise LabError(f"of {SHORT_LIVED} containers that are gone these are left: {left}")
        time.sleep(0.1)
    return [row(f"{AT_ONCE} at a time", "docker run", "s", taken, goal="200 without a leak")]


def _left(host: _Host) -> str:
    report = json.loads(host.weave("report"))
    booked = [address for held in report["ipam"]["addresses"].values() for address in held]
    ports = [
        line
        for line in host.run("ip", "-o", "link", "show", "master", "weave").stdout.splitlines()
        if "vethwel" in line
    ]
    names = [entry for entry in report["dns"].get("entries", ()) if not entry.get("tombstone")]
    return " ".join(map(str, (*booked, *ports, *names)))

"""Hosts with a Docker Engine and nothing of this project: its files, and the Python it is installed for, are not there.

The only `weave` on such a host is the wrapper script of the image, which needs `docker` and a shell.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from docker_hosts import DockerHost
from overlay_hosts import ROOT, eventually

from lab.images import router, store
from lab.images.archive import BuiltImage, archive

__all__ = ["SOCKET", "BareHost", "LegacyHost", "Pings", "load"]

SOCKET = "/var/run/docker.sock"
_BOOT = """
mount --make-rprivate /; mount -t tmpfs run /run; mount -t tmpfs lib /var/lib
for folder in "$@"; do mount -t tmpfs none "$folder"; done
ip link set lo up; echo ready
while :; do sleep 1000 & wait $!; done
"""
_CUT = """
for each in $(ip -o link | sed -nE 's/^[0-9]+: ([^:@]+).*/\\1/p'); do
    case $each in lo|eth0) ;; *) ip link del "$each" 2>/dev/null || true;; esac
done
nft flush ruleset
rm -rf /run/*
"""


class BareHost(DockerHost):
    """`weave` here is the wrapper, on this host's own PATH."""

    dockerd_flags = ("-H", f"unix://{SOCKET}")

    def first_words(self, number: int) -> list[str]:
        super().first_words(number)
        folder = self.disk / "bin"
        folder.mkdir()
        shutil.copy(router.FOLDER / "weave", folder / "weave")
        (folder / "weave").chmod(0o755)
        places = dict.fromkeys((ROOT, Path(sys.prefix), Path(sys.base_prefix)))
        hidden = [str(place) for place in places if not place.is_relative_to("/usr")]  # where `docker` is
        return ["sh", "-c", _BOOT, "sh", *hidden]

    @property
    def env(self) -> dict[str, str]:
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"PATH": f"{self.disk}/bin:{path}", "HOME": "/root", "LANG": "C.UTF-8"}

    def weave(self, *words: str, check: bool = True, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run the wrapper."""
        return self.run("weave", *words, check=check, timeout=timeout)

    def proxied(
        self, *words: str, client: str = "docker", check: bool = True, timeout: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        words = ("env", "DOCKER_HOST=unix:///var/run/weave/weave.sock", client, *words)
        return self.run(*words, check=check, timeout=timeout)

    def state(self, container: str, what: str = "{{.State.Status}}") -> str:
        """What the engine says of a container; empty: there is none."""
        return self.docker("inspect", "-f", what, container, check=False).stdout.strip()

    def router(self) -> int:
        """The process id of the router; 0: it does not run."""
        return int(self.state("weave", "{{.State.Pid}}") or 0)

    def kill_router(self) -> None:
        """`kill -9`, and wait until the engine has started another."""
        before = self.router()
        self.sh(f"kill -9 {before}")
        eventually(lambda: self.router() not in (0, before), 60, "the engine starts the router again")

    def reboot(self) -> None:
        """As after a power cut: no process, no device, no rule and nothing in /run; then the engine is started."""
        self.run("sh", "-c", "kill -9 -1", check=False)
        eventually(lambda: self.run("pgrep", "-x", "dockerd", check=False).returncode == 1, 60, "all is dead")
        self.sh(_CUT)
        self.start_engine()


class LegacyHost(DockerHost):
    """A host, with the project, whose `iptables` is the older kind."""

    def first_words(self, number: int) -> list[str]:
        folder = self.disk / "bin"
        folder.mkdir()
        program = shutil.which("xtables-legacy-multi") or ""
        for command in ("iptables", "ip6tables"):
            for suffix in ("", "-save", "-restore"):
                (folder / f"{command}{suffix}").symlink_to(program)
        return super().first_words(number)

    @property
    def env(self) -> dict[str, str]:
        return {**super().env, "PATH": f"{self.disk}/bin:{os.environ['PATH']}"}


def load(image: BuiltImage, *hosts: BareHost | DockerHost) -> None:
    """Give the hosts' engines this image."""
    for host in hosts:
        words = ["nsenter", "--target", str(host.pid), "--net", "--mount", "--pid", "docker", "load", "-q"]
        with subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env={**os.environ, **host.env}
        ) as process:
            assert process.stdin is not None
            for chunk in archive([image], store.architecture()):
                process.stdin.write(chunk)
            process.stdin.close()
            assert process.wait() == 0, host.log


class Pings:
    """Pings from a container of one host, ten a second, for as long as a block lasts; then none may be missing."""

    def __init__(self, host: DockerHost, container: str, target: str) -> None:
        self._host, self._container, self._target = host, container, target

    def __enter__(self) -> "Pings":
        pid = self._host.docker("inspect", "-f", "{{.State.Pid}}", self._container).stdout.strip()
        ping = f'echo $$; exec nsenter --target {pid} --net ping -n -i 0.1 -W 20 "$1"'
        self._process = self._host.popen("sh", "-c", ping, "sh", self._target)
        assert self._process.stdout is not None
        self._pid = int(self._process.stdout.readline())
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._host.sh(f"kill -INT {self._pid}")
        out, err = self._process.communicate(timeout=60)
        if kind is None:
            found = re.search(r"(\d+) packets transmitted, (\d+) received", out)
            assert found is not None, out + err
            sent, received = map(int, found.groups())
            assert sent - received <= 1 and received > 0, out[-300:]  # one may be on its way

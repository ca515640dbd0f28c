"""Hosts whose container engine is Podman, in namespaces of their own, reached by the Docker API of its service.

Empty file systems hide what Podman keeps outside of its root: CNI's leases, network files, locks in shared memory.
"""

import os
import shutil

from docker_hosts import DockerHost
from overlay_hosts import eventually
from tiers import cannot_run

__all__ = ["PodmanHost", "need_podman"]


def need_podman() -> None:
    """Skip (in CI: fail) where no Podman can be started."""
    if os.geteuid() != 0:
        cannot_run("Podman's service starts only as root here")
    for command, package in (("podman", "podman"), ("docker", "docker.io"), ("busybox", "busybox-static")):
        if shutil.which(command) is None:
            cannot_run(f"no {command}: .ci/setup clients, or apt-get install {package}")


class PodmanHost(DockerHost):
    """One host with Podman and no Docker Engine; `docker` is only the client."""

    def first_words(self, number: int) -> list[str]:
        shell, flag, script = super().first_words(number)
        hidden = ("/dev/shm", "/var/lib/cni", "/var/lib/containers", "/etc/cni/net.d")
        return [shell, flag, "".join(f"mkdir -p {path}; mount -t tmpfs none {path}; " for path in hidden) + script]

    @property
    def podman_words(self) -> tuple[str, ...]:
        """What begins every `podman` command of this host."""
        return (
            *("podman", "--root", f"{self.disk}/engine", "--runroot", f"{self.disk}/run", "--storage-driver", "vfs"),
            *("--cgroup-manager", "cgroupfs", "--events-backend", "file"),
        )

    def start_engine(self, *flags: str) -> None:
        """Start the service (again), and wait until it answers. Containers run without it."""
        words = (*self.podman_words, "system", "service", "--time", "0", f"unix://{self.disk}/d")
        script = f'"$@" >>{self.disk}/dockerd.log 2>&1 </dev/null & echo $! >{self.disk}/dockerd.pid'
        self.run("sh", "-c", script, "sh", *words)
        eventually(lambda: self.docker("version", check=False).returncode == 0, 60, "Podman answers")

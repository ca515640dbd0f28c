"""Real clients of the Docker API, as `.ci/clients` fetched them, and the images that they expect to find."""

import shutil
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

from docker_hosts import DockerHost
from overlay_hosts import ROOT
from tiers import cannot_run

from lab.this_machine import cache

__all__ = ["COMPOSE_1", "SKIPS", "compose_2", "load_expected_images", "python", "sdk"]

COMPOSE_1 = "/usr/bin/docker-compose"
SKIPS = ROOT / "tests/clients/docker_sdk_skips.txt"
_USERS = "root:x:0:0::/root:/bin/sh\nworker:x:1000:1000::/:/bin/sh\npostgres:x:70:70::/:/bin/sh\n"
_GROUPS = "root:x:0:\nworker:x:1000:\npostgres:x:70:\n"
_NSLOOKUP = '#!/bin/sh\n# busybox\'s own asks for a bare name with the search domain only\nexec ping -c1 -W1 "$1"\n'


def _fetched(name: str) -> Path:
    path = cache() / "clients" / name
    if not path.exists():
        cannot_run(f"{name} is not there: .ci/clients fetches it")
    return path


def python(name: str = "requirements") -> Path:
    """The Python with what `tests/clients/NAME.txt` lists."""
    return _fetched(f"{name}/bin/python")


def sdk() -> Path:
    """The source distribution of docker 6.1.3."""
    return _fetched("docker-6.1.3")


def compose_2() -> str:
    """Docker Compose 2; it has a plugin's name and runs as a command of its own too."""
    return str(_fetched("docker-compose"))


def load_expected_images(host: DockerHost, *names: str) -> None:
    """Import busybox with all that it can do, under the names that clients expect: there is no registry."""
    busybox = shutil.which("busybox") or ""
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    path = host.disk / "expected.tar"
    with tarfile.open(path, "w") as archive:
        for folder in ("bin", "dev", "etc", "home", "proc", "root", "sbin", "sys", "tmp", "usr/bin", "var/opt"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            archive.addfile(entry)
        archive.add(Path(busybox).resolve(), "bin/busybox")
        for name in listed:
            if name not in ("busybox", "nslookup"):
                entry = tarfile.TarInfo(f"bin/{name}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(entry)
        for target, content in (("etc/passwd", _USERS), ("etc/group", _GROUPS), ("bin/nslookup", _NSLOOKUP)):
            entry = tarfile.TarInfo(target)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, BytesIO(content.encode()))
    path_variable = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    first, *more = names
    host.docker("import", "--change", 'CMD ["sh"]', "--change", path_variable, str(path), first)
    for name in more:
        host.docker("tag", first, name)
    path.unlink()

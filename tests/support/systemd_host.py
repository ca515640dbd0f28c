"""A host with a real systemd, in namespaces of its own, made of the files of the lab's box: no engine, no kernel.

Where a boot of a virtual machine takes minutes, this takes seconds. It ends with the process that started it.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from overlay_hosts import eventually
from tiers import ENDS_WITH_US

from lab.backends.dind import cgroups
from lab.images import box, layers

__all__ = ["SystemdHost", "need_systemd"]

_LEFT_OUT = ("./boot/", "./usr/lib/modules/", "./var/lib/docker/", "./dev/", "./usr/lib/x86_64-linux-gnu/dri/")
_MASKED = (
    *("systemd-udevd.service", "systemd-udev-trigger.service", "systemd-udevd-control.socket", "ssh.service"),
    *("systemd-udevd-kernel.socket", "systemd-networkd.service", "systemd-networkd.socket", "docker.service"),
    *("systemd-networkd-wait-online.service", "docker.socket", "containerd.service"),
)
_NAMESPACES = ("--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup")
_BOOT = """
hostname "$2"; ip link set lo up
cd "$1"
mount --bind . .; cd "$1"; mount -t proc proc proc; mount -t sysfs sysfs sys; mount -t tmpfs tmpfs sys/fs/cgroup
mkdir sys/fs/cgroup/systemd; mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
for place in run tmp dev; do mount -t tmpfs tmpfs $place; done
mkdir dev/pts dev/shm
for one in null zero full random urandom tty; do touch dev/$one; mount --bind /dev/$one dev/$one; done
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts; ln -s pts/ptmx dev/ptmx
mkdir -p old; pivot_root . old; umount -l /old
exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd </dev/null >/run/console 2>&1
"""


def need_systemd() -> Path:
    """The files of a machine; skip where there are none."""
    if os.geteuid() != 0:
        pytest.skip("systemd as process 1 of a namespace needs root")
    if not Path("/sys/fs/cgroup/systemd").is_dir():
        pytest.skip("this test knows control groups of version 1 only")
    inputs = box.base_inputs(docker=True)
    path = layers.cache() / f"machine-docker-{inputs}.tar"
    if not path.exists():
        pytest.skip("the files of the box are not in the cache: sudo make vms")
    return path


class SystemdHost:
    """One host; `boot` and `cut` as often as one likes, `close` at the end."""

    def __init__(self, folder: Path, files: Path) -> None:
        self.root = folder / "root"
        self._cgroup = cgroups.new_name()
        self._process: subprocess.Popen[bytes] | None = None
        self.root.mkdir()
        words = ["tar", "-C", str(self.root), "--numeric-owner", *(f"--exclude={one}*" for one in _LEFT_OUT)]
        subprocess.run([*words, "-xf", str(files)], check=True)
        for place in ("dev", "boot", "run", "tmp", "proc", "sys"):
            (self.root / place).mkdir(exist_ok=True)
        for unit in _MASKED:
            file = self.root / "etc/systemd/system" / unit
            file.unlink(missing_ok=True)
            file.symlink_to("/dev/null")

    def boot(self) -> None:
        """Start systemd; returns when it has started what it starts."""
        group = Path("/sys/fs/cgroup/systemd", self._cgroup)
        group.mkdir(exist_ok=True)
        enter = f'echo $$ > "{group}/cgroup.procs"; exec "$@"'
        unshare = ["unshare", *_NAMESPACES, "--fork", "--mount-proc", "--kill-child"]
        words = [*ENDS_WITH_US, *unshare, "sh", "-ec", _BOOT, "sh", str(self.root), "systemd-host"]
        self._process = subprocess.Popen(["sh", "-ec", enter, "sh", *words])
        eventually(lambda: self.run("systemctl is-system-running", check=False).strip() == "running", 90, "the boot")

    def cut(self) -> None:
        """Power off: everything dies at once; the disk stays."""
        if self._process is not None:
            for child in self._children():
                os.kill(child, 9)
            self._process.wait(30)
            self._process = None

    def run(self, script: str, *, check: bool = True) -> str:
        """A script on the host; what it writes."""
        (pid,) = self._children() or [0]
        if not pid:
            return ""
        words = ["nsenter", "--target", str(pid), *_NAMESPACES, "--root", "--wd"]
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        words += ["env", "-i", f"PATH={path}", "HOME=/root", "sh", "-ec", script]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
        assert not check or done.returncode == 0, (script, done.stdout, done.stderr)
        return done.stdout + ("" if check else done.stderr)

    def close(self) -> None:
        self.cut()
        cgroups.remove(self._cgroup)
        shutil.rmtree(self.root, ignore_errors=True)

    def _children(self) -> list[int]:
        """systemd's pid, as the machine sees it."""
        if self._process is None or self._process.poll() is not None:
            return []
        pid = self._process.pid
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

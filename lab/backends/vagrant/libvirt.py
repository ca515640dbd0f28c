"""The lab's own libvirtd, in the lab's namespaces: without systemd, services of the machine, or its network.

Owns its configuration, its own directories (tmpfs in the lab's mount namespace), its start, and the check whether KVM
boots anything here. It and all of its machines are processes of the lab and end with it. Must run inside
`lab.backends.netns.launch`. Knows nothing of Vagrant and scenarios.
"""

import asyncio
import contextlib
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab.backends.netns import mounts
from lab.backends.netns.paths import STATE
from lab.errors import LabError
from lab.fabric.syscalls import Mount, mount
from lab.images.layers import cache
from lab.this_machine import program, search_path

DIRECTORY = STATE / "libvirt"
POOL = Path("/var/lib/libvirt/images")
"""Where libvirt keeps disks, and Vagrant expects them."""
SOCKET = Path("/run/libvirt/libvirt-sock")
_RUN = Path("/run/libvirt/qemu")
"""Where libvirt writes the pids of emulators."""
QEMU = "qemu-system-x86_64"
PROGRAMS = {
    "libvirtd": "libvirt-daemon-system", "virsh": "libvirt-clients", QEMU: "qemu-system-x86", "qemu-img": "qemu-utils",
    "dnsmasq": "dnsmasq-base", "iptables": "iptables",
}  # fmt: skip
"""Required program -> its Debian package."""
BOOTED = b"lab: userspace"
"""The first console output of the box's initial RAM disk."""
_OWN = ("/etc/libvirt", "/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt")
_DEADLINE = 60.0
"""Timeout for the daemon's first answer, in seconds: it queries the features of every QEMU on the machine."""
_TRIAL = 12.0
"""Timeout after which KVM is considered broken, in seconds; a working guest prints something within two."""

DAEMON_CONF = """\
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_group = "root"
unix_sock_rw_perms = "0700"
log_outputs = "3:stderr"
"""
QEMU_CONF = """\
security_driver = "none"
user = "root"
group = "root"
cgroup_controllers = [ ]
namespaces = [ ]
stdio_handler = "file"
remember_owner = 0
"""


def missing() -> list[str]:
    """Debian packages of missing programs."""
    return [package for name, package in PROGRAMS.items() if program(name) is None]


def emulator_script(emulator: str, translation_cache: int = 128) -> str:
    """A QEMU whose instruction emulation uses less memory: 128 MB of translated code instead of a gigabyte."""
    return (
        "#!/bin/sh\n"
        f'for word; do shift; [ "$word" = tcg ] && word=tcg,tb-size={translation_cache}; set -- "$@" "$word"; done\n'
        f'exec {emulator} "$@"\n'
    )


class Libvirt:
    """The lab's libvirtd."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it answers. Raises `LabError` with the end of its output."""
        daemon = program("libvirtd")
        assert daemon is not None  # `missing` was checked before
        _own_directories()
        DIRECTORY.mkdir(exist_ok=True)
        log = DIRECTORY / "libvirtd.log"
        with log.open("wb") as out:
            self._process = await asyncio.create_subprocess_exec(
                daemon, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/", env=environment()
            )
        try:
            async with asyncio.timeout(_DEADLINE):
                while (await self._ask("uri"))[0]:
                    if self._process.returncode is not None:
                        raise LabError("it ended")
                    await asyncio.sleep(0.05)
        except (TimeoutError, LabError):
            raise LabError(f"the lab's own libvirtd did not come up; the end of its log:\n{tail(log, 8)}") from None

    async def virsh(self, *words: str) -> str:
        """The output of `virsh WORDS`. Raises `LabError` with its error output."""
        code, out, err = await self._ask(*words)
        if code:
            raise LabError(f"virsh {' '.join(words)}: {err.strip() or out.strip()}")
        return out

    async def ended(self, domain: str) -> None:
        """Wait until the emulator of a running domain has ended, for whatever reason."""
        process = os.pidfd_open(int((_RUN / f"{domain}.pid").read_text(encoding="utf-8")))
        gone = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(process, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(process)
            os.close(process)

    async def _ask(self, *words: str) -> tuple[int, str, str]:
        command = [program("virsh") or "virsh", "--quiet", "--connect", "qemu:///system", *words]
        process = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        )
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(errors="replace"), err.decode(errors="replace")


def environment() -> dict[str, str]:
    """Environment of all clients of the lab's libvirtd: without the user's own settings for another one."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LIBVIRT_", "VAGRANT_", "VIRSH_"))}
    return kept | {"PATH": search_path(), "LC_ALL": "C.UTF-8"}


def _own_directories() -> None:
    """Replace the machine's directories by empty ones, because its networks would start here too and its settings do
    not apply."""
    for place in _OWN:
        mounts.ensure(place, directory=True)
        mount("tmpfs", place, "tmpfs", Mount.NOSUID | Mount.NODEV, "mode=755")
    for name in ("libvirt", "libvirtd.pid"):
        link = Path("/run", name)
        if link.is_symlink():
            link.unlink()  # to the machine's own
    POOL.mkdir(parents=True)
    Path("/etc/libvirt/libvirtd.conf").write_text(DAEMON_CONF, encoding="utf-8")
    Path("/etc/libvirt/qemu.conf").write_text(QEMU_CONF, encoding="utf-8")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def bring_in(image: Path, name: str) -> None:
    """Add a disk image of the machine to the pool, without copying it."""
    (POOL / name).touch()
    mount(str(image), str(POOL / name), flags=Mount.BIND)


def no_kvm() -> str:
    """Why KVM is not available, after `kvm_works` returned False."""
    return "KVM boots nothing on this machine" if Path("/dev/kvm").exists() else "there is no /dev/kvm"


async def kvm_works(image: Path) -> bool:
    """Whether a guest reaches its userspace with KVM: /dev/kvm may exist and boot nothing.

    Cached for each of the machine's kernels, where the Vagrantfile finds it too.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    note = cache() / f"kvm-{platform.release()}"
    with contextlib.suppress(OSError):
        return note.read_text(encoding="utf-8") == "works"
    works = await boots([program(QEMU) or QEMU, "-accel", "kvm", "-cpu", "host"], image, _TRIAL)
    note.write_text("works" if works else "boots nothing", encoding="utf-8")
    return works


async def boots(emulator: Sequence[str], image: Path, seconds: float) -> bool:
    """Whether this emulator boots a box to its userspace in time; its disk is not changed."""
    command = [*emulator, "-m", "256", "-machine", "q35", "-display", "none", "-monitor", "none", "-serial", "stdio"]
    command += ["-nic", "none", "-no-reboot", "-drive", f"file={image},if=virtio,format=qcow2,snapshot=on"]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    said = b""
    try:
        async with asyncio.timeout(seconds):
            while chunk := await process.stdout.read(4096):
                said += chunk
                if BOOTED in said:
                    return True
    except TimeoutError:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    return False


def tail(file: Path, lines: int) -> str:
    """The last lines of a log; empty if there is none."""
    try:
        text = file.read_bytes()[-20_000:].decode(errors="replace").replace("\r", "")
    except OSError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])

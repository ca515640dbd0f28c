"""The lab's own Vagrant box: a small Debian machine that boots quickly, built without a registry, from apt only.

    Debian   systemd, ssh, a cloud kernel, with or without the Docker Engine, by mmdebstrap; minutes, rarely
    on it    the layers `packages` and `project` of the host image (`layers.py`)
    disk     a qcow2 with its own boot loader, and the files that Vagrant needs for a box

Owns the content of the box and its place in the cache. Knows nothing of Vagrant's commands or of who boots it.
"""

import json
import os
import platform
import shutil
import subprocess
import tarfile
from pathlib import Path

import msgspec
from msgspec import Struct

from lab.errors import LabError
from lab.images import layers, store
from lab.images.archive import Layer
from lab.images.layers import Say
from lab.this_machine import program

RECIPE = layers.RECIPE / "machine"
PACKAGES = (
    "systemd-sysv", "udev", "dbus", "openssh-server", "linux-image-cloud-amd64", "tiny-initramfs", "kmod", "netbase",
    "ethtool", "tcpdump",
)  # fmt: skip
"""Debian packages of a machine, in addition to those of a host image (`layers.PACKAGES`)."""
ENGINE = ("docker.io", "iptables", "crun")
"""Additional packages of a machine with the Docker Engine."""
TOOLS = {
    "mmdebstrap": "mmdebstrap", "sfdisk": "fdisk", "mke2fs": "e2fsprogs", "mkfs.vfat": "dosfstools", "mcopy": "mtools",
    "syslinux": "syslinux", "cpio": "cpio", "qemu-img": "qemu-utils",
}  # fmt: skip
"""Program needed to build a box -> its Debian package."""
IMAGES = store.OWN
"""Images loaded in a machine's Docker Engine from the start, because loading is slow on an emulated CPU."""
_GIGABYTES = {False: 4, True: 8}
"""Size of the disk as the machine sees it, without and with Docker; the file is sparse."""


class Box(Struct, frozen=True, kw_only=True):
    """A box in the cache."""

    name: str
    """Vagrant's name for it; derived from its content, so that a changed box is a different one for Vagrant."""
    directory: str
    """Directory of Vagrant's three files: box.img, metadata.json, Vagrantfile."""
    docker: bool
    base: str
    """Hash of all its inputs except the project."""
    project: str
    """Hash of the project's part: a lab copies it to a machine again at each boot."""

    @property
    def image(self) -> Path:
        """The disk."""
        return Path(self.directory, "box.img")

    @property
    def file(self) -> Path:
        """The same as one file, for `vagrant box add`."""
        return Path(f"{self.directory}.box")


def build_command(*, docker: bool) -> str:
    """The command with which a user builds the box."""
    return f"sudo .venv/bin/lab images box{' --docker' if docker else ''}"


def packages(*, docker: bool) -> tuple[str, ...]:
    """Debian packages of a box."""
    common = (one for one in (*layers.PACKAGES, *PACKAGES) if one not in ENGINE)
    return (*common, *ENGINE) if docker else tuple(common)


def base_inputs(*, docker: bool) -> str:
    """Hash of Debian's part of a box."""
    recipe = [
        file.read_text(encoding="utf-8")
        for file in (layers.RECIPE / "finish", RECIPE / "finish", RECIPE / "vagrant.pub")
    ]
    return layers.hash_of("machine", layers.codename(), packages(docker=docker), recipe)


def _recipe() -> list[tuple[str, str]]:
    return [(file.name, file.read_text(encoding="utf-8")) for file in sorted(RECIPE.iterdir()) if file.is_file()]


def build(say: Say, *, docker: bool = False, force: bool = False) -> Box:
    """The box, rebuilt if the cached one has other inputs. Raises `LabError` with what is missing."""
    if platform.machine() != "x86_64":
        raise LabError(f"`lab images box` makes boxes of x86_64 only, and this machine is {platform.machine()}")
    if missing := missing_tools():
        raise LabError(f"to make a box these are missing: sudo apt-get install {' '.join(missing)}")
    if os.geteuid() != 0:
        raise LabError("a box's files belong to many users, so only root can make one: run the same command with sudo")
    if docker:
        store.build(say)
    with store.locked("box-lock"):
        found = None if force else find(docker=docker)
        if found is not None and found.project == layers.project_inputs():
            return found
        name = "machine-docker" if docker else "machine"
        inputs = base_inputs(docker=docker)
        what = f"machine: Debian{' and the Docker Engine' if docker else ''}"
        hooks = [layers.RECIPE / "finish", RECIPE / "finish"]
        base = layers.cached(
            name, inputs, lambda path: layers.bootstrap(path, what, packages(docker=docker), hooks, say), anew=force
        )
        python = layers.python_of(base)
        box = _make([base, layers.packages_layer(python, say), layers.project_layer(python)], docker, say)
        store.forget_old()
        return box


def find(*, docker: bool) -> Box | None:
    """The cached box, if Debian's part and the packages are up to date; its project may be old."""
    try:
        box = msgspec.json.decode(_note(docker).read_bytes(), type=Box)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    return box if box.base == made_from(docker=docker) and box.image.exists() else None


def missing_tools() -> list[str]:
    """Debian packages of missing programs that are needed to build a box."""
    return [package for tool, package in TOOLS.items() if program(tool) is None]


def boxes() -> Path:
    """The directory of boxes."""
    return layers.cache() / "boxes"


def _note(docker: bool) -> Path:
    return boxes() / ("docker.json" if docker else "plain.json")


def made_from(*, docker: bool) -> str:
    """Hash of all inputs of a box except the project."""
    return layers.hash_of(base_inputs(docker=docker), layers.packages_inputs(), _recipe(), IMAGES if docker else ())


def _make(stack: list[Layer], docker: bool, say: Say) -> Box:
    """Put the layers on a disk, and move that into place; the next build removes a broken attempt."""
    say("machine: its disk")
    kind = f"{layers.codename()}{'-docker' if docker else ''}"
    inputs = layers.hash_of([layer.digest for layer in stack], _recipe())
    target = boxes() / f"{kind}-{inputs[:12]}"
    attempt = boxes() / "attempt"
    shutil.rmtree(attempt, ignore_errors=True)
    attempt.mkdir(parents=True)
    command = ["unshare", "--mount", str(RECIPE / "assemble"), "box.img", *(str(layer.path) for layer in stack)]
    settings = {**os.environ, "SIZE": f"{_GIGABYTES[docker]}G"}
    if docker:
        settings["IMAGES"] = str(attempt / "images.tar")
        with open(settings["IMAGES"], "wb") as file:
            file.writelines(chunk for one in store.archives_of(IMAGES) for chunk in one)
    done = subprocess.run(command, cwd=attempt, env=settings, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"the machine's disk could not be made:\n{done.stderr[-2000:]}")
    facts = {"provider": "libvirt", "format": "qcow2", "virtual_size": _GIGABYTES[docker]}
    (attempt / "metadata.json").write_text(json.dumps(facts), encoding="utf-8")
    shutil.copyfile(RECIPE / "Vagrantfile", attempt / "Vagrantfile")
    (attempt / "images.tar").unlink(missing_ok=True)
    box = Box(
        name=f"overlay-lab/{target.name}",
        directory=str(target),
        docker=docker,
        base=made_from(docker=docker),
        project=layers.project_inputs(),
    )
    with tarfile.open(attempt.with_suffix(".box"), "w") as tar:
        for name in ("metadata.json", "Vagrantfile", "box.img"):
            tar.add(attempt / name, name)
    _note(docker).unlink(missing_ok=True)
    for old in boxes().glob(f"{kind}-*"):
        if docker or "-docker-" not in old.name:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    attempt.with_suffix(".box").rename(box.file)
    attempt.rename(target)
    _note(docker).write_bytes(msgspec.json.encode(box))
    return box

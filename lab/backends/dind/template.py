"""Images in the lab's own engine without loading them: layers are bind-mounted from a shared template.

The template is the data directory of an engine that loaded the host image once, kept in the user's cache. A lab's
engine gets a copy of its metadata (a few MB) and its layers by bind mounts, so its own data directory can be an empty
tmpfs. Owns that layout (Docker's overlay2 driver); must run in a lab's mount namespace. If the cache itself is on an
overlay file system, which overlay2 refuses, the image is loaded into every lab instead.
"""

import asyncio
import contextlib
import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lab.backends.dind.client import client
from lab.backends.dind.engine import OwnEngine, program, state_dir
from lab.errors import LabError
from lab.fabric.syscalls import Mount, mount
from lab.images.archive import BuiltImage, archive
from lab.images.layers import cache, hash_of
from lab.images.store import architecture

_KEPT = 4
"""Number of host image versions kept in a template."""


_held: list[IO[str]] = []
"""Open lock files that mark a template as used by this lab; they are released with the process."""


async def furnished(image: BuiltImage, cgroup: str) -> OwnEngine:
    """A running engine of the lab's own that has the image."""
    engine = OwnEngine(state_dir(), state_dir() / "data", cgroup)
    template = _place(image)
    if template is None:
        await engine.start()
        await _load(engine, image)
        return engine
    with _locked(template / "lock"):
        if not (template / f"has-{image.inputs}").exists():
            await _fill(template, image, cgroup)
        _use(template)
        _furnish(template / "data", state_dir() / "data")
    await engine.start()
    return engine


def _place(image: BuiltImage) -> Path | None:
    """The template's directory, one per base layer and engine version; None if a template is not possible."""
    version = subprocess.run([program() or "dockerd", "--version"], capture_output=True, text=True, check=False).stdout
    where = cache().parent / "engines" / hash_of(image.layers[0].digest, version)
    where.mkdir(parents=True, exist_ok=True)
    kind = subprocess.run(["stat", "-f", "-c", "%T", str(where)], capture_output=True, text=True, check=False).stdout
    if kind.strip() == "overlayfs":
        return None
    for other in where.parent.iterdir():
        if other != where and _unused(other):
            shutil.rmtree(other, ignore_errors=True)  # of an older base layer
    return where


async def _fill(template: Path, image: BuiltImage, cgroup: str) -> None:
    """Load the image with an engine that runs only for that."""
    engine = OwnEngine(state_dir() / "filler", template / "data", cgroup)
    await engine.start()
    try:
        await _load(engine, image)
        await asyncio.to_thread(_drop_old, engine, template)
    finally:
        await engine.stop()
    (template / f"has-{image.inputs}").write_text(image.name, encoding="utf-8")


async def _load(engine: OwnEngine, image: BuiltImage) -> None:
    def work() -> None:
        with client(engine.socket) as engine_client:
            engine_client.images.load(archive([image], architecture()))

    await asyncio.to_thread(work)


def _drop_old(engine: OwnEngine, template: Path) -> None:
    """Keep the latest few versions, unless a lab may be using the older ones."""
    notes = sorted(template.glob("has-*"), key=lambda note: note.stat().st_mtime)
    if len(notes) < _KEPT or not _unused(template):
        return
    for note in notes[: 1 - _KEPT]:
        with client(engine.socket) as engine_client, contextlib.suppress(LabError):
            engine_client.images.remove(note.read_text(encoding="utf-8"), force=True)
        note.unlink()


def _use(template: Path) -> None:
    """Mark the template as used by this process's lab."""
    used = open(template / "used", "w", encoding="utf-8")  # noqa: SIM115
    fcntl.flock(used, fcntl.LOCK_SH)
    _held.append(used)


def _furnish(template: Path, data: Path) -> None:
    """Put the template's images into an empty data directory."""
    data.mkdir(parents=True)
    layers = data / "overlay2"
    # Both must be mount points before anything is mounted below, because dockerd would otherwise bind them over
    # themselves.
    mount("tmpfs", str(data), "tmpfs", Mount.NODEV, "mode=711")
    layers.mkdir(mode=0o710)
    mount(str(layers), str(layers), flags=Mount.BIND)
    shutil.copytree(template / "image", data / "image")
    shutil.copytree(template / "overlay2" / "l", layers / "l", symlinks=True)
    for source in (template / "overlay2").iterdir():
        if not (source / "diff").is_dir():
            continue
        target = layers / source.name
        target.mkdir(mode=0o710)
        for file in source.iterdir():
            if file.is_file():
                shutil.copy2(file, target)
            else:
                (target / file.name).mkdir(mode=0o755)
        mount(str(source / "diff"), str(target / "diff"), flags=Mount.BIND)


def _unused(template: Path) -> bool:
    """Whether no running lab has bind-mounted layers of this template."""
    try:
        with open(template / "used", "w", encoding="utf-8") as used:
            fcntl.flock(used, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    with open(file, "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

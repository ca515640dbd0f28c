"""The lab's images: its own ones, built when their inputs change, and those that a user has loaded.

Owns the cache's index and its lock, and which container images a set of names means. Knows engines only as receivers of
an archive (`archive_of`).
"""

import contextlib
import fcntl
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from lab.errors import LabError
from lab.images import layers, reference
from lab.images.archive import BuiltImage, archive, names_in
from lab.images.layers import Say

HOST = "overlay-lab/host"
OWN = ("ksahnine/dummy-http", "tutum/curl", "process")
"""The images for containers that the lab builds itself."""
BUILD = "`lab images build` builds it (as root, or as a user with subordinate ids; see its `--help`)"
_ENV = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"]
_KEPT = 3
"""Number of builds of each layer kept in the cache."""
_PYTHON = ("usr/lib/python3", "usr/lib/python3.")


class LoadedArchive(Struct, frozen=True):
    """A user's archive in the cache."""

    path: Path
    names: tuple[str, ...]


def architecture() -> str:
    """This machine's architecture, with Docker's name."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def inputs() -> str:
    """Hash of the current inputs of all the lab's own images."""
    recipe = [
        (file.name, file.read_text(encoding="utf-8")) for file in sorted(layers.RECIPE.iterdir()) if file.is_file()
    ]
    parts = (layers.base_inputs(), layers.packages_inputs(), layers.project_inputs(), recipe)
    return layers.hash_of("images", *parts)


def build(say: Say, *, force: bool = False, base: Callable[[Path], None] | None = None) -> list[BuiltImage]:
    """The lab's own images; layers that are not in the cache are built. Raises `LabError` with what is missing.

    `base` writes Debian's part, a root file system as a tar; by default mmdebstrap does.
    """
    with locked():
        force = force or base is not None
        wanted = inputs()
        found = built()
        if not force and found and all(image.inputs == wanted for image in found):
            return found
        debian = layers.base_layer(say, base, anew=force)
        python = layers.python_of(debian)
        stack = (debian, layers.packages_layer(python, say), layers.project_layer(python))
        shell = {"Cmd": ["/bin/bash"], "Env": _ENV}
        images = [
            BuiltImage(
                name=f"{HOST}:{wanted}",
                layers=stack,
                config={"Cmd": ["/usr/local/sbin/host-init"], "Env": _ENV, "Volumes": {"/var/lib/docker": {}}},
                inputs=wanted,
            ),
            BuiltImage(
                name="ksahnine/dummy-http:latest",
                layers=(layers.dummy_http_layer(debian),),
                config={
                    "Entrypoint": ["/bin/dummy-http"],
                    "Cmd": ["dummy"],
                    "Env": _ENV,
                    "ExposedPorts": {"8080/tcp": {}},
                },
                inputs=wanted,
            ),
            BuiltImage(
                name="tutum/curl:latest", layers=(layers.closure_layer("curl", debian),), config=shell, inputs=wanted
            ),
            BuiltImage(
                name="process:latest",
                layers=(layers.closure_layer("process", debian, more=_PYTHON),),
                config=shell,
                inputs=wanted,
            ),
        ]
        _index().write_bytes(msgspec.json.encode(images))
        forget_old()
        return images


def built() -> list[BuiltImage]:
    """The lab's own images in the cache, possibly of older inputs; empty before the first build."""
    try:
        images = msgspec.json.decode(_index().read_bytes(), type=list[BuiltImage])
    except (FileNotFoundError, msgspec.MsgspecError):
        return []
    return images if all(layer.path.exists() for image in images for layer in image.layers) else []


def ready() -> bool:
    """Whether all slow parts exist: only the project's own layer may have to be rebuilt."""
    base = layers.cache() / f"base-{layers.base_inputs()}.sha256"
    return base.exists()


def load(path: Path) -> LoadedArchive:
    """Copy a user's archive (from `docker save`) to the cache; its names can be used as `image:` from now on."""
    names = tuple(names_in(path))
    folder = layers.cache() / "loaded"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{layers.hash_of(names)}.tar"
    with locked():
        attempt = target.with_suffix(f".{os.getpid()}")
        try:
            shutil.copyfile(path, attempt)
            attempt.rename(target)
        finally:
            attempt.unlink(missing_ok=True)
    return LoadedArchive(target, names)


def loaded() -> list[LoadedArchive]:
    """The users' archives, oldest first: if two have the same name, the later one is used."""
    files = sorted((layers.cache() / "loaded").glob("*.tar"), key=lambda file: file.stat().st_mtime)
    return [LoadedArchive(file, tuple(names_in(file))) for file in files]


def forget(name: str) -> None:
    """Remove the user's archive that has this name. Raises `LabError` when there is none."""
    wanted = ":".join(reference(name))
    found = [one for one in loaded() if wanted in one.names]
    if not found:
        raise LabError(f"no image named {wanted} was loaded; `lab images list` shows those that were")
    for one in found:
        one.path.unlink()


def missing(names: Iterable[str]) -> list[str]:
    """The image names that are neither the lab's own nor loaded."""
    have = {image.name for image in built()} | {name for one in loaded() for name in one.names}
    have |= {f"{name}:latest" for name in OWN}
    return [name for name in dict.fromkeys(names) if ":".join(reference(name)) not in have]


def outdated(name: str, layers_there: Sequence[str]) -> bool:
    """Whether an engine's image of this name, with these layers (`sha256:…`), is an older build of the lab's own."""
    wanted = ":".join(reference(name))
    if any(wanted in one.names for one in loaded()):
        return False
    return any(
        [f"sha256:{layer.digest}" for layer in image.layers] != list(layers_there)
        for image in built()
        if image.name == wanted
    )


def archives_of(names: Sequence[str]) -> list[Iterator[bytes]]:
    """Archives with the images of these names, for an engine to load; unknown names are skipped."""
    wanted = [":".join(reference(name)) for name in names]
    theirs: dict[Path, None] = {}
    users: set[str] = set()
    for name in wanted:
        for one in reversed(loaded()):
            if name in one.names:
                theirs[one.path] = None
                users.add(name)
                break
    own = [image for image in built() if image.name in wanted and image.name not in users]
    found = [archive(own, architecture())] if own else []
    return [*found, *map(read, theirs)]


def read(path: Path) -> Iterator[bytes]:
    """The bytes of an archive, for an engine to load."""
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            yield chunk


def _index() -> Path:
    return layers.cache() / "images.json"


def forget_old() -> None:
    """Keep the latest few builds of each layer, and remove leftovers of killed builders."""
    by_kind: dict[str, list[Path]] = {}
    for note in layers.cache().glob("*.sha256"):
        by_kind.setdefault(note.name.rpartition("-")[0], []).append(note)
    for notes in by_kind.values():
        for note in sorted(notes, key=lambda one: one.stat().st_mtime)[:-_KEPT]:
            note.with_suffix(".tar").unlink(missing_ok=True)
            note.unlink()
    # Names as in `layers.cached` and `load`; a note about the machine's kernel ends in a number too.
    for attempt in (*layers.cache().glob("*.tar"), *layers.cache().glob("loaded/*")):
        builder = re.fullmatch(r".+\.(\d+)(?:\.tar)?", attempt.name)
        if builder is not None and not Path("/proc", builder[1]).exists():
            attempt.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(name: str = "lock") -> Iterator[None]:
    """Exclude other builders; the lock is released with its process."""
    layers.cache().mkdir(parents=True, exist_ok=True)
    with open(layers.cache() / name, "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

"""The image `overlay-lab/weave`, with which router, DNS and proxy run as containers: made without a registry.

    runtime   of the base layer (Debian, `layers.base_layer`): Python, iptables, busybox, and the libraries they need
    packages  the Python packages of the overlay, as for hosts
    overlay   the overlay as it is now, and the command

Owns what is in the image. `overlay/image/Dockerfile` makes the same one where there is a registry.
"""

import gzip
import hashlib
import os
import re
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import overlay
from lab.errors import LabError
from lab.images import elf, layers, store
from lab.images.archive import BuiltImage, Layer, LayerWriter, archive
from lab.images.layers import Say

NAME = "overlay-lab/weave"
PACKAGES = ("python3", "iptables", "busybox-static")
"""Debian packages; all are in the base layer."""
FOLDER = Path(overlay.__file__).parent / "image"
CONFIG = {
    "Entrypoint": ["/usr/local/bin/weave"],
    "Cmd": ["help"],
    "Env": [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG=C.UTF-8",
        f"WEAVE_IMAGE={NAME}",
    ],
}
_LIBRARIES = re.compile(r"usr/lib(64)?/([^/]+-linux-gnu/)?[^/]+\.so[^/]*")
_PYTHON = re.compile(r"usr/lib/python3\.\d+/")
_UNUSED = re.compile(
    r"usr/lib/python3\.\d+/(test|xmlrpc|wsgiref|tkinter|turtledemo|venv|curses|dbm|pydoc.*"
    r"|lib-dynload/(_curses|_dbm|readline|_tkinter)[^/]*|config-[^/]*|sitecustomize\.py)(/|$)"
)
"""Modules of the standard library that neither the overlay nor its packages import."""
_PROGRAMS = re.compile(r"usr/sbin/(xtables-(nft|legacy)-multi|ip6?tables(-(nft|legacy))?(-save|-restore)?)")
_SHELL = ("sh", "ls", "cat", "ps", "ip", "ping", "nc", "nslookup", "nsenter", "vi", "grep", "sed", "kill", "sleep")
"""Applets of busybox, for debugging in a running container."""
_FORMAT = "2"


def build(say: Say, *, anew: bool = False) -> BuiltImage:
    """The image; layers that are not in the cache are built. Raises `LabError` with what is missing."""
    with store.locked():
        base = layers.base_layer(say)
        python = layers.python_of(base)
        packages = layers.packages_layer(python, say)
        inputs = layers.hash_of("router", _FORMAT, base.digest, packages.digest, _PROGRAMS.pattern, _UNUSED.pattern)
        runtime = layers.cached("router", inputs, lambda path: _write_runtime(path, base, packages), anew=anew)
        own = layers.cached(
            "overlay", _overlay_inputs() + layers.hash_of(python), partial(_write_overlay, python=python), anew=anew
        )
        stack = (runtime, packages, own)
        store.forget_old()
        return BuiltImage(
            name=f"{NAME}:latest", layers=stack, config=CONFIG, inputs=layers.hash_of(*(one.digest for one in stack))
        )


def write(image: BuiltImage, target: Path) -> int:
    """Write the archive that `docker load` reads, compressed and atomically; returns its size in bytes."""
    attempt = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with attempt.open("wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
            for chunk in archive([image], store.architecture()):
                packed.write(chunk)
        attempt.replace(target)
    except OSError as error:
        raise LabError(f"cannot write {target}: {error.strerror}") from None
    finally:
        attempt.unlink(missing_ok=True)
    return target.stat().st_size


def python_packages() -> list[str]:
    """The names of the Python packages in the image."""
    return sorted({one.name.lower().replace("_", "-") for one in layers.distributions()})


# --- the runtime ----------------------------------------------------------------------------------------------------


def _write_runtime(path: Path, base: Layer, packages: Layer) -> None:
    with tarfile.open(base.path) as tar, tarfile.open(packages.path) as theirs, LayerWriter(path) as layer:
        files = {member.name.removeprefix("./"): member for member in tar}
        libraries = {name.rpartition("/")[2]: name for name in files if _LIBRARIES.fullmatch(name)}
        queue = [name for name in files if _wanted(name)]
        for member in theirs:
            if ".so" in member.name and (file := theirs.extractfile(member)) is not None:
                queue += _found(elf.needed(file.read()), libraries)
        for top in ("bin", "sbin", "lib", "lib64"):
            if top in files and files[top].issym():
                layer.link(top, files[top].linkname)
        taken: dict[str, None] = {}
        while queue:
            name = queue.pop()
            member = files.get(name) or files.get(layers.real_name(name, files))  # type: ignore[assignment]
            if member is None or member.isdir() or name in taken:
                continue
            taken[name] = None
            if member.issym():
                queue.append(layers.target_of(name, member))
            elif (file := tar.extractfile(member)) is not None:
                queue += _found(elf.needed(file.read()), libraries)
        for name in sorted(taken):
            member = files[layers.real_name(name, files)]
            if member.issym():
                layer.link(layers.real_name(name, files), member.linkname)
            else:
                # Python matches compiled modules by the time stamp of the source; time stamps of other files do not
                # matter.
                layer.copy(tar, member, timed=name.endswith(".py"))
        for applet in _SHELL:
            layer.link(f"usr/bin/{applet}", "busybox")
        layer.link("var/run", "/run")
        layers.usual_places(layer)


def _wanted(name: str) -> bool:
    """Files that are in the image even if no other file needs them."""
    if _PYTHON.match(name):
        return not _UNUSED.match(name)
    return (
        _PROGRAMS.fullmatch(name) is not None
        or "/xtables/lib" in name
        or name
        in ("usr/bin/python3", "usr/bin/busybox", "etc/passwd", "etc/group", "etc/nsswitch.conf", "etc/protocols")
    )


def _found(names: list[str], libraries: dict[str, str]) -> Iterator[str]:
    for name in names:
        short = name.rpartition("/")[2]
        if short in libraries:
            yield libraries[short]


# --- the overlay ----------------------------------------------------------------------------------------------------


def _overlay_files() -> list[tuple[str, Path]]:
    return [(name, file) for name, file in layers.project_files() if name.startswith("overlay/")]


def _overlay_inputs() -> str:
    files = [(name, hashlib.sha256(file.read_bytes()).hexdigest()) for name, file in _overlay_files()]
    return layers.hash_of("overlay", _FORMAT, files)


def _write_overlay(path: Path, python: str) -> None:
    layers.write_modules(path, python, _overlay_files(), _commands())


def _commands() -> dict[str, bytes]:
    return {"usr/local/bin/weave": (FOLDER / "entry").read_bytes(), "weave": (FOLDER / "weave").read_bytes()}

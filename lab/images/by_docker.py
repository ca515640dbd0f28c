"""The base layer of the host image, built by a user's Docker Engine from the Dockerfile, if there is no mmdebstrap.

Owns the build and the export. Knows engines only through their SDK, and nothing of what is built from the layer.
"""

import contextlib
import io
import shutil
import tarfile
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.images import layers
from lab.images.layers import RECIPE, Say

_PARTS = ("usr/bin/python3", "usr/sbin/dockerd", "usr/bin/busybox", "usr/share/overlay-lab/curl")
"""Files that every result of the Dockerfile has."""


def export_base(engine: Any, path: Path, say: Say) -> None:
    """Build the Dockerfile in this engine (a `docker.DockerClient`) and write its root file system to `path` as a tar.

    Only pulled images stay in the engine. Raises `LabError` with the build's last lines.
    """
    from docker.errors import BuildError

    image = layers.debian_image()
    say(f"host image: Debian and the Docker Engine, by docker build from {image} (minutes, once)")
    arguments = {"BASE": image, "PACKAGES": " ".join(layers.PACKAGES)}
    try:
        built, _ = engine.images.build(
            fileobj=_context(), custom_context=True, buildargs=arguments, rm=True, forcerm=True
        )
    except BuildError as error:
        lines = [str(line.get("stream") or line.get("error") or "").rstrip() for line in error.build_log]
        raise LabError(
            "docker build could not make the host image:\n" + "\n".join(filter(None, lines))[-2000:]
        ) from None
    container = engine.containers.create(built.id, ["sh"], network_mode="none")
    try:
        with path.open("wb") as file:
            for chunk in container.export(chunk_size=1 << 20):
                file.write(chunk)
    finally:
        container.remove(v=True)
        with contextlib.suppress(Exception):
            engine.images.remove(built.id)


def copy_base(source: Path, path: Path) -> None:
    """Copy a root file system that the Dockerfile built elsewhere. Raises `LabError` if it is not one."""
    try:
        with tarfile.open(source, "r:") as tar:
            names = {name.removeprefix("./") for name in tar.getnames()}
    except (OSError, tarfile.TarError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise LabError(f"{source} is no tar of a root file system, as `docker export` writes it: {reason}") from None
    if missing := [one for one in _PARTS if one not in names]:
        raise LabError(
            f"{source} has no {', '.join(missing)}: expected what `docker export` writes of a container of the image "
            "that the Dockerfile makes (`lab images dockerfile` prints it and says how)"
        )
    shutil.copyfile(source, path)


def _context() -> io.BytesIO:
    """The context of `docker build`: the recipe's files."""
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w", encoding="utf-8") as tar:
        for file in sorted(RECIPE.iterdir()):
            if file.is_file():
                tar.add(file, file.name)
    context.seek(0)
    return context

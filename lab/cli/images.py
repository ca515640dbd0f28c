"""`lab images`: builds the lab's own images (the overlay's and the box), loads a user's images, lists
them, and more.
"""

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from lab.errors import LabError
from lab.images import box, layers, router, store


def build(*, force: bool, dockerfile: bool, base: Path | None) -> None:
    """Build images that are missing or outdated."""
    for image in store.build(click.echo, force=force, base=_debian(dockerfile=dockerfile, base=base)):
        click.echo(f"{image.name}  {image.size / 1e6:.1f} MB")


def _debian(*, dockerfile: bool, base: Path | None) -> Callable[[Path], None] | None:
    """The builder of the Debian part; None for mmdebstrap."""
    from lab.backends.dind.client import client
    from lab.backends.dind.engine import choose
    from lab.images.by_docker import copy_base, export_base

    if base is not None:
        return partial(copy_base, base)
    if not dockerfile:
        return None
    choice = choose(os.environ)
    if choice.own:
        raise LabError(
            "--dockerfile needs a Docker Engine that reaches a registry, and none runs here (one of the lab's own "
            "reaches nothing): start one, or leave the flag out"
        )

    def make(path: Path) -> None:
        with client(choice.socket) as engine:
            export_base(engine, path, click.echo)

    return make


def make_box(*, docker: bool, force: bool) -> None:
    """Build the box of real machines, if it is outdated."""
    made = box.build(click.echo, docker=docker, force=force)
    click.echo(f"{made.name}  {made.file.stat().st_size / 1e6:.1f} MB  {made.file}")


def write_weave(file: Path, *, force: bool) -> None:
    """Write the archive of the image that router, DNS and proxy run from."""
    image = router.build(click.echo, anew=force)
    size = router.write(image, file)
    click.echo(f"{image.name}  {image.size / 1e6:.1f} MB, compressed {size / 1e6:.1f} MB  {file}")
    click.echo(f"on each host: docker load -i {file.name}")


def load(files: tuple[Path, ...]) -> None:
    """Load archives of `docker save`."""
    for file in files:
        click.echo("\n".join(store.load(file).names))


def forget(names: tuple[str, ...]) -> None:
    """Delete loaded archives."""
    for name in names:
        store.forget(name)


def show(*, as_json: bool) -> None:
    """List all images that `image:` may name, and the host image."""
    current = store.inputs() if store.built() else ""
    rows: list[dict[str, Any]] = [
        {"name": image.name, "bytes": image.size, "state": "built" if image.inputs == current else "out of date"}
        for image in store.built()
    ]
    rows += [
        {"name": name, "bytes": one.path.stat().st_size, "state": "loaded"}
        for one in store.loaded()
        for name in one.names
    ]
    if as_json:
        click.echo(json.dumps(rows))
        return
    if not store.built():
        click.echo("the lab's own images are not built: `lab images build`")
    for row in rows:
        click.echo(f"{row['bytes'] / 1e6:8.1f} MB  {row['state']:12} {row['name']}")


def dockerfile() -> None:
    """Print the Dockerfile for users with a registry."""
    click.echo((layers.RECIPE / "Dockerfile").read_text(encoding="utf-8"), nl=False)

"""The process images: the meaning of `docker run NAME` if a container is a process with the machine's file system.

An image is data: a default command, an environment and, for those that the lab ships, a Python callable that can run by
fork in an already loaded process instead of starting an interpreter. Programs that replace commands that a machine may
lack are in two folders: `first/` comes first on PATH (`sudo` must take precedence, because the machine's own cannot
work in a user namespace), `last/` comes last (the machine's own `curl` and `ifconfig` take precedence).

Knows nothing of engines, namespaces or networks.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from lab.images import dummy_http

__all__ = ["IMAGES", "SHIMS_FIRST", "SHIMS_LAST", "Call", "Image", "find", "reference", "search_path"]

SHIMS_FIRST = str(Path(__file__).parent / "first")
SHIMS_LAST = str(Path(__file__).parent / "last")

_STANDARD_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


Call = Callable[[Sequence[str], Callable[[], None]], int]
"""Runs an image's entrypoint in this process: (arguments after the entrypoint, callback when it is up) -> exit code. It
is called in a forked process and writes to the descriptors 1 and 2; Python's own buffers are not flushed."""


class Image(Struct, frozen=True, kw_only=True):
    """One process image. `entrypoint + cmd` is the command, as in a Docker image's configuration."""

    name: str
    """Repository, without tag: `tutum/curl`. Every image has only the tag `latest`."""
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    """`8080/tcp`"""
    description: str = ""
    call: Call | None = None
    """Used when the resulting command starts with `entrypoint`; in other cases the executable of that name on PATH
    runs."""

    @property
    def id(self) -> str:
        """`sha256:…`, derived from the name: the same on every host."""
        return "sha256:" + hashlib.sha256(self.name.encode()).hexdigest()


IMAGES: Mapping[str, Image] = {
    image.name: image
    for image in (
        Image(
            name="ksahnine/dummy-http",
            entrypoint=("dummy-http",),
            exposed=("8080/tcp",),
            description="answers GET / on port 8080 with its name and the address of its eth0",
            call=dummy_http.main,
        ),
        Image(name="tutum/curl", cmd=("/bin/bash",), description="a shell with curl and ifconfig"),
        Image(name="process", description="any command, with the machine's file system"),
    )
}


def reference(name: str) -> tuple[str, str]:
    """Split an image reference into repository and tag: `a/b:1` -> ("a/b", "1"); no tag means `latest`.

    A registry's default host and Docker Hub's `library/` are dropped, as Docker's own normalisation does.
    """
    name = name.removeprefix("docker.io/").removeprefix("index.docker.io/").removeprefix("library/")
    head, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        return name, "latest"
    return head, tag


def find(name: str, images: Mapping[str, Image] = IMAGES) -> Image | None:
    """The image of a reference (`tutum/curl`, `tutum/curl:latest`, its id or a prefix of 12 digits), or None."""
    repository, tag = reference(name)
    if tag == "latest" and repository in images:
        return images[repository]
    digits = name.removeprefix("sha256:")
    if len(digits) >= 12:
        for image in images.values():
            if image.id.removeprefix("sha256:").startswith(digits):
                return image
    return None


def search_path(own: str | None = None) -> str:
    """PATH for a lab host or container: first shims, standard directories, the rest of `own` (default: this process's
    PATH), last shims."""
    extra = (os.environ.get("PATH", "") if own is None else own).split(":")
    parts = [SHIMS_FIRST, *_STANDARD_PATH, *(part for part in extra if part.startswith("/")), SHIMS_LAST]
    return ":".join(dict.fromkeys(parts))

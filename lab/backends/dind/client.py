"""The `docker` SDK as the lab uses it: one client per task, errors converted to `LabError`.

The SDK blocks, so code with an event loop calls it in a thread.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from lab.errors import LabError

TIMEOUT = 300
"""Seconds; loading an image on a busy machine takes a while."""


@contextlib.contextmanager
def client(socket: str) -> Iterator[Any]:
    """A client of the engine at a unix socket; its errors are raised as `LabError`."""
    try:
        from docker.client import DockerClient
        from docker.errors import DockerException
    except ImportError:
        raise LabError("hosts with a Docker Engine need the docker SDK: pip install 'overlay-lab[docker]'") from None
    make: Any = DockerClient
    try:
        connected = make(base_url=f"unix://{socket}", version="auto", timeout=TIMEOUT)
        try:
            yield connected
        finally:
            connected.close()
    except (DockerException, OSError) as error:
        text = getattr(error, "explanation", None) or str(error)
        raise LabError(f"the engine says: {text}") from error


def load(socket: str, archives: Iterable[Iterable[bytes]]) -> None:
    """Load these image archives into the engine at a unix socket."""
    with client(socket) as engine:
        for archive in archives:
            engine.images.load(archive)


class ListedContainer(NamedTuple):
    """A container as an engine lists it."""

    id: str
    labels: Mapping[str, str]
    state: str
    created: int
    """Seconds since 1970."""


def containers(engine: Any, label: str) -> list[ListedContainer]:
    """All containers with this label, stopped ones too.

    Does not use the SDK's `containers.list` (or `images.list`), because it inspects each entry and fails when an entry
    is removed meanwhile.
    """
    found = engine.api.containers(all=True, filters={"label": label})
    return [ListedContainer(one["Id"], one["Labels"] or {}, one["State"], one["Created"]) for one in found]


def remove(engine: Any, container: str) -> None:
    """Remove a container with its disk, even if it runs; does nothing if it is gone or already being removed."""
    from docker.errors import APIError

    try:
        engine.api.remove_container(container, force=True, v=True)
    except APIError as error:
        if error.status_code not in (404, 409):
            raise


def tags(engine: Any, repository: str = "") -> dict[str, str]:
    """The tags of all images, or of those in this repository, with the images' ids."""
    found = engine.api.images(name=repository or None)
    return {tag: one["Id"] for one in found for tag in one["RepoTags"] or () if tag != "<none>:<none>"}

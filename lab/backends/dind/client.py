"""The `docker` SDK as the lab uses it: one client per piece of work, its errors as the lab's.

The SDK blocks, so whoever has an event loop calls it in a thread.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from lab.errors import LabError

TIMEOUT = 300
"""Seconds; loading an image on a busy machine takes a while."""


@contextlib.contextmanager
def client(socket: str) -> Iterator[Any]:
    """A client of the engine behind a unix socket; whatever it complains of is raised as `LabError`."""
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
    """Give the engine behind a unix socket the images of these archives."""
    with client(socket) as engine:
        for archive in archives:
            engine.images.load(archive)

"""Fixtures that cost too much to be made more than once: a host with a real Docker Engine, its router and its proxy."""

from collections.abc import Iterator

import pytest
from docker_hosts import DockerHost, need_docker
from overlay_hosts import underlay


@pytest.fixture(scope="session")
def docker_host() -> Iterator[DockerHost]:
    """Images are loaded, router and proxy run. A test leaves it as it found it."""
    need_docker()
    with underlay(DockerHost) as made:
        host = made.host("orion", 2)
        assert isinstance(host, DockerHost)
        host.load_images()
        host.weave("launch")
        host.weave("launch-proxy")
        yield host

"""Fixtures that cost too much to be made more than once: a host with a real Docker Engine, its router and its proxy.

And one setting for all property tests: no deadline. Nothing timed is asserted, and a busy machine is no fault. Another
for all: what is tested are the sources, whether or not somebody has compiled them.
"""

import os
from collections.abc import Iterator

import pytest
from docker_hosts import DockerHost, need_docker
from hypothesis import settings
from overlay_hosts import Host, Underlay, underlay

from lab.compiled.parts import SWITCH

os.environ[SWITCH] = "0"

settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")


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


@pytest.fixture
def orion(net: Underlay) -> Host:
    """Of the hosts that a module's own `net` has."""
    return net.hosts["orion"]


@pytest.fixture
def macbook(net: Underlay) -> Host:
    """See `orion`."""
    return net.hosts["macbook"]

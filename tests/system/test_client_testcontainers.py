"""testcontainers (Python) through the proxy. Ryuk, its container that cleans up, is off: there is no image of it."""

import json

import pytest
from client_tools import load_expected_images, python
from docker_hosts import DockerHost, gone
from overlay_hosts import ROOT

pytestmark = pytest.mark.turn(1)


def test_containers_of_a_test_suite_are_on_the_overlay(docker_host: DockerHost) -> None:
    load_expected_images(docker_host, "alpine:3.10")
    words = (
        "-u",
        "PYTHONPATH",
        "TESTCONTAINERS_RYUK_DISABLED=true",
        f"HOME={docker_host.disk}",
        str(python("testcontainers")),
    )
    try:
        script = str(ROOT / "tests/clients/with_testcontainers.py")
        done = docker_host.proxied(*words, script, client="env", timeout=240)
        found = json.loads(done.stdout.splitlines()[-1])
        assert "inet 10." in found["address"] and found["code"] == 0
        assert "worker" in found["published"] and "worker" in found["logs"]
        assert [found[key] for key in ("exit code", "alias", "overlay")] == [0, 0, 0]
    finally:
        docker_host.docker("rmi", "-f", "alpine:3.10", check=False)
    gone(docker_host)

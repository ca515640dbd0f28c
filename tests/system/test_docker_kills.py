"""`kill -9` of the proxy, the router and the engine in turn, on two hosts with a real Docker Engine each."""

import json
import signal
from collections.abc import Iterator

import pytest
from docker_hosts import BUSYBOX, DockerHost, need_docker
from overlay_hosts import eventually, underlay

pytestmark = pytest.mark.turn(2)

Pair = tuple[DockerHost, DockerHost]


@pytest.fixture(scope="module", params=["", "--live-restore"], ids=["engine-takes-containers-along", "live-restore"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    need_docker()
    with underlay(DockerHost) as made:
        hosts = made.host("orion", 2), made.host("macbook", 3)
        one, two = hosts
        assert isinstance(one, DockerHost) and isinstance(two, DockerHost)
        if request.param:
            one.end_engine(signal.SIGTERM)
            one.dockerd_flags = (request.param,)
            one.start_engine()
        for host in (one, two):
            host.load_images()
            host.weave("launch")
            host.weave("launch-proxy")
        one.weave("connect", two.address)
        two.proxied("run", "-d", "--name", "far", "-e", "WEAVE_CIDR=10.0.1.2/24", BUSYBOX, "sleep", "1000")
        words = ("run", "-d", "--name", "near", "--restart", "always", "-p", "8080:80")
        program = ("httpd", "-f", "-p", "80", "-h", "/etc")
        one.proxied(*words, "-e", "WEAVE_CIDR=10.0.1.1/24", BUSYBOX, *program)
        yield one, two


def reached(pair: Pair) -> bool:
    """From the other host by name and address, from outside by its published port."""
    one, two = pair
    inside = all(
        two.docker("exec", "far", "ping", "-c1", "-W1", target, check=False).returncode == 0
        for target in ("10.0.1.1", "near.weave.local")
    )
    outside = two.run("curl", "-sS", "-m1", f"http://{one.address}:8080/passwd", check=False).stdout
    return inside and "root" in outside


def test_everything_is_attached_again(pair: Pair) -> None:
    one, two = pair
    eventually(lambda: reached(pair), what="at first")

    found = json.loads((one.disk / "w.proxy.json").read_text())
    one.sh(f"kill -9 {found['pid']}; while kill -0 {found['pid']} 2>/dev/null; do sleep 0.02; done")
    assert reached(pair)
    assert one.weave("proxy-env", check=False).returncode == 1
    one.weave("launch-proxy")
    assert "ethwe" in one.proxied("run", "--rm", BUSYBOX, "ip", "link").stdout

    one.kill_daemon()
    two.docker("exec", "far", "ping", "-c1", "-W30", "10.0.1.1")  # no router runs, frames are forwarded
    one.weave("launch")
    eventually(lambda: reached(pair), 30, what="after the router")

    one.end_engine()
    one.start_engine()
    eventually(lambda: reached(pair), 30, what="after the engine")

    one.end_engine()
    one.kill_daemon()
    one.start_engine()
    one.weave("launch")
    eventually(lambda: reached(pair), 30, what="after both")
    assert list(one.attached().values()) == [["10.0.1.1/24"]]

    one.docker("rm", "-f", "near")
    eventually(lambda: one.booked() == {}, what="nothing booked")

"""The `weave` command beside a real Docker Engine: run, attach, detach, start, ps, expose, hide, published ports."""

from collections.abc import Iterator

import pytest
from docker_hosts import BUSYBOX, DockerHost, need_docker, reaches, two_hosts
from overlay_hosts import eventually

pytestmark = pytest.mark.turn(0)

Pair = tuple[DockerHost, DockerHost]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    need_docker()
    with two_hosts(DockerHost) as hosts:
        yield hosts


def test_run_attach_start_and_detach(pair: Pair) -> None:
    one, two = pair
    web = ("--name", "svc1", "-p", "8080:80", BUSYBOX, "httpd", "-f", "-p", "80", "-h", "/etc")
    first = one.weave("run", "10.0.1.1/24", *web).stdout.strip()
    two.docker("run", "-d", "--name", "svc2", BUSYBOX, "sleep", "1000")
    assert two.weave("attach", "10.0.1.2/24", "svc2").stdout.strip() == "10.0.1.2"
    eventually(lambda: reaches(two, "svc2", "10.0.1.1"), what="over Docker's own packet filter")
    assert "root" in two.run("curl", "-sS", f"http://{one.address}:8080/passwd").stdout
    assert one.attached() == {first[:12]: ["10.0.1.1/24"]}

    one.docker("stop", "-t0", "svc1")
    eventually(lambda: not reaches(two, "svc2", "10.0.1.1"), what="a stopped one is off")
    one.weave("start", "svc1")
    eventually(lambda: reaches(two, "svc2", "10.0.1.1"), what="a started one is on")

    assert two.weave("detach", "10.0.1.2/24", "svc2").stdout.strip() == "10.0.1.2"
    assert not reaches(two, "svc2", "10.0.1.1")
    one.docker("rm", "-f", "svc1")
    two.docker("rm", "-f", "svc2")
    for host in pair:
        eventually(lambda host=host: host.booked() == {}, what="nothing booked")


def test_the_host_itself_joins_and_leaves(pair: Pair) -> None:
    one, two = pair
    two.weave("run", "10.0.1.2/24", "--name", "svc2", BUSYBOX, "sleep", "1000")
    assert one.weave("expose", "10.0.1.100/24", "-h", "orion").stdout.strip() == "10.0.1.100"
    eventually(lambda: reaches(two, "svc2", "orion.weave.local"), what="the exposed host, by name")
    assert one.run("ping", "-c1", "-W30", "10.0.1.2", check=False).returncode == 0
    assert "weave:expose" in one.attached()

    one.kill_daemon()
    one.weave("launch")
    eventually(lambda: reaches(two, "svc2", "orion.weave.local"), what="after a restart")
    assert one.weave("hide", "--all").stdout.strip() == "10.0.1.100"
    eventually(lambda: not reaches(two, "svc2", "10.0.1.100"), what="hidden")
    assert "10.0.1.100" not in one.sh("ip addr show weave")
    two.docker("rm", "-f", "svc2")


def test_names_are_found_from_every_network_of_the_engine(pair: Pair) -> None:
    """By the bridge that the engine names, and by one that its user named; both are made while the daemon runs."""
    one, _ = pair
    one.weave("run", "10.0.1.1/24", "--name", "svc1", "-h", "svc1.weave.local", BUSYBOX, "sleep", "1000")
    server = one.bridge_address.partition("/")[0]
    named = ("-o", "com.docker.network.bridge.name=mine0")
    for network, options in (("plain", ()), ("named", named)):
        one.docker("network", "create", *options, network)
        one.docker("run", "-d", "--name", network, "--network", network, BUSYBOX, "sleep", "1000")
        eventually(
            lambda network=network: (
                "10.0.1.1" in one.docker("exec", network, "nslookup", "svc1.weave.local", server, check=False).stdout
            ),
            what=f"an answer on the network {network}",
        )
        one.docker("rm", "-f", network)
        one.docker("network", "rm", network)
    one.docker("rm", "-f", "svc1")


def test_reset_takes_everything_away(pair: Pair) -> None:
    one, _ = pair
    one.weave("run", "10.0.1.7/24", "--name", "left", BUSYBOX, "sleep", "1000")
    one.weave("expose", "10.0.1.101/24")
    one.weave("reset")
    assert "WEAVE" not in one.sh("iptables-save")
    assert one.run("ip", "link", "show", "weave", check=False).returncode == 1
    assert "ethwe" not in one.docker("exec", "left", "ip", "link").stdout
    one.docker("rm", "-f", "left")

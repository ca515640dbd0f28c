"""Policies on real engines, typed as people type them: containers of the plugin and of the proxy, on two hosts."""

from collections.abc import Iterator

import pytest
from docker_hosts import BUSYBOX, DockerHost, need_docker, two_hosts
from overlay_hosts import eventually

pytestmark = pytest.mark.turn(3)

Pair = tuple[DockerHost, DockerHost]
SERVE = "while true; do echo hello | nc -l -p 5432; done"


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    need_docker()
    with two_hosts(DockerHost, ["--plugin"], proxy=()) as hosts:
        eventually(lambda: "Peers: 2 " in hosts[0].weave("status").stdout, 60, "they have met")
        yield hosts


def asks(host: DockerHost, container: str, target: str, port: int = 5432) -> bool:
    words = ("sh", "-c", f"nc -w 2 {target} {port} </dev/null")
    return "hello" in host.docker("exec", container, *words, check=False).stdout


def agreed(host: DockerHost, count: int) -> bool:
    """The host has so many policies, and so have all others."""
    line = next(each for each in host.weave("status").stdout.splitlines() if "Policy:" in each)
    word = "policy" if count == 1 else "policies"
    return f"Policy: {count} {word}, " in line and "; all peers agree" in line and "NOWHERE" not in line


def test_containers_of_plugin_and_proxy_obey_by_name_and_label(pair: Pair) -> None:
    one, two = pair
    two.proxied("run", "-d", "--name", "db", "--label", "tier=data", BUSYBOX, "sh", "-c", SERVE)
    one.proxied("run", "-d", "--name", "web", BUSYBOX, "sleep", "1000")
    one.docker("run", "-d", "--name", "plugged", "--label", "role=front", "--net", "weave", BUSYBOX, "sleep", "1000")
    two.docker("run", "-d", "--name", "near", "--net", "weave", BUSYBOX, "sleep", "1000")
    (address,) = (cidr.partition("/")[0] for cidr in two.weave("ps", "db").stdout.split()[2:])
    everybody = ((one, "web"), (one, "plugged"), (two, "near"))
    for host, name in everybody:
        eventually(lambda host=host, name=name: asks(host, name, address), 60, f"{name} is answered without policies")

    said = one.weave("deny", "to", "tier=data").stdout
    assert said == "deny from all to tier=data (all to 1)\n"
    for host in pair:
        eventually(lambda host=host: agreed(host, 1), 60, "both hosts have it")
    assert not any(asks(host, name, address) for host, name in everybody)

    two.weave("allow", "from", "role=front", "to", "db:5432/tcp")
    for host in pair:
        eventually(lambda host=host: agreed(host, 2), 60, "both hosts have both")
    eventually(lambda: asks(one, "plugged", address), 60, "an endpoint of the plugin, by its label")
    assert not asks(one, "web", address) and not asks(two, "near", address)
    assert "denied by `deny from all to tier=data`" in two.weave("policies", "--explain", "web", "db:5432").stdout
    assert "allowed by `allow from role=front" in one.weave("policies", "--explain", "plugged", "db:5432/tcp").stdout

    # The kernel goes on without the router, and the next one begins with what is on its disk.
    two.kill_daemon()
    eventually(lambda: asks(one, "plugged", address), 60, "without a router")
    assert not asks(one, "web", address)
    two.weave("launch", "--plugin")
    eventually(lambda: agreed(two, 2), 60, "it is back")
    assert not asks(one, "web", address) and not asks(two, "near", address)
    eventually(lambda: asks(one, "plugged", address), 60, "the allowed one")

    # A container that comes later is meant from its first packet on, whichever way it gets onto the overlay.
    late = f"for n in 1 2 3; do nc -w 1 {address} 5432 </dev/null; done; echo over"
    one.weave("policies", "--remove", "all")
    one.weave("deny", "--force", "from", "role=late", "to", "all")
    for host in pair:
        eventually(lambda host=host: agreed(host, 1), 60, "one is left")
    for way in (("run", "--rm", "--net", "weave"), ("run", "--rm")):
        runner = one.docker if "--net" in way else one.proxied
        assert runner(*way, "--label", "role=late", BUSYBOX, "sh", "-c", late).stdout == "over\n", way
    eventually(lambda: asks(one, "web", address), 60, "all others pass")

    one.weave("policies", "--remove", "all")
    for host in pair:
        eventually(lambda host=host: "Policy: none" in host.weave("status").stdout, 60, "no policy is left")
        assert "weave-policy" not in host.sh("nft list tables")

"""Podman through the proxy and with `weave run`: addresses, names, restarts, removal, and what it refuses."""

import json
import shlex
import signal
from collections.abc import Iterator

import pytest
from docker_hosts import BUSYBOX, SCRATCH, gone, two_hosts
from overlay_hosts import eventually
from podman_hosts import PodmanHost, need_podman

pytestmark = pytest.mark.turn(3)

Pair = tuple[PodmanHost, PodmanHost]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    need_podman()
    with two_hosts(PodmanHost, proxy=()) as hosts:
        yield hosts


def address_of(host: PodmanHost, name: str) -> str:
    out = host.proxied("exec", name, "ip", "-o", "-4", "addr", "show", "ethwe").stdout
    return out.split()[3]


def test_containers_of_two_hosts_find_each_other_by_name(pair: Pair) -> None:
    """DNS is served on Podman's bridge, which is not there before the first container."""
    one, two = pair
    try:
        assert "10.88.0.1" in one.weave("status", "dns").stdout + one.weave("status").stdout
        one.proxied("run", "-d", "--name", "web", BUSYBOX, "httpd", "-f", "-p", "80", "-h", "/etc")
        named = one.proxied("run", "--rm", "--name", "named", "-e", "WEAVE_CIDR=10.2.1.4/24", BUSYBOX, "ip", "addr")
        assert "10.2.1.4/24" in named.stdout
        script = "until ping -c1 -W2 web.weave.local; do sleep 0.2; done; cat /etc/hosts; hostname -f"
        said = two.proxied("run", "--rm", "--cap-add=net_raw", "--name", "asker", BUSYBOX, "sh", "-c", script).stdout
        assert "1 packets received" in said and "\tasker" in said and said.endswith("asker\n"), said
        assert one.weave("dns-lookup", "web").stdout.strip() == address_of(one, "web").partition("/")[0]
    finally:
        one.docker("rm", "-f", "web", check=False)
    for host in pair:
        gone(host)


def test_restarts_keep_the_address_and_removal_frees_it(pair: Pair) -> None:
    one, _ = pair
    try:
        one.proxied("run", "-d", "--name", "kept", BUSYBOX, "sleep", "1000")
        first = address_of(one, "kept")
        one.proxied("restart", "-t0", "kept")
        assert address_of(one, "kept") == first
        one.proxied("kill", "kept")
        one.proxied("start", "kept")
        assert address_of(one, "kept") == first
        program = "ip -o -4 addr show ethwe; exit 3"
        one.proxied("run", "-d", "--name", "again", "--restart", "on-failure:2", BUSYBOX, "sh", "-c", program)
        eventually(lambda: one.docker("logs", "again").stdout.count("inet 10.") == 3, 60, "each life is on the overlay")
        assert len({line.split()[3] for line in one.docker("logs", "again").stdout.splitlines()}) == 1
    finally:
        one.docker("rm", "-f", "kept", "again", check=False)
    gone(one)


def test_what_clients_see_is_the_images_own_program(pair: Pair) -> None:
    one, _ = pair
    parts = []
    for made in (one.proxied, one.docker):
        made("run", "-d", "--name", "same", "--hostname", "h", SCRATCH, "sleep", "100")
        (shown,) = json.loads(one.proxied("inspect", "same").stdout)
        listed = one.proxied("ps", "--no-trunc", "--format", "{{.Command}} {{.Mounts}}").stdout
        config, binds = shown["Config"], shown["HostConfig"]["Binds"] or None
        parts.append(
            [shown["Path"], shown["Args"], config["Entrypoint"], config["Cmd"], binds, shown["Mounts"], listed]
        )
        if made == one.proxied:
            refused = one.proxied("commit", "same", "test/committed", check=False)
            assert refused.returncode and "type `podman commit" in refused.stderr, refused
            words = shlex.split(refused.stderr.partition("`podman ")[2].partition("`")[0])
            one.run(*one.podman_words, *words)
            (image,) = json.loads(one.docker("image", "inspect", "test/committed").stdout)
            assert image["Config"]["Entrypoint"] == ["/busybox"] and image["Config"]["Cmd"] == ["sleep", "100"]
            one.docker("rmi", "test/committed")
        one.docker("rm", "-f", "same")
    assert parts[0] == parts[1]
    gone(one)


def test_router_and_service_come_back(pair: Pair) -> None:
    one, two = pair
    try:
        for name in ("stays", "goes"):
            one.proxied("run", "-d", "--name", name, BUSYBOX, "sleep", "1000")
        stays, goes = address_of(one, "stays"), address_of(one, "goes")
        one.kill_daemon()
        one.docker("rm", "-f", "goes")
        one.weave("launch", "--plugin")
        eventually(lambda: "--plugin has no effect" in one.weave("status").stdout, 60, "Podman has no plugins")
        eventually(lambda: goes not in str(one.booked()), 60, "what was removed meanwhile is forgotten")
        one.end_engine(signal.SIGKILL)
        assert "cannot connect" in one.proxied("ps", check=False).stderr.lower()
        one.start_engine()
        one.docker("restart", "-t0", "stays")
        eventually(lambda: address_of(one, "stays") == stays, 60, "events are followed again")
        assert two.proxied("run", "--rm", BUSYBOX, "nslookup", "stays.weave.local").stdout.count(stays.split("/")[0])
        one.weave("run", "10.2.1.9/24", "--name", "ran", BUSYBOX, "sleep", "1000")
        assert address_of(one, "ran") == "10.2.1.9/24"
    finally:
        one.docker("rm", "-f", "stays", "goes", "ran", check=False)
    gone(one)

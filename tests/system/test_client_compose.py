"""Docker Compose 1 and 2 through the proxy: a project on two networks of the plugin, over two hosts."""

from collections.abc import Iterator

import pytest
from client_tools import COMPOSE_1, compose_2, load_expected_images
from docker_hosts import DockerHost, gone, need_docker, two_hosts
from overlay_hosts import eventually
from tiers import cannot_run

pytestmark = pytest.mark.turn(1)

Pair = tuple[DockerHost, DockerHost]
IMAGE = "alpine:3.10"
PROJECT = f"""
services:
  db:
    image: {IMAGE}
    command: httpd -f -p 80 -h /etc
    stop_signal: SIGKILL
    restart: always
    networks: {{back: {{aliases: [database], ipv4_address: 10.40.2.77}}}}
    healthcheck: {{test: [CMD, ping, -c1, db], interval: 1s, retries: 60}}
  app:
    image: {IMAGE}
    command: sleep 1000
    stop_signal: SIGKILL
    networks: [front, back]
    depends_on: {{db: {{condition: service_healthy}}}}
  web:
    image: {IMAGE}
    command: sleep 1000
    stop_signal: SIGKILL
    networks: [front]
  all:
    image: {IMAGE}
    command: sleep 1000
    stop_signal: SIGKILL
    environment: [WEAVE_CIDR=10.32.7.7/24]
    networks: [front, back]
  side:
    image: {IMAGE}
    command: sleep 1000
    stop_signal: SIGKILL
    network_mode: service:app
  plain:
    image: {IMAGE}
    command: sleep 1000
    stop_signal: SIGKILL
    environment: [WEAVE_CIDR=net:10.33.0.0/24]
  job:
    image: {IMAGE}
    command: sh -c 'until ping -c1 -W2 database; do sleep 0.2; done; echo done'
    profiles: [job]
    networks: [back]
networks:
  front: {{driver: weave, ipam: {{driver: weave, config: [{{subnet: 10.40.1.0/24}}]}}}}
  back: {{driver: weavemesh, ipam: {{driver: weave, config: [{{subnet: 10.40.2.0/24, ip_range: 10.40.2.128/26}}]}}}}
"""
# `db` has an address of its own outside of `ip_range`: else another container could get it while `db` is stopped.


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    need_docker()
    flags = ("--hostname-from-label", "com.docker.compose.service")
    with two_hosts(DockerHost, ["--plugin"], flags, lambda host: load_expected_images(host, IMAGE)) as (one, two):
        (one.disk / "compose.yaml").write_text(PROJECT)
        two.docker(
            *("network", "create", "-d", "weave", "--ipam-driver", "weave"),
            *("--subnet", "10.40.2.0/24", "--ip-range", "10.40.2.192/26", "back"),
        )
        yield one, two


@pytest.mark.parametrize("version", [1, 2])
def test_a_project_on_two_networks(pair: Pair, version: int) -> None:
    one, two = pair
    command = COMPOSE_1 if version == 1 else compose_2()
    if version == 1 and one.run(command, "version", check=False).returncode:
        cannot_run("no docker-compose 1: .ci/setup clients, or apt-get install docker-compose")

    def compose(*words: str, check: bool = True) -> str:
        flags = ("-p", "demo", "-f", f"{one.disk}/compose.yaml")
        done = one.proxied(command, *flags, *words, client="env", check=check, timeout=240)
        return done.stdout + done.stderr

    def inside(service: str, *words: str) -> str:
        return one.proxied("exec", ("demo_%s_1", "demo-%s-1")[version - 1] % service, *words, check=False).stdout

    def has(service: str) -> list[str]:
        """The overlay's addresses of a service's container, by interface."""
        lines = inside(service, "ip", "-o", "-4", "addr").splitlines()
        return sorted(words[3] for line in lines if (words := line.split())[1:2] and words[1].startswith("ethwe"))

    def reaches(service: str, target: str) -> bool:
        return "1 packets received" in inside(service, "ping", "-c1", "-W2", target)

    try:
        compose("up", "-d")
        front, back = has("app")
        assert front.startswith("10.40.1.") and back.startswith("10.40.2.")
        for target in ("db", "database.weave.local", "web", "all", "app"):
            eventually(lambda target=target: reaches("app", target), 60, f"app reaches {target}")
        third, *networks = has("all")
        assert third == "10.32.7.7/24" and [cidr.rpartition(".")[0] for cidr in networks] == ["10.40.1", "10.40.2"]
        assert "root" in compose("exec", "-T", "app", "wget", "-qO-", "db/passwd")
        for target in ("db", "web"):
            eventually(lambda target=target: reaches("all", target), 60, f"all reaches {target}")
        assert one.weave("dns-lookup", "plain").stdout.split() == [has("plain")[0].partition("/")[0]]
        assert has("side") == [front, back] and [cidr.rpartition(".")[0] for cidr in has("plain")] == ["10.33.0"]
        dns = two.weave("dns-args").stdout.split()
        fetch = "until wget -qO- db/passwd; do sleep 0.2; done"
        assert "root" in two.docker("run", "--rm", "--net", "back", *dns, IMAGE, "sh", "-c", fetch).stdout
        assert "done" in compose("run", "--rm", "-T", "job")
        compose("restart", "-t", "0", "app")
        assert [cidr.rpartition(".")[0] for cidr in has("app")] == ["10.40.1", "10.40.2"]
        eventually(lambda: reaches("app", "db"), 60, "app reaches db again")
        compose("up", "-d", "--scale", "web=3")
        eventually(lambda: len(one.weave("dns-lookup", "web").stdout.split()) == 3, 60, "the service's name leads to 3")
        compose("stop", "-t", "0")
        compose("start")
        assert has("db") == ["10.40.2.77/24"]
        eventually(lambda: reaches("web", "app"), 60, "they run again")
    finally:
        compose("down", "-t", "0", check=False)
    for host in pair:
        gone(host)
    assert one.docker("network", "ls", "-q", "--filter", "name=demo").stdout == ""

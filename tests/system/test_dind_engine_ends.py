"""A Docker Engine that is killed and comes back in a standing lab: containers, names, plugin, proxy."""

import os
from collections.abc import Iterator

import pytest
from dind_labs import lab, on, require_dind, up
from waiting import eventually

pytestmark = pytest.mark.turn(1)

SCENARIO = """\
version: 1
name: ends
underlay:
  hosts: {orion: {address: 192.168.0.2}, macbook: {address: 192.168.0.3}}
overlay: {kind: weave, options: {plugin: true, proxy: true, ipalloc-default-subnet: 10.32.0.0/13}}
services:
  svc1: {image: ksahnine/dummy-http, args: [svc1], host: orion}
  client: {image: tutum/curl, host: macbook}
timeline:
  - launch: all
  - connect: all
  - run: all
"""
NETWORK = ("network", "create", "-d", "weave", "--ipam-driver", "weave", "--subnet", "10.40.0.0/24", "net")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    require_dind()
    file = tmp_path_factory.mktemp("ends") / "ends.yaml"
    file.write_text(SCENARIO)
    with up(file, f"ends-{os.getpid()}") as name:
        for host, program in (("orion", "far"), ("macbook", "near")):
            on(name, host, "docker", *NETWORK)
            more = ("--restart", "always", "ksahnine/dummy-http", program)
            on(name, host, "docker", "run", "-d", "--name", program, "--net", "net", *more)
        yield name


def pid(name: str, container: str) -> str:
    """Of a container of orion's engine; 0: it does not run."""
    return on(name, "orion", "docker", "inspect", "-f", "{{.State.Pid}}", container).strip()


def all_answer(name: str) -> None:
    """By name over the overlay, and by address on the plugin's network."""
    template = "{{.NetworkSettings.Networks.net.IPAddress}}"
    far = on(name, "orion", "docker", "inspect", "-f", template, "far").strip()
    ask = ("curl", "-s", "--retry", "60", "--retry-all-errors", "--retry-delay", "1", "--max-time", "3")
    assert "[svc1]" in on(name, "client", *ask, "http://svc1.weave.local:8080/")
    enter = ("sh", "-c", f"nsenter -t $(docker inspect -f '{{{{.State.Pid}}}}' near) -n {' '.join(ask)} {far}:8080")
    assert "[far]" in on(name, "macbook", *enter)


def test_with_live_restore_containers_go_on_and_are_taken_over(two: str) -> None:
    all_answer(two)
    before = pid(two, "svc1"), pid(two, "far")
    lab("kill", "--name", two, "--engine", "orion", "--live-restore")
    assert "Cannot connect" in lab("exec", "--name", two, "orion", "--", "docker", "ps", code=1)
    assert "container engine" in lab("exec", "--name", two, "orion", "--", "weave", "attach", "svc1", code=1)
    assert "[svc1]" in on(two, "client", "curl", "-s", "--max-time", "60", "http://svc1.weave.local:8080/")
    assert "kill engine of orion" in lab("status", "--name", two)
    lab("restart", "--name", two, "--engine", "orion")
    assert (pid(two, "svc1"), pid(two, "far")) == before
    all_answer(two)


def test_without_it_they_start_again_at_their_addresses(two: str) -> None:
    before = pid(two, "svc1")
    held = on(two, "orion", "weave", "ps", "svc1")
    lab("restart", "--name", two, "--engine", "orion")
    assert pid(two, "svc1") not in ("0", before)
    assert on(two, "orion", "weave", "ps", "svc1") == held
    eventually(lambda: pid(two, "far") != "0", what="its restart policy")
    all_answer(two)


def test_the_proxy_passes_on_what_the_new_engine_says(two: str) -> None:
    lab("kill", "--name", two, "--engine", "orion")
    through = ("docker", "-H", "unix:///var/run/weave/weave.sock")
    said = lab("exec", "--name", two, "orion", "--", *through, "ps", code=1)
    assert "engine" in said.lower() or "daemon" in said.lower(), said
    lab("restart", "--name", two, "--engine", "orion")
    shown = on(two, "orion", *through, "run", "--rm", "tutum/curl", "ip", "-o", "link")
    assert "ethwe" in shown
    all_answer(two)


def test_an_engine_killed_by_other_hands_leaves_its_containers_alone(two: str) -> None:
    """The step above wanted it otherwise only once."""
    before = pid(two, "svc1")
    on(two, "orion", "sh", "-c", "kill -9 $(pidof dockerd); until docker ps >/dev/null 2>&1; do sleep 0.1; done")
    on(two, "orion", "sh", "-c", "kill -9 $(pidof dockerd); until docker ps >/dev/null 2>&1; do sleep 0.1; done")
    assert pid(two, "svc1") == before

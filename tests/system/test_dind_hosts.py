"""Hosts that are containers with a Docker Engine: a lab that stays, what dies in it, and that nothing of it stays."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from dind_labs import LAB, OWN, alive, descendants, groups, lab, on, require_dind, supervisor, up
from waiting import eventually
from wire_captures import tshark

from lab.backends.netns import LabClient, find
from lab.capture.pcapng import whole_blocks
from lab.images import store
from lab.images.archive import BuiltImage, archive

pytestmark = pytest.mark.turn(0)

SCENARIO = """\
version: 1
name: dind
underlay:
  hosts: {orion.local: {address: 192.168.0.2}, macbook.local: {address: 192.168.0.3}}
  links: {"orion.local -> macbook.local": {delay: 25ms}}
services:
  svc1: {image: ksahnine/dummy-http, args: [svc1], host: orion.local, address: 10.0.1.1/24}
  own: {image: ./own.tar, args: [own], host: macbook.local, address: 10.0.1.5/24, port: 8080}
  client: {image: tutum/curl, host: macbook.local, address: 10.0.1.4/24}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {reachable: all, within: 90s}
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A lab with a service on one host and a client on the other."""
    require_dind()
    file = tmp_path_factory.mktemp("dind") / "dind.yaml"
    file.write_text(SCENARIO)
    _own_archive(file.with_name("own.tar"))
    name = f"dind-{os.getpid()}"
    with up(file, name):
        yield name


def _own_archive(path: Path) -> None:
    """An image that only this file holds: the dummy under another name, and with a configuration of its own."""
    (dummy,) = (image for image in store.built() if image.name.startswith("ksahnine/dummy-http:"))
    own = BuiltImage(name="nobody/own:1", layers=dummy.layers, config=dummy.config, inputs="own")
    path.write_bytes(b"".join(archive([own], store.architecture())))


def _served(name: str) -> None:
    answer = on(
        name, "client", "curl", "-s", "--retry", "20", "--retry-connrefused", "--retry-delay", "1", "10.0.1.1:8080"
    )
    assert answer.startswith("Hi! I'm [svc1] service and my Docker container's IP is [172.17.0.")


def test_forward_has_the_policy_of_docker_and_a_flush_of_it_is_mended(two: str) -> None:
    """`own` and `client` are on one host: what is between them passes the host's packet filter."""
    ask = ("client", "curl", "-s", "--retry", "20", "--retry-all-errors", "--max-time", "2", "--retry-delay", "1")
    for family in ("iptables", "ip6tables"):
        assert on(two, "macbook.local", family, "-S", "FORWARD").startswith("-P FORWARD DROP\n-A FORWARD -j WEAVE\n")
    on(two, "macbook.local", "iptables", "-F", "FORWARD")
    eventually(lambda: "-j WEAVE" in on(two, "macbook.local", "iptables", "-S", "FORWARD"), what="the rules are back")
    assert on(two, *ask, "10.0.1.5:8080").startswith("Hi! I'm [own] service")


def test_packets_of_hosts_and_of_their_containers_are_captured(two: str, tmp_path: Path) -> None:
    """Live, by `lab capture`."""
    running = ("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    for where, said in (("macbook.local->orion.local", "capturing on eth0 of"), ("client", "capturing on")):
        file = tmp_path / f"{where[:3]}.pcapng"
        words = [*LAB, "capture", where, "-w", str(file), "--name", two]
        capture = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        assert capture.stderr is not None
        line = capture.stderr.readline()
        assert line.startswith(said), line + capture.stderr.read()
        _served(two)
        eventually(lambda file=file: file.stat().st_size > 2000, what="packets in the file")
        capture.kill()  # what captures on the host hears of that, and may write one more packet before
        capture.wait()
        eventually(lambda: "capture.sniff" not in on(two, "macbook.local", *running), what="the end of what captured")
        assert whole_blocks(file.read_bytes()) == file.stat().st_size
        assert tshark(file, "-Y", "vxlan" if where != "client" else "http.response") != ""


def test_hosts_are_machines_with_an_engine_of_their_own(two: str) -> None:
    assert on(two, "orion.local", "hostname").strip() == "orion.local"
    assert "svc1" in on(two, "orion.local", "sudo", "docker", "ps", "--format", "{{.Names}}")
    assert "svc1" not in on(two, "macbook.local", "docker", "ps", "--format", "{{.Names}}")
    assert "192.168.0.3" in on(two, "orion.local", "getent", "hosts", "macbook.local")
    _served(two)


def test_a_link_is_slow_between_containers_too(two: str) -> None:
    """By the kernel's queue or, where it has none, by the lab's relay."""
    told = on(two, "orion.local", "ping", "-n", "-q", "-c", "3", "-i", "0.2", "192.168.0.3")
    assert float(told.rsplit("=", 1)[1].split("/")[0]) >= 25, told


def test_a_service_runs_the_image_of_an_archive(two: str) -> None:
    assert "nobody/own:1" in on(two, "macbook.local", "docker", "ps", "--format", "{{.Image}}")
    assert "Hi! I'm [own] service" in on(two, "client", "curl", "-s", "10.0.1.5:8080")


def test_containers_outlive_their_engine(two: str) -> None:
    before = on(two, "orion.local", "docker", "inspect", "-f", "{{.State.Pid}}", "svc1")
    on(two, "orion.local", "sh", "-c", "kill -9 $(pidof dockerd); until docker ps >/dev/null 2>&1; do sleep 0.1; done")
    assert on(two, "orion.local", "docker", "inspect", "-f", "{{.State.Pid}}", "svc1") == before
    _served(two)


def test_a_power_cut_leaves_the_disk(two: str) -> None:
    on(two, "orion.local", "touch", "/var/lib/weave/kept", "/run/lost")
    with LabClient(find(two)) as client:
        client.call("step", step={"kill": {"host": "orion.local"}})
        lab("exec", "--name", two, "orion.local", "--", "true", code=2)
        client.call("step", step={"restart": {"host": "orion.local"}})
    assert on(two, "orion.local", "ls", "/var/lib/weave/kept")
    assert "svc1" in on(two, "orion.local", "docker", "ps", "-a", "--format", "{{.Names}}")
    _served(two)


def test_nothing_stays_when_the_lab_is_killed(two: str) -> None:
    """The last one on the shared lab: it ends it."""
    found = re.search("overlay-lab-[0-9a-f]+", on(two, "orion.local", "cat", "/proc/1/cgroup"))
    assert found and groups(found[0])
    pid = supervisor(two)
    inside = descendants(pid)
    assert any(Path(f"/proc/{one}/comm").read_text() == "dockerd\n" for one in inside)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not any(alive(one) for one in inside), what="its processes are gone")
    eventually(lambda: not groups(found[0]), what="its control groups are gone")
    assert f"no lab named {two} runs" in lab("inspect", "--name", two, code=2)


def test_what_cannot_be_had_is_said_before_anything_starts(tmp_path: Path) -> None:
    require_dind()
    _own_archive(tmp_path / "own.tar")
    file = tmp_path / "odd.yaml"
    file.write_text(SCENARIO.replace("tutum/curl", "nobody/nothing"))
    out = lab("run", str(file), "--backend", "dind", "--out", str(tmp_path), code=2)
    assert "there is no image nobody/nothing" in out and "archive of `docker save`" in out
    nowhere = {**OWN, "LAB_ENGINE": f"unix://{tmp_path}/absent.sock"}
    out = lab("run", str(file), "--backend", "dind", "--out", str(tmp_path), code=2, env=nowhere)
    assert "no Docker Engine answers at" in out
    fresh = {**OWN, "XDG_CACHE_HOME": str(tmp_path)}
    out = lab("run", str(file), "--backend", "dind", "--out", str(tmp_path), code=2, env=fresh)
    assert "there is no host image yet: `lab images build`" in out

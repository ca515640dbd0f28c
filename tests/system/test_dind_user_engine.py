"""Hosts in a user's own engine: plugged in by a helper container, and nothing stays in there whatever happens."""

import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from dind_labs import lab, require_dind, supervisor
from tiers import ENDS_WITH_US
from waiting import eventually

from lab.backends.dind.backend import remove_hosts, sweep
from lab.backends.dind.client import client, containers, remove
from lab.backends.dind.engine import program
from lab.errors import LabError
from lab.images import layers, reference

pytestmark = pytest.mark.turn(2)

SCENARIO = """\
version: 1
name: theirs
underlay:
  hosts: {orion.local: {address: 192.168.0.2}, macbook.local: {address: 192.168.0.3}}
  links: {default: {delay: 5ms}}
services:
  svc1: {image: ksahnine/dummy-http, args: [svc1], host: orion.local}
  own: {image: "nobody/own:1", args: [own], host: macbook.local, port: 8080}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {reachable: all, within: 90s}
  - partition: {groups: [[orion.local], [macbook.local]], for: 5s}
  - expect: {unreachable: {from: svc1, to: own}, within: 5s}
  - wait: 5s
  - expect: {reachable: all, within: 90s}
"""
_ENGINE = """\
mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir -p /run/containerd && mount -t tmpfs tmpfs {data} &&
exec {dockerd} --config-file={sock}/daemon.json --data-root={data} --exec-root=/run/exec --pidfile=/run/docker.pid \
    --host=unix://{sock}/docker.sock --group= --storage-driver=overlay2 --exec-opt=native.cgroupdriver=cgroupfs \
    --bridge=none --iptables=false --ip-forward=false
"""


@pytest.fixture(scope="module")
def theirs() -> Iterator[str]:
    """The socket of an engine that no lab started, in namespaces of its own."""
    require_dind()
    with tempfile.TemporaryDirectory() as folder:
        sock, data = Path(folder, "sock"), Path(folder, "data")
        sock.mkdir()
        data.mkdir()
        (sock / "daemon.json").write_text("{}")
        script = _ENGINE.format(sock=sock, data=data, dockerd=program())
        unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        with open(sock / "log", "wb") as log:
            engine = subprocess.Popen([*ENDS_WITH_US, *unshare, "sh", "-c", script], stdout=log, stderr=log)
        path = str(sock / "docker.sock")

        def answers() -> bool:
            try:
                with client(path):
                    return True
            except LabError:
                return False

        try:
            eventually(answers, what="an engine to test with is up")
            yield path
        finally:
            engine.kill()
            engine.wait()


def _left(path: str) -> list[str]:
    with client(path) as engine:
        held = [
            one["Id"] for one in engine.api.containers(all=True)
        ]  # not the SDK's own list, see `lab.backends.dind.client`
        return held + [str(one) for one in engine.volumes.list()]


def _offer_own_image(path: str) -> None:
    """An image that only the user's engine has: the dummy under another name."""
    from lab.images import store

    with client(path) as engine:
        for archive in store.archives_of(["ksahnine/dummy-http"]):
            engine.images.load(archive)
        engine.images.get("ksahnine/dummy-http").tag("nobody/own", "1")


def test_a_scenario_in_a_users_engine_leaves_nothing(theirs: str, tmp_path: Path) -> None:
    _offer_own_image(theirs)
    file = tmp_path / "theirs.yaml"
    file.write_text(SCENARIO)
    environment = {**os.environ, "LAB_ENGINE": f"unix://{theirs}"}
    lab("run", str(file), "--backend", "dind", "--out", str(tmp_path), env=environment)
    eventually(lambda: not _left(theirs), what="the hosts and their disks are gone")


def test_a_lab_that_is_killed_leaves_nothing_in_a_users_engine(theirs: str, tmp_path: Path) -> None:
    _offer_own_image(theirs)
    file = tmp_path / "theirs.yaml"
    file.write_text(SCENARIO)
    environment = {**os.environ, "LAB_ENGINE": f"unix://{theirs}"}
    name = f"theirs-{os.getpid()}"
    lab("up", str(file), "--backend", "dind", "--name", name, env=environment)
    try:
        assert lab("exec", "--name", name, "orion.local", "--", "hostname", env=environment).strip() == "orion.local"
        assert len(_left(theirs)) == 6  # two hosts and the helper, each with a disk, as their image asks for
    finally:
        os.kill(supervisor(name), signal.SIGKILL)
    eventually(lambda: not _left(theirs), what="the helper has removed everything")


def test_a_sweep_spares_labs_that_come_up_and_survives_containers_that_vanish(theirs: str) -> None:
    _offer_own_image(theirs)
    ends = threading.Event()

    def make(engine: Any, **labels: str) -> str:
        made: dict[str, str] = engine.api.create_container("nobody/own:1", labels={"overlay-lab.lab": "x"} | labels)
        return made["Id"]

    def churn() -> None:
        with client(theirs) as engine:
            while not ends.is_set():
                for one in [make(engine, **{"overlay-lab.lab": "gone"}) for _ in range(3)]:
                    remove(engine, one)

    with ThreadPoolExecutor() as pool, client(theirs) as engine:
        helper, host = make(engine, **{"overlay-lab.helper": "1"}), make(engine)
        others = [pool.submit(churn) for _ in range(2)]
        try:
            for _ in range(40):
                sweep(theirs)
                remove_hosts(theirs, "gone")
        finally:
            ends.set()
        for other in others:
            other.result()
        assert {one.id for one in containers(engine, "overlay-lab.lab")} == {helper, host}
        for one in (helper, host):
            remove(engine, one)
    assert not _left(theirs)


def _offer_debian(path: str) -> None:
    """What a registry would give. It has the packages already: a test reaches no package registry."""
    base = layers.base_layer(lambda _: None)
    with client(path) as engine:
        repository, tag = reference(layers.debian_image())
        engine.api.import_image_from_file(str(base.path), repository=repository, tag=tag)


def test_the_dockerfile_makes_what_mmdebstrap_makes(theirs: str, tmp_path: Path) -> None:
    _offer_debian(theirs)
    _offer_own_image(theirs)
    environment = {**os.environ, "LAB_ENGINE": f"unix://{theirs}"}
    with tempfile.TemporaryDirectory() as fresh:  # not in tmp_path, which is long for the path of a unix socket
        environment["XDG_CACHE_HOME"] = fresh
        out = lab("images", "build", "--dockerfile", env=environment)
        assert "by docker build from debian:" in out and "overlay-lab/host:" in out
        assert not _left(theirs)
        file = tmp_path / "theirs.yaml"
        file.write_text(SCENARIO)
        lab("run", str(file), "--backend", "dind", "--out", str(tmp_path), env=environment)


def test_a_path_too_long_for_sockets_is_said_before_anything_starts(theirs: str, tmp_path: Path) -> None:
    file = tmp_path / "theirs.yaml"
    file.write_text(SCENARIO)
    environment = {**os.environ, "LAB_ENGINE": f"unix://{theirs}", "XDG_CACHE_HOME": str(tmp_path / ("x" * 60))}
    out = lab("run", str(file), "--backend", "dind", "--out", str(tmp_path), env=environment, code=2)
    assert "bytes too long for unix sockets" in out and "XDG_CACHE_HOME" in out
    assert not _left(theirs)


def test_a_base_that_is_none_is_refused_and_nothing_is_lost(theirs: str, tmp_path: Path) -> None:
    before = lab("images", "list")
    other = tmp_path / "other.tar"
    for content, words in ((b"x", "is no tar of a root file system"), (b"\0" * 10240, "has no usr/bin/python3")):
        other.write_bytes(content)
        assert words in lab("images", "build", "--base", str(other), code=2)
    assert lab("images", "list") == before
    assert "none runs here" in lab("images", "build", "--dockerfile", code=2)

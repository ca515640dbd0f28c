"""The integration tests of docker's own Python client, played through the proxy on real engines.

What is left out stands in `tests/clients/docker_sdk_skips.txt`, with the reason. With `CLIENTS=full`
(`make test-clients`) all other files are played too: images, builds, swarms, services.
"""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
from client_tools import SKIPS, load_expected_images, python, sdk
from docker_hosts import DockerHost, gone, need_docker
from overlay_hosts import underlay

pytestmark = pytest.mark.turn(1)

FULL = os.environ.get("CLIENTS") == "full"
IMAGES = ("alpine:3.10", "alpine:latest", "busybox:latest")
GROUPS = {
    "containers": ("api_container",),
    "networks": ("api_exec", "api_network", "api_healthcheck", "api_volume", "client", "errors", "regression"),
    "models": ("models_containers", "models_networks", "models_resources", "models_volumes", "api_client"),
}
MORE = {
    "images": ("api_build", "api_image", "models_images", "context_api"),
    "swarms": (
        "api_swarm",
        "models_swarm",
        "models_nodes",
        "api_config",
        "api_secret",
        "api_service",
        "models_services",
    ),
}
AT_LEAST = {"containers": 65, "networks": 65, "models": 40, "images": 35, "swarms": 50, "services": 8}
"""Fewer tests than these passed: something keeps them from being found."""


def skips() -> dict[str, tuple[bool, str]]:
    """What is left out: whether only in CI, and why."""
    found = {}
    for line in SKIPS.read_text().splitlines():
        if line and not line.startswith("#"):
            name, reason = line.split(maxsplit=1)
            found[name] = (reason.startswith(("slow:", "timed:")), reason)
    return found


def left_out(ids: Sequence[str]) -> list[str]:
    names = [name for name, (slow, _) in skips().items() if not (slow and FULL)]
    return [id for id in ids if any(_means(name, id) for name in names)]


def _means(name: str, id: str) -> bool:
    """A line means a test, a class of them, or a file."""
    if name.endswith("*"):
        return id.startswith(name[:-1])
    return id == name or id.startswith(name + "::")


@cache
def collected() -> list[str]:
    """All integration tests that there are, without their folder; but those of a file that asks an engine when read."""
    words: tuple[str | Path, ...] = (
        python(),
        "-m",
        "pytest",
        "-q",
        "--collect-only",
        "-p",
        "no:cacheprovider",
        "tests/integration",
    )
    words += ("--ignore=tests/integration/client_test.py",)
    out = subprocess.run(words, cwd=sdk(), check=True, capture_output=True, text=True, timeout=120).stdout
    return [line.partition("tests/integration/")[2] for line in out.splitlines() if "::" in line]


def test_every_line_of_the_skips_means_a_test() -> None:
    ids = collected()
    assert len(ids) > 350
    assert [name for name in skips() if not any(_means(name, id) for id in ids)] == []


def test_dockers_own_client_works_through_the_proxy() -> None:
    need_docker()
    ids = left_out(collected())
    groups = {**GROUPS, **(MORE if FULL else {})}
    with underlay(DockerHost) as made:
        running = {}
        for number, (group, files) in enumerate(groups.items()):
            host = made.host(group, 2 + number)
            assert isinstance(host, DockerHost)
            load_expected_images(host, *IMAGES)
            host.weave("launch")
            host.weave("launch-proxy", "-H", f"unix://{host.disk}/w.proxy")
            running[group] = (host, started(host, [f"{name}_test.py" for name in files], ids))
        for group, (host, process) in running.items():
            out, err = process.communicate(timeout=1500)
            print(f"{group}:", *(line for line in out.splitlines() if re.search(r" in \d+\.\d+s", line)), sep="\n  ")
            assert process.returncode == 0, f"{group}\n{out[-6000:]}{err[-2000:]}\n{host.log}"
            passed = re.search(r"(\d+) passed", out)  # the first time
            assert passed is not None and int(passed[1]) >= AT_LEAST[group], out[-2000:]
            left = host.docker("ps", "-aq").stdout.split()
            host.docker("rm", "-f", *left) if left else None
            gone(host)


def started(host: DockerHost, files: Sequence[str], without: Sequence[str]) -> "subprocess.Popen[str]":
    """The tests of these files, running on a host of their own. Some give the engine only seconds: those that fail are
    played twice more, and a fault fails each time."""
    shutil.copytree(sdk() / "tests", host.disk / "sdk/tests")
    shutil.copy(sdk() / "pytest.ini", host.disk / "sdk")
    deselect = [f"--deselect=tests/integration/{id}" for id in without if id.partition("::")[0] in files]
    words = (
        *("env", "-u", "PYTHONPATH", f"HOME={host.disk}", f"DOCKER_HOST=unix://{host.disk}/w.proxy"),
        *(str(python()), "-m", "pytest", "-q", "--timeout=120", *deselect),
        *(f"tests/integration/{name}" for name in files),
    )
    once = shlex.join(words)
    script = f"cd {shlex.quote(str(host.disk / 'sdk'))}; {once} && exit; {once} --lf || {once} --lf"
    return host.popen("sh", "-c", script)

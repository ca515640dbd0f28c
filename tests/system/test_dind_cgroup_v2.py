"""Docker-in-Docker hosts where control groups are of version 2, whatever this machine has for itself."""

import subprocess
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
from dind_labs import LAB, OWN, require_dind
from tiers import cannot_run

pytestmark = pytest.mark.turn(3)

SCENARIO = """\
version: 1
name: unified
underlay:
  hosts: {orion.local: {}, macbook.local: {}}
services:
  svc1: {image: ksahnine/dummy-http, args: [svc1], host: orion.local, address: 10.0.1.1/24}
  client: {image: tutum/curl, host: macbook.local, address: 10.0.1.4/24}
timeline:
  - launch: all
  - connect: all
  - run: all
  - exec: {host: orion.local, command: "docker info --format '{{.CgroupVersion}}'", expect: {stdout: "2"}}
  - expect: {reachable: all, within: 90s}
  - kill: {host: orion.local, for: 1s}
  - wait: 1s
  - expect: {dns: {name: svc1.weave.local, answers: 1}, within: 90s}
"""
_UNIFIED = """\
mount --make-rprivate / && umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup || exit 77
"$@" || exit
cd /sys/fs/cgroup && ls -d overlay-lab-* > "$LEFT" 2>/dev/null
exit 0
"""
"""All groups in one hierarchy, in a mount namespace of its own. Groups that labs have left are listed last."""


def test_hosts_live_in_the_one_hierarchy(tmp_path: Path) -> None:
    require_dind()
    file = tmp_path / "unified.yaml"
    file.write_text(SCENARIO)
    words = [*LAB, "run", str(file), "--backend", "dind", "--out", str(tmp_path)]
    words = ["unshare", "--mount", "sh", "-c", _UNIFIED, "sh", *words]
    left, others = tmp_path / "left", set[str]()
    with ThreadPoolExecutor() as pool:
        options: dict[str, Any] = {"capture_output": True, "text": True, "env": {**OWN, "LEFT": str(left)}}
        running = pool.submit(lambda: subprocess.run(words, timeout=200, check=False, **options))
        while not wait([running], timeout=0.05).done:
            others |= _seen_by_all()
        done = running.result()
    if done.returncode == 77:
        cannot_run(f"control groups of version 2 cannot be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nvalid\n" in done.stdout
    assert not {*left.read_text().split()} - others - _seen_by_all(), "groups outlive their lab"


def _seen_by_all() -> set[str]:
    """Groups of labs that run at the same time: they are in the machine's hierarchies of version 1 too."""
    return {place.name for place in Path("/sys/fs/cgroup").glob("*/overlay-lab-*") if place.parent.name != "unified"}

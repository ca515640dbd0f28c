"""Docker-in-Docker hosts where control groups are of version 2, whatever this machine has for itself."""

import subprocess
from pathlib import Path

from dind_labs import LAB, OWN, require_dind
from tiers import cannot_run

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
ls -d /sys/fs/cgroup/overlay-lab-* 2>/dev/null
exit 0
"""
"""All groups in one hierarchy, in a mount namespace of its own. Groups that labs have left are listed last."""


def test_hosts_live_in_the_one_hierarchy(tmp_path: Path) -> None:
    require_dind()
    file = tmp_path / "unified.yaml"
    file.write_text(SCENARIO)
    words = [*LAB, "run", str(file), "--backend", "dind", "--out", str(tmp_path)]
    words = ["unshare", "--mount", "sh", "-c", _UNIFIED, "sh", *words]
    done = subprocess.run(words, capture_output=True, text=True, env=OWN, timeout=200, check=False)
    if done.returncode == 77:
        cannot_run(f"control groups of version 2 cannot be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nvalid\n" in done.stdout
    assert "/sys/fs/cgroup/overlay-lab-" not in done.stdout, "groups outlive their lab"

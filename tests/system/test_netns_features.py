"""What the doctor tells of machines that forbid what a lab needs: tried in namespaces that forbid it."""

import os
import subprocess
import sys

import pytest
from netns_labs import require_netns

from lab.fabric import features

_TELL = """
from lab.fabric import features
for one in features.detect():
    print("yes" if one.found else "no", one.name, one.detail, one.remedy, sep="|")
"""
_LAUNCH = """
from lab.backends.netns import launch
from lab.errors import LabError
try:
    launch(lambda: 0)
except LabError as error:
    print(error)
"""
NO_USER_NAMESPACES = [
    *("unshare", "-U", "-r", "sh", "-c"),
    'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set -all --inh-caps -all "$@"',
    *("sh", sys.executable),
]
HIDDEN_PROC = [
    *("unshare", "-m", "sh", "-c"),
    'mount -t tmpfs none /proc/irq && exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"',
    *("sh", "/usr/bin/python3"),  # ours may be below root's home
]


@pytest.fixture(autouse=True)
def _possible() -> None:
    require_netns()


def told(where: list[str], script: str) -> str:
    """Output of a script in namespaces in which something is forbidden."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*where, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_everything_that_is_required_is_found_here() -> None:
    names = [one.name for one in features.detect()]
    assert len(names) == len(set(names))
    assert {"ip", "nft", "namespaces", "bridges", "vxlan", "neigh-suppress", "netem", "relay"} <= set(names)
    assert all(one.remedy for one in features.detect() if not one.found)


def test_forbidden_user_namespaces_are_named_with_the_setting_that_allows_them() -> None:
    lines = told(NO_USER_NAMESPACES, _TELL).splitlines()
    (line,) = [line for line in lines if "|namespaces|" in line]
    assert line.startswith("no|namespaces|user namespace: ")
    assert "sudo sysctl -w user.max_user_namespaces=15000" in line
    assert "user.max_user_namespaces=15000" in told(NO_USER_NAMESPACES, _LAUNCH)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to hide /proc from an ordinary user: run as root")
def test_a_hidden_proc_is_named_with_the_option_that_shows_it() -> None:
    lines = told(HIDDEN_PROC, _TELL).splitlines()
    (line,) = [line for line in lines if "|proc|" in line]
    assert line.startswith("no|proc|")
    assert "systempaths=unconfined" in line
    assert "refuses a lab its own /proc" in told(HIDDEN_PROC, _LAUNCH)

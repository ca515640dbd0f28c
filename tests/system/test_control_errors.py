"""Errors of the daemon in sentences: malformed HTTP, odd requests, a state directory that cannot be written."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from overlay_hosts import IMAGE, PYTHON, Host, underlay

FILE = Path(__file__).resolve().parents[1] / "fuzz" / "control_api.py"
spec = importlib.util.spec_from_file_location("fuzz_control_api", FILE)
assert spec is not None and spec.loader is not None
control_api = importlib.util.module_from_spec(spec)
spec.loader.exec_module(control_api)
REQUESTS = 200


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with underlay() as made:
        made.host("orion", 2).weave("launch")
        yield made.hosts["orion"]


@pytest.mark.parametrize("where", ["unix", "tcp"])
def test_no_request_is_a_bug(host: Host, where: str) -> None:
    pid = host.daemon()
    if where == "unix":
        found = list(control_api.attack(f"unix:{host.disk}/w", 7, first=[], count=REQUESTS))
    else:
        header = (host.disk / "w.token").read_text().strip()
        done = host.run(PYTHON, str(FILE), "--at", "tcp:6784", "8", str(REQUESTS), header, check=False, timeout=120)
        found = [done.stdout + done.stderr] if done.returncode else []
    assert not found, "\n".join(found)[:4000]
    assert host.daemon() == pid and "Service: router" in host.weave("status").stdout
    assert "Traceback" not in host.log and len(host.log.splitlines()) < 60, host.log[-8000:]


def test_malformed_http_is_one_line_in_the_log(host: Host) -> None:
    for _ in range(20):
        for data in (b"\x00\x01", b"GET\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"):
            control_api.answer(f"unix:{host.disk}/w", data, 5.0)
    assert "Traceback" not in host.log
    assert sum("HTTP from" in line for line in host.log.splitlines()) <= 2, host.log


def test_a_state_directory_that_cannot_be_written_is_said(host: Host) -> None:
    db = f"{host.disk}/db"
    host.weave("run", "10.0.9.1/24", "--name", "early", IMAGE, "early")
    host.sh(f"rm -f {db}/reserve; mount --bind {db} {db}; mount -o remount,bind,ro {db}")
    try:
        for words in (("status",), ("report",), ("ps",)):
            assert host.weave(*words).returncode == 0
        assert f"{db} cannot be written (Read-only file system)" in host.weave("status").stdout
        late = ("run", "10.0.9.2/24", "--name", "late", IMAGE, "late")
        for typed in (late, ("attach", "10.0.9.3/24", "early")):
            refused = host.weave(*typed, check=False)
            assert refused.returncode == 1 and len(refused.stderr.splitlines()) == 1, refused
            assert "cannot be written (Read-only file system): make it writable" in refused.stderr
    finally:
        host.sh(f"umount {db}")
    assert "Traceback" not in host.log
    assert sum("cannot be written" in line for line in host.log.splitlines()) <= 3, host.log
    assert host.weave("run", "10.0.9.2/24", "--name", "late", IMAGE, "late").returncode == 0
    assert "cannot be written" not in host.weave("status").stdout

"""`lab capture` on real packets: what is in the file, what a filter leaves, and that nothing stays behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from netns_labs import require_netns
from tiers import cannot_run
from wire_captures import shown

from overlay.wire.codec import DATAGRAM_MAGIC

LAB = [sys.executable, "-m", "lab.cli"]
NAME = f"capture-{os.getpid()}"
SCENARIO = """
version: 1
name: capture
underlay: {hosts: {a: {address: 192.168.0.2}, b: {address: 192.168.0.3}, c: {}, d: {}}}
overlay: weave
services:
  one: {image: ksahnine/dummy-http, args: [one], host: a, address: 10.0.1.1/24}
timeline:
  - launch: [a, b]
  - launch: {hosts: [c, d], options: {password: wherever you go}}
  - run: all
"""


def lab(*words: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*LAB, *words], capture_output=True, text=True, check=False, timeout=timeout)


@pytest.fixture(scope="module")
def _up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    require_netns()
    folder = tmp_path_factory.mktemp("capture")
    file = folder / "capture.yaml"
    file.write_text(SCENARIO)
    done = lab("up", str(file), "--name", NAME, "--out", str(folder))
    assert done.returncode == 0, done.stderr
    yield
    lab("down", "--name", NAME)


def begun(*words: str) -> subprocess.Popen[str]:
    """A capture that has begun to capture."""
    command = [*LAB, "capture", *words, "--name", NAME]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith("capturing on"), line + process.stderr.read()
    return process


def ended(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGINT)
    for child in children(process.pid):
        os.kill(child, signal.SIGINT)  # as a terminal does, which signals all of the process group
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return errors


def children(pid: int) -> list[int]:
    """All processes below one."""
    found = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*found, *(below for one in found for below in children(one))]


def frames(file: Path, *words: str) -> str:
    if shutil.which("tshark") is None:
        cannot_run("no tshark here (Debian: package tshark)")
    done = subprocess.run(["tshark", "-r", str(file), *words], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


def ping(source: str, target: str) -> None:
    assert lab("exec", "--name", NAME, source, "--", "ping", "-c", "2", "-i", "0.2", target).returncode == 0


@pytest.mark.usefixtures("_up")
def test_what_passes_a_host_is_in_the_file_with_its_interface(tmp_path: Path) -> None:
    file = tmp_path / "with a space.pcapng"
    capture = begun("a", "-w", str(file))
    ping("b", "192.168.0.2")
    assert "packets" in ended(capture)
    lines = frames(file, "-Y", "icmp", "-T", "fields", "-e", "frame.interface_name", "-e", "ip.src").splitlines()
    assert [line.split("\t") for line in lines].count(["a eth0", "192.168.0.3"]) == 2
    assert [line.split("\t") for line in lines].count(["a eth0", "192.168.0.2"]) == 2


@pytest.mark.usefixtures("_up")
def test_a_pair_and_a_filter_leave_only_what_was_asked_for(tmp_path: Path) -> None:
    if shutil.which("tcpdump") is None:
        cannot_run("no tcpdump here (Debian: package tcpdump)")
    file = tmp_path / "pair.pcapng"
    capture = begun("a->b", "-w", str(file), "icmp[0] == 8")
    ping("b", "192.168.0.2")
    ping("c", "192.168.0.2")
    ended(capture)
    sources = frames(file, "-T", "fields", "-e", "ip.src", "-e", "icmp.type").split()
    assert sources == ["192.168.0.3", "8"] * 2


@pytest.mark.usefixtures("_up")
@pytest.mark.parametrize(("dialler", "listener", "sealed"), [("b", "a", False), ("d", "c", True)])
def test_what_daemons_say_when_they_meet_is_dissected(
    tmp_path: Path, dialler: str, listener: str, sealed: bool
) -> None:
    file = tmp_path / "meeting.pcapng"
    capture = begun(f"{dialler}->{listener}", "-w", str(file))
    done = lab("connect", dialler, listener, "--name", NAME)
    assert done.returncode == 0, done.stderr
    deadline = time.monotonic() + 90
    while file.read_bytes().count(DATAGRAM_MAGIC) < 4:
        assert time.monotonic() < deadline, "no heartbeats"
        time.sleep(0.1)
    ended(capture)
    seen = Counter(name for frame in shown(file) for name, _ in frame)
    assert seen["hello"] and seen["beat"] >= 4
    assert all(bool(seen[name]) == sealed for name in ("confirm", "sealed.length"))
    assert all(bool(seen[name]) == (not sealed) for name in ("accept", "digests"))
    assert not {"broken", "dark", "malformed", "_ws.lua.error"} & set(seen)


@pytest.mark.usefixtures("_up")
def test_it_ends_by_itself_and_a_container_is_a_place_too(tmp_path: Path) -> None:
    file = tmp_path / "one.pcapng"
    done = lab("capture", "one", "-w", str(file), "--for", "1s", "--name", NAME)
    assert done.returncode == 0 and "capturing on eth0" in done.stderr and " of one\n" in done.stderr
    assert file.stat().st_size > 0


@pytest.mark.usefixtures("_up")
def test_a_capture_that_is_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    capture = begun("a", "-w", str(tmp_path / "killed.pcapng"))
    below = children(capture.pid)
    assert len(below) >= 2
    capture.kill()
    capture.wait(timeout=60)
    deadline = time.monotonic() + 60
    while any(map(lives, below)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in below if lives(pid)]


def lives(pid: int) -> bool:
    """Whether a process runs; one that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.usefixtures("_up")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nobody", "-w", "x"], "no host, service or pair of hosts named nobody; hosts: a, b, c, d; containers: one"),
        (["a", "-w", "no/such/folder/x"], "cannot write no/such/folder/x: No such file or directory"),
        (["a", "-i", "eth7", "-w", "/dev/null"], "no interface eth7 here; there are"),
        (["a", "--for", "soon", "-w", "x"], "--for: found 'soon', expected a duration as 200ms, 1s or 2m"),
    ],
)
def test_what_cannot_be_captured_is_said(words: list[str], said: str) -> None:
    done = lab("capture", *words, "--name", NAME)
    assert done.returncode != 0 and said in done.stderr


@pytest.mark.usefixtures("_up")
def test_a_wrong_interface_makes_no_file_and_spoils_none(tmp_path: Path) -> None:
    new, old = tmp_path / "new.pcapng", tmp_path / "old.pcapng"
    old.write_bytes(b"an earlier capture")
    for file in (new, old):
        assert lab("capture", "a", "-i", "eth7", "-w", str(file), "--name", NAME).returncode == 2
    assert not new.exists() and old.read_bytes() == b"an earlier capture"
    assert lab("capture", "a", "-w", str(old), "--for", "100ms", "--name", NAME).returncode == 0
    assert old.read_bytes().startswith(b"\x0a\x0d\x0d\x0a")


@pytest.mark.usefixtures("_up")
def test_a_capture_says_when_its_host_is_gone(tmp_path: Path) -> None:
    capture = begun("b", "-w", str(tmp_path / "b.pcapng"))
    assert lab("kill", "--host", "b", "--name", NAME).returncode == 0
    _, errors = capture.communicate(timeout=60)
    assert capture.returncode != 0 and "b is gone, and the capture ends with it" in errors

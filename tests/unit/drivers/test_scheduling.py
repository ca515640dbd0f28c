"""What a machine grants to the process of the tunnel, and the words for what it refuses."""

import os
import socket
import subprocess
import sys

import pytest

from overlay.daemon.status import _sleeve
from overlay.runtime.scheduling import BUFFER, refused, shortcomings, widen


def test_asking_changes_nothing_of_the_process_that_asks():
    before = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)
    assert all(isinstance(word, str) for word in refused())
    assert (os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gets the class")
def test_a_child_of_the_daemon_has_an_ordinary_class():
    script = (
        "import os; from overlay.runtime.scheduling import gain_precedence\n"
        "print(gain_precedence(), os.sched_getscheduler(0) & 7, flush=True)\n"
        "pid = os.fork()\n"
        "if not pid: print(os.sched_getscheduler(0), flush=True); os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    got, child = done.stdout.splitlines()
    if not got.startswith("round robin"):
        pytest.skip(f"this root may not have the class: {got}")
    assert got == f"round robin {os.SCHED_RR}"
    assert int(child) == os.SCHED_OTHER


_SCHED_GETATTR = {"x86_64": 315, "aarch64": 275}.get(os.uname().machine)
_SLICES = """
import ctypes, os, struct
from overlay.runtime.scheduling import shorten_slices

def tell():
    found = ctypes.create_string_buffer(48)
    assert ctypes.CDLL(None).syscall(NUMBER, 0, found, 48, 0) == 0
    _, policy, _, nice, _, slice, _, _ = struct.unpack("@IIQiIQQQ", found.raw)
    print(policy, nice, slice, flush=True)

os.nice(3)
tell()
print(shorten_slices(), flush=True)
tell()
if not os.fork():
    tell()
    os._exit(0)
os.wait()
"""


@pytest.mark.skipif(_SCHED_GETATTR is None, reason="the number of sched_getattr is known for x86_64 and aarch64")
def test_short_slices_keep_what_the_process_has_and_are_not_inherited():
    script = _SLICES.replace("NUMBER", str(_SCHED_GETATTR))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    before, granted, own, child = done.stdout.splitlines()
    policy, nice, slice_ = map(int, own.split())
    assert (policy, nice) == (os.SCHED_OTHER, 3) and child == before
    if granted == "True" and int(before.split()[2]):  # before Linux 6.12 no process has a slice of its own
        assert slice_ == 100_000


def test_a_process_of_another_class_keeps_it():
    script = (
        "import os; from overlay.runtime.scheduling import shorten_slices\n"
        "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\n"
        "print(shorten_slices(), os.sched_getscheduler(0))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", str(os.SCHED_IDLE)]


def test_a_socket_gets_what_the_machine_allows():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        got = widen(sock, BUFFER)
        assert 0 < got <= BUFFER
        assert got == sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


def test_status_says_what_was_refused():
    report = {"port": True, "segmentation": True, "coalescing": True, "compiled": False, "uncompiled": "not compiled"}
    told = _sleeve(report | {"refused": shortcomings("", 208 << 10)})
    assert "in Python: not compiled" in told
    assert "refuses precedence over other processes (CAP_SYS_NICE) and socket buffers above 208 KiB" in told
    assert _sleeve(report | {"compiled": True, "refused": shortcomings("round robin", BUFFER)}) == (
        "many packets at a time (UDP GSO, GRO), compiled"
    )

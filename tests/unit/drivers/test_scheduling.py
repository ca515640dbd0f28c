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

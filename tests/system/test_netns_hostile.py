"""Labs beside what does not answer or lies: names that other users hold, runners that hang, commands that die."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import count

import pytest
from lab_processes import family, gone, of_a_lab
from netns_labs import held, require_netns
from waiting import PATIENCE, eventually

from lab.backends.netns import LabClient, LabName, control, find, labs
from lab.errors import LabError

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs two users: run as root")
_numbers = count(1)


def fresh() -> str:
    return f"hostile-{os.getpid()}-{next(_numbers)}"


@contextlib.contextmanager
def listening(*names: str, uid: int = -1) -> Iterator[None]:
    """Somebody, perhaps another user, listens at these abstract names and accepts nothing."""
    told, ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if uid >= 0:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
            sockets = []
            for name in names:
                sockets.append(socket.socket(socket.AF_UNIX))
                sockets[-1].bind(b"\0overlay-lab/" + os.fsencode(name))
                sockets[-1].listen(8)
            os.write(ready, b".")
            signal.pause()
        finally:
            os._exit(1)
    os.close(ready)
    try:
        assert os.read(told, 1) == b"."
        yield
    finally:
        os.close(told)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_names_that_are_no_labs_break_nothing() -> None:
    before, own = labs(), os.geteuid()
    names = ["abc/x", "99999999999999/x", f"{2**32 - 1}/x", "-1/x", "/x", "0", f"{own}/", f"{own}/a/b", f"{own}/\n"]
    names += [
        f"{own}/{'x' * 65}",
        f"{own}/\x1b[31mred",
        "0/\udcff\udcfe",
        f"0{own}/x",
        f"{own}/forged\n0: 0 0 0 0 0 0 @",
    ]
    with listening(*names):
        assert labs() == before


def test_a_holder_that_never_answers_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_PATIENCE", {"inspect": 0.2, "down": 0.2})
    name = fresh()
    with listening(f"{os.geteuid()}/{name}"):
        with LabClient(find(name)) as client, pytest.raises(LabError, match=f"lab {name} does not answer"):
            client.call("inspect")
        filling = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) for _ in range(16)]
        for one in filling:
            with contextlib.suppress(BlockingIOError):
                one.connect(f"\0overlay-lab/{os.geteuid()}/{name}")
        assert name not in [lab.name for lab in labs()]
        with pytest.raises(LabError, match=f"no lab named {name} answers"):
            LabClient(LabName(os.geteuid(), name))
        for one in filling:
            one.close()


@pytest.mark.parametrize("said", [b"[]\n", b"{}\n", b"[" * 100_000 + b"\n", b"\xff\n", b"", b"x" * 5000])
def test_an_answer_that_is_none_is_said_in_a_sentence(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_ANSWER", 4000 if b"x" in said else 1 << 20)
    listener, name = control.listen(fresh(), exclusive=True)
    with listener, LabClient(LabName(os.geteuid(), name)) as client:
        connection, _ = listener.accept()
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        with connection, pytest.raises(LabError, match=f"the lab {name} "):
            client.call("inspect")


@needs_root
def test_a_name_that_another_user_holds_is_passed_over() -> None:
    name = fresh()
    with listening(f"0/{name}", uid=NOBODY):
        assert name not in [lab.name for lab in labs()]
        with pytest.raises(LabError, match=f"no lab named {name} runs"):
            find(name)
        with pytest.raises(LabError, match=f"user {NOBODY} holds the name {name}"):
            control.listen(name, exclusive=True)
        listener, other = control.listen(name, exclusive=False)
        listener.close()
        assert other == f"{name}-2"


@needs_root
def test_down_ends_only_processes_of_the_labs_user() -> None:
    """Who listened may have ended since, and its pid be another's now: here the listener came from root by fork."""
    listener, name = control.listen(fresh(), exclusive=True)
    with listener, LabClient(LabName(0, name)) as client:
        client.lab = LabName(NOBODY, name)
        with pytest.raises(LabError, match=f"no process of user {NOBODY}"):
            client.down()


def test_down_ends_a_lab_whose_runner_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    require_netns()
    monkeypatch.setattr(control, "_PATIENCE", {"down": 0.3})
    name = fresh()
    with held(name, 2, "detach") as command:
        assert command.wait(PATIENCE) == 0
    with LabClient(find(name)) as client:
        supervisor = client.supervisor()
        fields = open(f"/proc/self/fdinfo/{supervisor}").read().split()  # noqa: SIM115
        pids = family(int(fields[fields.index("Pid:") + 1]))
        os.kill(next(pid for pid, comm in pids.items() if comm == "lab-runner"), signal.SIGSTOP)
        own = of_a_lab(pids)
        assert not client.down()
        os.close(supervisor)
    gone(own)
    assert name not in [lab.name for lab in labs()]


HANGS = """
import sys; sys.path[:0] = sys.argv[4:]
import os, signal, time
from lab.backends.netns import launch, supervisor
supervisor._PATIENCE = float(sys.argv[2])
def main():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("up", flush=True)
    while True:
        time.sleep(1000)
sys.exit(launch(main, name=sys.argv[1], detach=sys.argv[3] == "detach"))
"""


@pytest.mark.parametrize("detach", ["detach", "stay"])
@pytest.mark.parametrize("ends", ["patience", "second signal", "kill -9"])
def test_a_lab_that_hangs_before_it_is_ready_ends_with_its_command(ends: str, detach: str) -> None:
    require_netns()
    argv = [sys.executable, "-c", HANGS, fresh(), "0.2" if ends == "patience" else "1000", detach, *sys.path]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "up\n"
        lab = next(lab for lab in labs() if lab.name == argv[3])
        with LabClient(lab) as client:
            supervisor = client.supervisor()
        if ends == "kill -9":
            command.kill()
        else:
            command.send_signal(signal.SIGTERM)
            if ends == "second signal":
                command.send_signal(signal.SIGHUP)
        assert command.wait(PATIENCE) == (-9 if ends == "kill -9" else 3)
    assert control._ends(supervisor, PATIENCE)
    os.close(supervisor)


def test_a_hang_up_that_is_ignored_stays_so() -> None:
    require_netns()
    script = HANGS.replace("signal.SIG_IGN)\n", "signal.default_int_handler)\n")
    argv = ["nohup", sys.executable, "-c", script, fresh(), "1000", "stay", *sys.path]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "up\n"
        command.send_signal(signal.SIGHUP)
        with LabClient(find(argv[4])) as client:
            supervisor = client.supervisor()
        assert not control._ends(supervisor, 0.3)  # a hang-up that counts ends it in some milliseconds
        os.close(supervisor)
        command.send_signal(signal.SIGTERM)
        assert command.wait(PATIENCE) == 3
    eventually(lambda: argv[4] not in [lab.name for lab in labs()], what="the end of the lab")

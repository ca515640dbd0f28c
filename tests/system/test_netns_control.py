"""Running labs as other terminals see them: names, inspect, exec, entering hosts, partition, down, two at once."""

import contextlib
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from itertools import count

import pytest
from netns_labs import held, hold, require_netns
from waiting import PATIENCE

from lab.backends.netns import LabClient, LabName, control, find, labs
from lab.errors import LabError

USERS = ["", "nobody"] if os.geteuid() == 0 else [""]
_numbers = count(1)


@pytest.fixture(autouse=True)
def _possible() -> None:
    require_netns()


@contextlib.contextmanager
def running(hosts: int, *words: str, user: str = "") -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The name of a lab that is up, and the process that started it."""
    name = f"test-{os.getpid()}-{next(_numbers)}"
    with held(name, hosts, *words, user=user) as starter:
        try:
            yield name, starter
        finally:
            if (found := [lab for lab in labs() if lab.name == name]) != []:
                with LabClient(found[0]) as client:
                    client.down()
            starter.wait(PATIENCE)


def _pings(client: LabClient, address: str, *, wait: float = 30) -> bool:
    """Whether h1 is answered within these seconds."""
    result = client.call("exec", host="h1", argv=["ping", "-n", "-c1", f"-W{wait}", address], timeout=60)
    return bool(result["code"] == 0)


@pytest.mark.parametrize("user", USERS)
def test_a_detached_lab_answers_until_it_is_taken_down(user: str) -> None:
    with running(3, "detach", user=user) as (name, starter):
        assert starter.wait(PATIENCE) == 0  # the command returns, the lab stays
        with LabClient(find(name)) as client:
            facts = client.call("inspect")
            assert [host["name"] for host in facts["hosts"]] == ["h1", "h2", "h3"]
            assert facts["scenario"] == "bare"
            assert _pings(client, "192.168.0.4")
            assert client.call("partition", groups=[["h3"]])["cut"] == [
                ["h1", "h3"],
                ["h2", "h3"],
                ["h3", "h1"],
                ["h3", "h2"],
            ]
            assert not _pings(client, "192.168.0.4", wait=0.3)
            client.call("partition", groups=[["h1", "h2", "h3"]])
            assert _pings(client, "192.168.0.4")
            client.call("power", host="h3", on=False)
            assert [host["on"] for host in client.call("inspect")["hosts"]] == [True, True, False]
            brief = client.call("inspect", each=False)
            assert (brief["count"], brief["off"], "hosts" in brief) == (3, ["h3"], False)
            assert [client.call("known", host=host)["known"] for host in ("h3", "h9")] == [True, False]
            client.call("power", host="h3", on=True)
            with pytest.raises(LabError, match="no host named h9"):
                client.call("exec", host="h9", argv=["true"])
            with pytest.raises(LabError, match=r"expected one of .*inspect"):
                client.call("dance")
            client.down()
        with pytest.raises(LabError, match=f"no lab named {name} runs"):
            find(name)


@pytest.mark.parametrize("user", USERS)
def test_a_command_enters_a_host_with_its_own_terminal(user: str) -> None:
    with running(2, "detach", user=user) as (name, _):
        script = (
            "import sys; from lab.backends.netns import enter_host; "
            "sys.exit(enter_host(sys.argv[2:], host='h2', lab=sys.argv[1]))"
        )
        command = "tty; hostname; id -u; which sudo; touch /tmp/made; stat -c %u /tmp/made; jobs -l; exit 9"
        argv = [sys.executable, "-c", script, name, "bash", "--norc", "-ic", command]
        code, said = in_terminal(argv)
        assert code == 9, said
        assert said.split()[0].startswith("/dev/pts/"), said
        assert said.split()[1:] == ["h2", "0", "/run/lab/bin/sudo", "0", "exit"], said


def in_terminal(argv: list[str]) -> tuple[int, str]:
    """Exit code and output of a command that has a terminal of its own, as its controlling one."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(argv[0], argv, {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    said = b""
    with contextlib.suppress(OSError):  # how a terminal says that the other side has closed
        while part := os.read(terminal, 4096):
            said += part
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode()


def test_names_are_unique_per_user() -> None:
    with running(1) as (name, _):
        with pytest.raises(LabError, match=f"a lab named {name} runs already: `lab down --name {name}`"):
            hold(name, 1, detach=True)
        listener, other = control.listen(name, exclusive=False)
        with listener:
            assert other == f"{name}-2"
            assert [lab.name for lab in labs() if lab.name.startswith(name)] == [name, other]
        with pytest.raises(LabError, match="no lab named no-such-lab runs"):
            find("no-such-lab")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs two users: run as root")
def test_a_name_held_by_another_user_is_not_talked_to() -> None:
    listener, name = control.listen(f"squat-{os.getpid()}", exclusive=True)
    with listener, pytest.raises(LabError, match=r"no lab named .* answers"):
        LabClient(LabName(65534, name))


def test_two_labs_with_the_same_addresses_do_not_meet() -> None:
    with (
        running(2) as (first, _),
        running(2) as (second, _),
        LabClient(find(first)) as one,
        LabClient(find(second)) as two,
    ):
        one.call("partition", groups=[["h1"]])
        one.call("exec", host="h2", argv=["touch", "/var/lib/weave/mark"])
        assert not _pings(one, "192.168.0.3", wait=0.3)
        assert _pings(two, "192.168.0.3")
        assert two.call("exec", host="h2", argv=["ls", "/var/lib/weave"])["out"] == ""
        one.down()
        assert _pings(two, "192.168.0.3")


def test_interrupt_lets_the_runner_stop_cleanly() -> None:
    with running(1) as (_, starter):
        starter.send_signal(2)
        assert starter.wait(PATIENCE) == 3

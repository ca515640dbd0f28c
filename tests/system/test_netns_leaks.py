"""A lab leaves nothing behind, whichever of its processes is killed, and however it ends."""

import os
import select
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest
from lab_processes import family, gone, of_a_lab
from netns_labs import held, require_netns
from waiting import PATIENCE

from lab.backends.netns import LabClient, find, labs

USERS = ["", "nobody"] if os.geteuid() == 0 else [""]
ROLES = ["command", "lab-keeper", "lab-super", "lab-zygote", "lab-nursery", "lab-runner"]
_numbers = count(1)


@pytest.fixture(autouse=True)
def _possible() -> None:
    require_netns()


def machine() -> tuple[str, list[str], list[str]]:
    """Mounts, interfaces and entries of the places where a lab might write."""
    interfaces = sorted(link.name for link in Path("/sys/class/net").iterdir())
    places = sorted(str(entry) for place in ("/run", "/var/lib", "/etc") for entry in Path(place).iterdir())
    return Path("/proc/self/mountinfo").read_text(), interfaces, places


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("role", ROLES)
def test_kill_9_of_any_process_leaves_nothing(role: str, user: str) -> None:
    before = machine()
    name = f"leak-{os.getpid()}-{next(_numbers)}"
    with held(name, 2, "slow", user=user) as command:
        with LabClient(find(name)) as client:
            client.call("exec", host="h1", argv=["sh", "-c", "setsid sleep 1000 > /dev/null 2>&1 & exit 0"])
        pids = family(command.pid)
        assert {"sleep", "setsid", "sh"} & {*pids.values()}  # the orphan, wherever it is on its way
        assert list(pids.values()).count("lab-host") == 2
        assert "lab-relay" in pids.values()
        own = of_a_lab(pids)
        assert len(own) >= 3 * 4 + 1  # mnt, net, uts, ipc of the lab and of two hosts, and more
        ends = {pid: os.pidfd_open(pid) for pid in pids}
        victim = command.pid if role == "command" else next(pid for pid, comm in pids.items() if comm == role)
        os.kill(victim, signal.SIGKILL)
        for pid, pidfd in ends.items():
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            assert poll.poll(PATIENCE * 1000), f"{pids[pid]} lives on"
            os.close(pidfd)
        code = command.wait(PATIENCE)
        assert code == (-9 if role == "command" else 3)
    gone(own)
    assert name not in [lab.name for lab in labs()]
    assert machine() == before


def test_kill_9_of_a_detached_labs_runner_leaves_nothing() -> None:
    name = f"leak-{os.getpid()}-{next(_numbers)}"
    with held(name, 2, "detach") as command:
        assert command.wait(PATIENCE) == 0
    with LabClient(find(name)) as client:
        _, supervisor = client.call_pidfd("supervisor")
    fields = Path(f"/proc/self/fdinfo/{supervisor}").read_text().split()
    pids = family(int(fields[fields.index("Pid:") + 1]))
    own = of_a_lab(pids)
    os.kill(next(pid for pid, comm in pids.items() if comm == "lab-runner"), signal.SIGKILL)
    assert select.select([supervisor], [], [], PATIENCE)[0]
    os.close(supervisor)
    gone(own)


def test_a_lab_that_cannot_come_up_says_why_and_leaves_nothing() -> None:
    before = machine()
    script = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "import asyncio\n"
        "from netns_labs import scenario\n"
        "from lab.backends.netns import NetnsBackend, launch\n"
        "import msgspec\n"
        "broken = scenario(2)\n"
        "wrong = msgspec.structs.replace(broken.hosts['h2'].interfaces[0], address='ff02::1')\n"
        "host = msgspec.structs.replace(broken.hosts['h2'], interfaces=(wrong,))\n"
        "broken = msgspec.structs.replace(broken, hosts={**broken.hosts, 'h2': host})\n"
        "def main():\n"
        "    asyncio.run(NetnsBackend(engine=False).up(broken))\n"
        "    return 0\n"
        "sys.exit(launch(main, name='broken'))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *sys.path], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "LabError: host h2 did not come up" in done.stderr
    assert "address add ff02::1/24 dev eth0: " in done.stderr
    assert machine() == before

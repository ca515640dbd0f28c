"""What a daemon's end, a lost disk, clones and strangers do to a network with real packets: as little as possible."""

import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from overlay_hosts import IMAGE, Host, Underlay, eventually, run_services, two_peers
from waiting import PATIENCE


@pytest.fixture(scope="module")
def net() -> Iterator[Underlay]:
    with two_peers() as made:
        run_services(made)
        eventually(lambda: made.hosts["orion"].pings("svc1", "10.0.1.3"))
        yield made


def test_a_flow_loses_nothing_while_the_daemon_is_killed_and_launched_again(orion: Host, macbook: Host) -> None:
    pid = orion.container("svc1")["State"]["Pid"]
    ping = orion.popen("nsenter", "--target", str(pid), "--net", "ping", "-n", "-i", "0.01", "-c", "500", "10.0.1.3")
    time.sleep(0.5)  # some of it goes by before the kill, some while there is no daemon, some after
    orion.kill_daemon()
    time.sleep(0.5)
    orion.weave("launch")
    eventually(lambda: "established" in orion.weave("status", "connections").stdout, what="reconnected")
    out, _ = ping.communicate(timeout=PATIENCE)
    assert re.search(r"500 packets transmitted, 500 received", out), out[-400:]


def test_a_lost_disk_gives_no_address_again_that_a_running_container_holds(orion: Host, macbook: Host) -> None:
    given = [orion.weave("run", "--name", f"kept{n}", IMAGE, f"kept{n}").stdout.strip() for n in range(3)]
    table = dict(line.split()[0::2] for line in orion.weave("ps", *given).stdout.splitlines())
    held = {container: table[container[:12]] for container in given}
    assert len(set(held.values())) == 3
    orion.kill_daemon()
    shutil.rmtree(orion.disk / "db")
    (orion.disk / "db").mkdir()
    orion.weave("launch", "192.168.0.3")
    fresh = orion.weave("run", "--name", "fresh", IMAGE, "fresh").stdout.strip()
    cidr = orion.weave("ps", fresh).stdout.split()[2]
    assert cidr not in held.values(), "an address that a running container holds was given again"
    eventually(lambda: all(cidr in orion.weave("ps", one).stdout for one, cidr in held.items()), what="all adopted")
    assert "10.0.1.1/24" in orion.weave("ps", "svc1").stdout
    eventually(lambda: orion.pings("svc1", "10.0.1.3"))
    eventually(lambda: macbook.weave("dns-lookup", "svc1", check=False).stdout == "10.0.1.1\n", what="names are back")

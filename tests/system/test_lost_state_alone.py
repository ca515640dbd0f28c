"""The state is lost while containers run, and no ring is to be had: nobody waits for what they hold, nor gets it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from overlay_hosts import IMAGE, eventually, underlay


def test_requests_are_answered_while_no_ring_confirms_what_containers_hold() -> None:
    with underlay() as net:
        host = net.host("orion", 2)
        host.weave("launch")
        for number in range(3):
            host.weave("run", "--name", f"kept{number}", IMAGE, "kept")
        held = [host.weave("ps", f"kept{number}").stdout.split()[2] for number in range(3)]
        host.weave("stop")
        host.sh(f"rm {host.disk}/db/*.state")
        host.weave("launch", "192.168.0.99")
        host.weave("run", "10.9.0.1/24", "--name", "other", IMAGE, "other")
        asked = [line.split()[1] for line in host.weave("status", "ipam").stdout.splitlines() if "waiting: 10." in line]
        assert sorted(asked) == sorted(held), "the addresses of all are claimed while nobody waits for that"
        assert host.pings("kept0", held[1].partition("/")[0], wait=30)
        host.weave("forget", "192.168.0.99")  # alone it agrees with itself on a ring
        eventually(lambda: "waiting" not in host.weave("status", "ipam").stdout, what="the ring")
        host.weave("run", "--name", "fresh", IMAGE, "fresh")
        assert host.weave("ps", "fresh").stdout.split()[2] not in held
        assert [host.weave("ps", f"kept{number}").stdout.split()[2] for number in range(3)] == held

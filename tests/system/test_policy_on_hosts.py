"""`weave deny` and `weave allow` on several hosts, end to end: typed, spread, enforced, kept, gone."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from overlay_hosts import IMAGE, Host, Underlay, eventually, underlay
from policy_peers import Peer

WAIT = 60.0
WEB, DB, GUEST = "10.0.1.1", "10.0.1.2", "10.0.1.3"
ASKED = (("tcp", 5432), ("tcp", 5433), ("udp", 5005))
POLICIES = (("deny", "to", "db"), ("allow", "from", "web", "to", "db:5432/tcp"), ("allow", "to", "db:5999/udp"))


@pytest.fixture(scope="module", params=["vxlan", "sleeve"])
def net(request: pytest.FixtureRequest) -> Iterator[Underlay]:
    flags = ("--no-fastdp",) if request.param == "sleeve" else ()
    with underlay() as made:
        for number, name in ((2, "orion"), (3, "macbook")):
            made.host(name, number).weave("launch", *flags)
        orion, macbook = made.hosts["orion"], made.hosts["macbook"]
        orion.weave("connect", "192.168.0.3")
        for host, name, address in ((orion, "web", WEB), (macbook, "db", DB), (orion, "guest", GUEST)):
            host.weave("run", f"{address}/24", "--name", name, IMAGE, name)
        eventually(lambda: orion.pings("web", DB) and orion.pings("guest", DB), within=WAIT)
        yield made


@pytest.fixture(scope="module")
def peers(net: Underlay) -> Iterator[dict[str, Peer]]:
    orion, macbook = net.hosts["orion"], net.hosts["macbook"]
    made = {"web": Peer(orion, "web"), "guest": Peer(orion, "guest"), "db": Peer(macbook, "db")}
    yield made
    for each in made.values():
        each.kill()


@pytest.fixture
def policies(net: Underlay, peers: dict[str, Peer]) -> Iterator[None]:
    for words in POLICIES:
        net.hosts["orion"].weave(*words)
    for host in net.hosts.values():
        eventually(lambda host=host: "3 policies, default allow, enforced (" in status(host), within=WAIT)
        eventually(lambda host=host: "all peers agree" in status(host), within=WAIT)
    yield
    net.hosts["orion"].weave("policies", "--remove", "all", check=False)
    for each in peers.values():
        each.tell("release")


def status(host: Host) -> str:
    return next(line for line in host.weave("status").stdout.splitlines() if " Policy: " in line)


def as_they_say(peers: dict[str, Peer]) -> bool:
    allowed = [True, False, False]
    return (
        peers["web"].reaches(DB, *ASKED, expect=allowed) == allowed
        and peers["guest"].reaches(DB, *ASKED) == [False] * 3
        and peers["db"].reaches(WEB, *ASKED, expect=[True] * 3) == [True] * 3
    )


@pytest.mark.usefixtures("policies")
def test_both_ends_enforce_what_was_typed_on_one(net: Underlay, peers: dict[str, Peer]) -> None:
    assert as_they_say(peers)
    macbook = net.hosts["macbook"]
    macbook.sh("nft flush chain bridge weave-policy frame")
    assert as_they_say(peers), "the sender's host alone"
    eventually(lambda: "goto" in macbook.sh("nft list chain bridge weave-policy frame"), WAIT, "mended")
    assert "weave-policy" in macbook.weave("status").stdout
    net.hosts["orion"].sh("nft flush chain bridge weave-policy frame")
    assert as_they_say(peers), "the receiver's host alone"


@pytest.mark.usefixtures("policies")
def test_an_open_connection_ends_with_the_permission(net: Underlay, peers: dict[str, Peer]) -> None:
    assert peers["web"].hold(DB, "tcp", 5432)
    net.hosts["macbook"].weave("allow", "--remove", "from", "web", "to", "db:5432/tcp")
    for host in net.hosts.values():
        eventually(lambda host=host: "2 policies" in status(host), within=WAIT)
    assert peers["web"].held(DB, [False]) == [False]


@pytest.mark.usefixtures("policies")
def test_they_hold_while_no_daemon_runs_and_after_it(net: Underlay, peers: dict[str, Peer]) -> None:
    orion = net.hosts["orion"]
    flags = ("--no-fastdp",) if "sleeve" in orion.weave("status", "connections").stdout else ()
    assert peers["web"].hold(DB, "tcp", 5432)
    orion.kill_daemon()
    assert peers["web"].reaches(GUEST, *ASKED, expect=[True] * 3) == [True] * 3
    assert "goto denied" in orion.sh("nft list chain bridge weave-policy judge4")
    orion.weave("launch", *flags)
    eventually(lambda: orion.pings("web", GUEST), within=WAIT)
    eventually(lambda: peers["web"].held(DB, [True]) == [True], WAIT, "the connection goes on")
    assert as_they_say(peers)


@pytest.mark.usefixtures("policies")
def test_the_last_policy_takes_the_tables_with_it(net: Underlay, peers: dict[str, Peer]) -> None:
    net.hosts["orion"].weave("policies", "--remove", "all")
    for host in net.hosts.values():
        eventually(lambda host=host: "weave-policy" not in host.sh("nft list tables"), within=WAIT)
    assert peers["guest"].reaches(DB, *ASKED, expect=[True] * 3) == [True] * 3


def test_default_deny_and_reset() -> None:
    with underlay() as made:
        host = made.host("closed", 4)
        host.weave("launch", "--default-deny")
        for name, address in (("one", "10.0.1.41"), ("two", "10.0.1.42")):
            host.weave("run", f"{address}/24", "--name", name, IMAGE, name)
        assert not host.pings("one", "10.0.1.42")
        host.weave("allow", "from", "one", "to", "two")
        eventually(lambda: host.pings("one", "10.0.1.42"), within=WAIT)
        assert not host.pings("two", "10.0.1.41")
        host.weave("stop")
        assert "weave-policy" in host.sh("nft list tables"), "the kernel goes on"
        assert not host.pings("two", "10.0.1.41")
        host.weave("reset")
        assert "weave" not in host.sh("nft list tables")

"""A policy in the kernel, held against real packets: who may open what, and what belongs to it.

Both ways of keeping the state of flows are tested: by connection tracking, which sees bridged packets unless the
namespace's switch is off, and by the table's own sets. The policies are made by hand here.
"""

import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from overlay_hosts import IMAGE, Host, Underlay, eventually, underlay
from policy_peers import Enforcer, Peer, Rule, icmp, summed, tcp, udp
from spoofed_frames import TAG, arp, ethernet, fragment, heard, ipv4, ipv6, mac_of, neighbour, options, raw, send

WEB, DB, FAR = ("10.0.1.1", "fd00:1::1"), ("10.0.1.2", "fd00:1::2"), ("10.0.1.3", "fd00:1::3")
SYN, SYN_ACK, ACK, RST = 0x02, 0x12, 0x10, 0x04
SOME, SOME_PASS = (("tcp", 5432), ("tcp", 5433), ("udp", 6000)), [True, False, False]
FREE = "--allow-spoofing"
LAST: Rule = (True, (), (), "udp", ((5999, 5999),))
"""What the tests speak last (see `policy_peers`)."""


def nets(*addresses: str) -> tuple[str, ...]:
    return tuple(f"{each}/{128 if ':' in each else 32}" for each in addresses)


ALLOW: tuple[Rule, ...] = (
    LAST,
    (True, nets(*WEB, *FAR), nets(*DB), "tcp", ((5432, 5432),)),
    (True, nets(*WEB, *FAR), nets(*DB), "udp", ((5000, 5010),)),
    (True, nets(*WEB), nets(*DB), "icmp", ()),
)
OPEN_BUT_DB: tuple[Rule, ...] = (*ALLOW, (False, (), nets(*DB), None, ()))


@pytest.fixture(scope="module")
def net() -> Iterator[Underlay]:
    with underlay() as made:
        for number, name in ((2, "orion"), (3, "macbook")):
            made.host(name, number).weave("launch")
        orion, macbook = made.hosts["orion"], made.hosts["macbook"]
        orion.weave("connect", "192.168.0.3")
        # What `web` sends by hand comes to the policy's rules, though the port filter drops some of it from others.
        for host, name, (v4, v6), *flags in ((orion, "web", WEB, FREE), (orion, "db", DB), (macbook, "far", FAR)):
            host.weave("run", *flags, f"{v4}/24", f"{v6}/64", "--name", name, IMAGE, name)
        eventually(lambda: orion.pings("web", FAR[0]) and orion.pings("db", FAR[0]), within=60)
        yield made


@pytest.fixture(scope="module")
def orion(net: Underlay) -> Host:
    return net.hosts["orion"]


@pytest.fixture(scope="module")
def macbook(net: Underlay) -> Host:
    return net.hosts["macbook"]


@pytest.fixture(scope="module")
def peers(orion: Host, macbook: Host) -> Iterator[dict[str, Peer]]:
    made = {name: Peer(orion, name) for name in ("web", "db")} | {"far": Peer(macbook, "far")}
    yield made
    for each in made.values():
        each.kill()


@pytest.fixture(params=["conntrack", "stateless"])
def state(orion: Host, macbook: Host, request: pytest.FixtureRequest) -> str:
    """How the state is kept, as this kernel can."""
    word = str(request.param)
    for host in (orion, macbook):
        if word == "conntrack" and host.run("test", "-e", "/proc/sys/net/bridge", check=False).returncode:
            pytest.skip("this kernel has no br_netfilter: connection tracking sees no bridged packets")
        switch_tracking(host, on=word == "conntrack")
        if word == "conntrack" and host.sh("cat /proc/sys/net/bridge/bridge-nf-call-ip6tables").strip() != "1":
            pytest.skip("only root may switch on that connection tracking sees bridged packets")
    return word


def switch_tracking(host: Host, *, on: bool) -> None:
    host.sh(
        f"for each in ip ip6; do echo {int(on)} > /proc/sys/net/bridge/bridge-nf-call-${{each}}tables; done || true"
    )


@pytest.fixture
def enforcer(orion: Host, state: str, peers: dict[str, Peer]) -> Iterator[Enforcer]:
    made = Enforcer(orion)
    yield made
    made.tell("remove")
    made.kill()
    for each in peers.values():
        each.tell("release")


# --- who may open what ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept_rest", [True, False], ids=["open", "closed"])
def test_who_may_open_what(enforcer: Enforcer, state: str, peers: dict[str, Peer], *, accept_rest: bool) -> None:
    """On one host and over VXLAN, both families; whole packets and such as need fragments."""
    assert enforcer.apply(OPEN_BUT_DB if accept_rest else ALLOW, accept_rest) == state
    asked = (("tcp", 5432), ("tcp", 5433), ("udp", 5005), ("udp", 5005, 4000), ("udp", 6000), ("udp", 6000, 4000))
    for family in (0, 1):
        for name in ("web", "far"):
            wanted = [True, False, True, True, False, False]
            assert peers[name].reaches(DB[family], *asked, expect=wanted) == wanted, (name, family)
        # The other way round nobody is allowed anything, unless everything else is.
        for to in (WEB, FAR):
            wanted = [accept_rest] * len(asked)
            assert peers["db"].reaches(to[family], *asked, expect=wanted) == wanted, (to, family)
        assert peers["web"].reaches(FAR[family], *asked, expect=wanted) == wanted


def test_pings_pass_where_they_are_allowed_and_ends_are_found(
    orion: Host, macbook: Host, enforcer: Enforcer, peers: dict[str, Peer]
) -> None:
    enforcer.apply(OPEN_BUT_DB)
    for family in (0, 1):
        for name, to in (("web", DB), ("db", WEB), ("db", FAR)):
            eventually(lambda: orion.pings(name, to[family]), within=60)  # noqa: B023
        assert not macbook.pings("far", DB[family])


def test_frames_by_hand(orion: Host, enforcer: Enforcer, state: str) -> None:
    """What no socket sends: cut off, hidden, answers to nothing. The policy's rules alone decide: `web` may spoof."""
    enforcer.apply(OPEN_BUT_DB)
    mac, to = mac_of(orion, "web"), mac_of(orion, "db")

    def four(protocol: int, octets: bytes, **how: object) -> bytes:
        whole = summed(WEB[0], DB[0], protocol, octets) if protocol in (1, 6, 17) and not how else octets
        return ethernet(mac, 0x0800, ipv4(WEB[0], protocol, whole, DB[0]), to=to)

    def six(protocol: int, octets: bytes) -> bytes:
        whole = summed(WEB[1], DB[1], protocol, octets) if protocol in (6, 17, 58) else octets
        return ethernet(mac, 0x86DD, ipv6(WEB[1], protocol, whole, DB[1]), to=to)

    def hidden(protocol: int, octets: bytes) -> bytes:
        return options(protocol) + summed(WEB[1], DB[1], protocol, octets)

    def tagged(packet: bytes, *tags: bytes) -> bytes:
        return raw(to) + raw(mac) + b"".join(tags) + packet[12:]

    quoted4 = ipv4(DB[0], 17, udp(7000, 7001), WEB[0])
    quoted6 = ipv6(DB[1], 17, udp(7000, 7001), WEB[1])
    allowed = {
        "syn4": four(6, tcp(40000, 5432, SYN)),
        "syn6": six(6, tcp(40000, 5432, SYN)),
        "udp4": four(17, udp(40000, 5005)),
        "udp6": six(17, udp(40000, 5005)),
        "ping4": four(1, icmp(8, 7)),
        "ping6": six(58, icmp(128, 7)),
        "options6": six(60, hidden(17, udp(40000, 5006))),
        "arp": arp(mac, mac, WEB[0], operation=1),
        "solicit": ethernet(mac, 0x86DD, ipv6(WEB[1], 58, neighbour(135, DB[1], 1, mac), "ff02::1:ff00:2")),
        "elsewhere": ethernet(mac, 0x0800, ipv4(WEB[0], 17, summed(WEB[0], "10.0.1.77", 17, udp(1, 2)), "10.0.1.77")),
        "other-protocol": ethernet(mac, 0x88B5, bytes(46)),
        "tagged": tagged(four(17, udp(40000, 5008)), TAG),
    }
    forbidden = {
        "syn4-port": four(6, tcp(40000, 5433, SYN)),
        "syn6-port": six(6, tcp(40000, 5433, SYN)),
        "syn-ack4": four(6, tcp(40001, 5433, SYN_ACK)),
        "ack4-to-high": four(6, tcp(5432, 40002, ACK)),
        "ack6-to-high": six(6, tcp(5432, 40002, ACK)),
        "rst4": four(6, tcp(40003, 5432, RST)),
        "short-tcp4": four(6, tcp(40004, 5432, SYN)[:8], cut=True),
        "short-udp4": four(17, udp(40000, 5005)[:3], cut=True),
        "short-ping4": four(1, icmp(8, 7)[:5], cut=True),
        "short-ping6": six(58, icmp(128, 7)[:5]),
        "udp4-port": four(17, udp(40000, 6000)),
        "udp6-port": six(17, udp(40000, 6000)),
        "options6-port": six(60, hidden(17, udp(40000, 6000))),
        "options6-twice": six(60, options(60) + hidden(6, tcp(40000, 5433, SYN))),
        "pong4": four(1, icmp(0, 9)),
        "pong6": six(58, icmp(129, 9)),
        "error4": four(1, icmp(3, 0, quoted4)),
        "error6": six(58, icmp(1, 0, quoted6)),
        "sctp4": four(132, bytes(12)),
        "sctp6": six(132, bytes(12)),
        "part4-first": ethernet(mac, 0x0800, part4(17, udp(40000, 6000, 24)[:16], 1, 0, more=True), to=to),
        "part4-later": ethernet(mac, 0x0800, part4(17, bytes(16), 2, 2), to=to),
        "part4-flags": ethernet(mac, 0x0800, part4(6, bytes(16), 3, 1), to=to),
        "part6-first": six(44, fragment(17, 0, udp(40000, 6000, 8), more=True)),
        "part6-later": six(44, fragment(17, 2, bytes(8))),
        "part6-hides": six(44, fragment(60, 0, options(17), more=True)),
        "part6-hides-more": six(44, fragment(60, 0, options(60), more=True)),
        "cut4": four(17, udp(40000, 5009))[:-1],
        "cut6": six(60, options(60)),
        "tagged-port": tagged(four(17, udp(40000, 6001)), TAG),
        "tagged-twice": tagged(four(17, udp(40000, 5007)), TAG, TAG),
        "tagged-twice-otherwise": tagged(four(17, udp(40000, 5007)), TAG, b"\x88\xa8\0\0"),
    }
    assert heard(orion, "web", allowed | forbidden, orion, "db") == list(allowed)


def part4(protocol: int, octets: bytes, number: int, place: int, *, more: bool = False) -> bytes:
    """A fragment of IPv4 from `web` to `db`; `place` counts in eight bytes."""
    head = bytearray(ipv4(WEB[0], protocol, octets, DB[0]))
    struct.pack_into("!HH", head, 4, number, place | more << 13)
    head[10:12] = bytes(2)
    total = sum(struct.unpack("!10H", head[:20]))
    head[10:12] = struct.pack("!H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF)
    return bytes(head)


@pytest.mark.parametrize("state", ["stateless"], indirect=True)
def test_a_fragment_passes_behind_its_first(orion: Host, enforcer: Enforcer) -> None:
    """Where nobody puts packets together before they are judged."""
    enforcer.apply(ALLOW, accept_rest=False)
    mac, to = mac_of(orion, "web"), mac_of(orion, "db")
    sent = {
        "orphan": ethernet(mac, 0x0800, part4(17, bytes(24), 8, 2), to=to),
        "first": ethernet(mac, 0x0800, part4(17, udp(40000, 5005, 40)[:16], 9, 0, more=True), to=to),
        "second": ethernet(mac, 0x0800, part4(17, bytes(16), 9, 2, more=True), to=to),
        "last": ethernet(mac, 0x0800, part4(17, bytes(8), 9, 4), to=to),
        "of-another": ethernet(mac, 0x0800, part4(17, bytes(8), 10, 4), to=to),
        "orphan6": ethernet(mac, 0x86DD, ipv6(WEB[1], 44, fragment(17, 3, bytes(8)), DB[1]), to=to),
        "first6": ethernet(mac, 0x86DD, ipv6(WEB[1], 44, fragment(17, 0, udp(1, 5005), more=True), DB[1]), to=to),
        "last6": ethernet(mac, 0x86DD, ipv6(WEB[1], 44, fragment(17, 2, bytes(8)), DB[1]), to=to),
    }
    passing = ["first", "second", "last", "first6", "last6"]
    assert heard(orion, "web", sent, orion, "db") == passing


def test_an_error_passes_that_carries_an_accepted_flow(orion: Host, enforcer: Enforcer, peers: dict[str, Peer]) -> None:
    """`web` has asked `db`; an error of a third about that comes to `web`, one about something else does not."""
    enforcer.apply((*ALLOW, (False, (), nets(*WEB), None, ())), accept_rest=False)
    mac, to = mac_of(orion, "web"), mac_of(orion, "db")
    for family, kind, error in ((0, 0x0800, icmp), (1, 0x86DD, icmp)):
        packet, protocol, number = (ipv4, 1, 3) if family == 0 else (ipv6, 58, 1)
        request = summed(WEB[family], DB[family], 17, udp(40100, 5001))
        send(orion, "web", {"asks": ethernet(mac, kind, packet(WEB[family], 17, request, DB[family]), to=to)})
        frames = {}
        for name, port in (("about-it", 5001), ("about-another", 5002)):
            about = summed(WEB[family], DB[family], 17, udp(40100, port))
            quoted = packet(WEB[family], 17, about, DB[family])
            body = summed(DB[family], WEB[family], protocol, error(number, 0, quoted))
            frames[name] = ethernet(to, kind, packet(DB[family], protocol, body, WEB[family]), to=mac)
        assert heard(orion, "db", frames, orion, "web") == ["about-it"], family


# --- changes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept_rest", [True, False], ids=["open", "closed"])
def test_flows_follow_a_change(enforcer: Enforcer, peers: dict[str, Peer], *, accept_rest: bool) -> None:
    """What is denied now ends, whoever speaks; what is still allowed goes on."""
    rest: tuple[Rule, ...] = ((False, (), nets(*DB), None, ()),) if accept_rest else ()
    enforcer.apply((*ALLOW, *rest), accept_rest)
    web = peers["web"]
    for family in (0, 1):
        assert web.hold(DB[family], "tcp", 5432) and web.hold(DB[family], "udp", 5005)
    assert web.held(DB[0], [True] * 4) == [True] * 4
    enforcer.apply((LAST, (True, nets(*WEB), nets(*DB), "udp", ((5005, 5005),)), *rest), accept_rest)
    assert web.held(DB[0], [False, True, False, True]) == [False, True, False, True]
    enforcer.tell("look")
    assert web.held(DB[0], [False, True, False, True]) == [False, True, False, True]
    enforcer.apply((LAST, *rest), accept_rest)
    assert web.held(DB[0], [False] * 4) == [False] * 4
    enforcer.apply((*ALLOW, *rest), accept_rest)
    assert web.held(DB[0], [False, True, False, True])[1::2] == [True, True], "UDP is opened again by the next packet"


def test_flows_outlive_a_daemon_and_follow_the_next_ones_policy(
    orion: Host, state: str, peers: dict[str, Peer]
) -> None:
    first = Enforcer(orion)
    first.apply(OPEN_BUT_DB)
    web = peers["web"]
    assert web.hold(DB[0], "tcp", 5432) and web.hold(DB[0], "udp", 5005)
    mac, to = mac_of(orion, "web"), mac_of(orion, "db")
    many = {
        str(port): ethernet(mac, 0x86DD, ipv6(WEB[1], 17, summed(WEB[1], DB[1], 17, udp(port, 5005)), DB[1]), to=to)
        for port in range(10_000, 12_500)
    }
    send(orion, "web", many)
    first.kill()
    assert web.held(DB[0], [True, True]) == [True, True]
    assert web.reaches(DB[0], *SOME, expect=SOME_PASS) == SOME_PASS, "nobody watches"
    second = Enforcer(orion)
    try:
        assert second.apply(OPEN_BUT_DB) == state
        if state == "stateless":
            listed = orion.sh("nft list set bridge weave-policy flows6")
            assert listed.count("expires") > 1500, "more than one message of them"
        second.apply((*ALLOW[:2], *OPEN_BUT_DB[-1:]))
        if state == "stateless":
            assert " . 5005 " not in orion.sh("nft list set bridge weave-policy flows6")
        assert web.held(DB[0], [True, False]) == [True, False]
        assert web.reaches(DB[0], *SOME, expect=SOME_PASS) == SOME_PASS
    finally:
        second.tell("remove")
        second.kill()
        web.tell("release")


def test_a_first_policy_lets_flows_go_on_that_it_allows(enforcer: Enforcer, peers: dict[str, Peer]) -> None:
    """Nobody has seen who opened them; of two ports the high one is the opener's."""
    web, db = peers["web"], peers["db"]
    assert web.hold(DB[0], "tcp", 5432) and web.hold(DB[0], "tcp", 5433)
    assert db.hold(WEB[0], "tcp", 5433)
    enforcer.apply(OPEN_BUT_DB)
    assert web.held(DB[0], [True, False]) == [True, False]
    assert db.held(WEB[0], [True]) == [True]


@pytest.mark.parametrize("state", ["conntrack"], indirect=True)
def test_the_state_moves_when_the_switch_does(orion: Host, enforcer: Enforcer, peers: dict[str, Peer]) -> None:
    assert enforcer.apply(OPEN_BUT_DB) == "conntrack"
    web = peers["web"]
    assert web.hold(DB[0], "tcp", 5432)
    switch_tracking(orion, on=False)
    assert not orion.pings("db", WEB[0]), "until somebody looks, no answer passes"
    assert enforcer.tell("look") == ["stateless", ""]
    assert web.held(DB[0], [True]) == [True]
    assert web.reaches(DB[0], *SOME, expect=SOME_PASS) == SOME_PASS
    assert "weave-policy" not in orion.sh("nft list tables inet")
    switch_tracking(orion, on=True)
    assert enforcer.tell("look") == ["conntrack", ""]
    assert web.held(DB[0], [True]) == [True]
    assert web.reaches(DB[0], *SOME, expect=SOME_PASS) == SOME_PASS


def test_changes_have_no_moment_open(orion: Host, enforcer: Enforcer) -> None:
    """A hundred frames of which none may pass, sent while the table is changed in many ways."""
    mac, to = mac_of(orion, "web"), mac_of(orion, "db")
    bad = summed(WEB[0], DB[0], 17, udp(40000, 6000))
    policies = [ALLOW, OPEN_BUT_DB, (*ALLOW[:1], (True, ("10.9.0.0/16",), (), None, ()), *OPEN_BUT_DB[1:])]
    enforcer.apply(OPEN_BUT_DB)
    flood = orion.popen(
        *("nsenter", "--target", str(orion.container("web")["State"]["Pid"]), "--net", sys.executable, "-c", FLOOD),
        (ethernet(mac, 0x0800, ipv4(WEB[0], 17, bad, DB[0]), to=to)).hex(),
        stdin=subprocess.PIPE,
    )
    try:
        before = received(orion)
        assert flood.stdout is not None and flood.stdout.readline() == "ready\n"
        for turn in range(30):
            enforcer.apply(policies[turn % 3], accept_rest=turn % 3 != 0)
            if turn % 10 == 9:
                enforcer.tell("mend")
        assert received(orion) == before
        assert "drop" in orion.sh("nft list chain bridge weave-policy denied")
        dropped = int(orion.sh("nft list chain bridge weave-policy denied").split("packets ")[1].split()[0])
        assert dropped, "the flood came to the table"
    finally:
        flood.communicate()


FLOOD = """
import select, socket, sys
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
sock.bind(("ethwe", 0))
sock.send(bytes.fromhex(sys.argv[1]))
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    sock.send(bytes.fromhex(sys.argv[1]))
"""


def received(host: Host) -> int:
    """Datagrams of UDP that `db` has got."""
    lines = [line.split() for line in host.inside("db", "cat", "/proc/net/snmp").stdout.splitlines() if "Udp:" in line]
    return int(lines[1][lines[0].index("InDatagrams")])


# --- what is around it ------------------------------------------------------------------------------------------------


def test_the_overlays_name_server_is_always_reached(enforcer: Enforcer, peers: dict[str, Peer], orion: Host) -> None:
    enforcer.apply((LAST,), accept_rest=False, protected=DB)
    mac, to = mac_of(orion, "web"), mac_of(orion, "db")
    question = {
        f"{name}-{port}": ethernet(mac, 0x0800, ipv4(WEB[0], number, body, DB[0]), to=to)
        for port in (53, 54)
        for name, number, body in (
            ("udp", 17, summed(WEB[0], DB[0], 17, udp(40000, port))),
            ("tcp", 6, summed(WEB[0], DB[0], 6, tcp(40000, port, SYN))),
        )
    }
    assert heard(orion, "web", question, orion, "db") == ["udp-53", "tcp-53"]
    answer = ethernet(to, 0x0800, ipv4(DB[0], 17, summed(DB[0], WEB[0], 17, udp(53, 40000)), WEB[0]), to=mac)
    assert heard(orion, "db", {"answer": answer}, orion, "web") == ["answer"]


def test_the_host_is_on_the_overlay_too(orion: Host, enforcer: Enforcer, peers: dict[str, Peer]) -> None:
    """`weave expose`: from the host to a container, from a container to the host, each as the policy says."""
    orion.weave("expose", "10.0.1.100/24")
    try:
        host = nets("10.0.1.100")
        enforcer.apply((LAST, (True, host, nets(*WEB), "icmp", ()), (True, nets(*DB), host, "icmp", ())), False)
        ping = "ping -n -c1 -W1 -I 10.0.1.100"
        eventually(lambda: orion.run("sh", "-c", f"{ping} {WEB[0]}", check=False).returncode == 0, within=60)
        assert orion.run("sh", "-c", f"{ping} {DB[0]}", check=False).returncode != 0
        eventually(lambda: orion.pings("db", "10.0.1.100"), within=60)
        assert not orion.pings("web", "10.0.1.100")
    finally:
        orion.weave("hide", "10.0.1.100/24")


def test_what_others_change_is_found_and_mended(orion: Host, enforcer: Enforcer, peers: dict[str, Peer]) -> None:
    enforcer.apply(OPEN_BUT_DB)
    web = peers["web"]
    assert web.hold(DB[0], "tcp", 5432)
    for meddling in (
        "delete table bridge weave-policy",
        "flush chain bridge weave-policy judge4",
        "flush set bridge weave-policy ports",
        "insert rule bridge weave-policy frame accept",
        "add table bridge weave-policy { flags dormant; }",
    ):
        orion.run("nft", meddling)
        assert enforcer.tell("mend"), meddling
        assert web.reaches(DB[0], *SOME, expect=SOME_PASS) == SOME_PASS, meddling
        assert enforcer.tell("mend") == []
        assert web.held(DB[0], [True]) == [True], meddling


def test_an_empty_policy_has_nothing_in_the_kernel(orion: Host, enforcer: Enforcer) -> None:
    assert "weave-policy" not in orion.sh("nft list tables")
    enforcer.apply(OPEN_BUT_DB)
    assert "weave-policy" in orion.sh("nft list tables")
    orion.sh("nft list ruleset")
    assert enforcer.apply(()) == ""
    assert "weave-policy" not in orion.sh("nft list tables")

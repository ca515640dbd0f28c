"""Frames counted on real hosts: everybody gets each broadcast and multicast frame once, over chains and rings of peers
that are no neighbours, while links come and go; nobody gets a frame back; subnets are apart.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from threading import Thread

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))


from frame_counters import BROADCAST, MULTICAST, Counters, send
from overlay_hosts import IMAGE, PYTHON, Host, Underlay, eventually, underlay
from waiting import PATIENCE

NAMES = ("one", "two", "three", "four")

_LISTEN = """
import socket, struct, sys
group = socket.inet_aton("239.7.7.7") + socket.inet_aton(sys.argv[1])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("239.7.7.7", 5000)); s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group); s.settimeout(60)
print("ready", flush=True)
got = []
try:
    while len(got) < 30: got.append(int(s.recv(100)))
    s.settimeout(0.5); got.append(int(s.recv(100)))
except TimeoutError: pass
print(got == list(range(30)))
"""
_SPEAK = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 4)
for number in range(30): s.sendto(str(number).encode(), ("239.7.7.7", 5000))
"""


@contextmanager
def chain(*flags: str) -> Iterator[Underlay]:
    """Four peers in a chain, for nobody looks for others; a container on each, and one of another subnet."""
    with underlay() as made:
        hosts = [made.host(name, number) for number, name in enumerate(NAMES, 2)]
        for host in hosts:
            host.weave("launch", "--no-discovery", *flags)
        for one, other in pairwise(hosts):
            one.weave("connect", other.address)
        for number, host in enumerate(hosts, 1):
            host.weave("run", f"10.0.1.{number}/24", "--name", f"c{number}", IMAGE, f"c{number}")
        hosts[0].weave("run", "10.0.2.1/24", "--name", "apart", IMAGE, "apart")
        eventually(lambda: hosts[0].pings("c1", "10.0.1.4"), what="the ends of the chain reach each other")
        eventually(lambda: hosts[3].pings("c4", "10.0.1.2"), what="and back")
        yield made


@pytest.fixture(scope="module")
def net() -> Iterator[Underlay]:
    with chain() as made:
        yield made


def containers(net: Underlay) -> dict[str, Host]:
    return {f"c{number}": net.hosts[name] for number, name in enumerate(NAMES, 1)}


def test_each_frame_comes_once_to_each_other_container_of_a_chain(net: Underlay) -> None:
    for origin, host in containers(net).items():
        with Counters(containers(net)) as counters:
            send(host, origin, 1, 20, 0.005, BROADCAST, MULTICAST)
            found = counters.stop()
        expected = {(target, number): 1 for target in (BROADCAST, MULTICAST) for number in range(1, 21)}
        assert found.pop(origin) == {}, "a frame came back to where it was from"
        assert all(counts == expected for counts in found.values()), {name: len(each) for name, each in found.items()}


def test_containers_that_joined_a_group_hear_it_over_several_hops(net: Underlay) -> None:
    listeners = []
    for number, (name, host) in enumerate(containers(net).items(), 1):
        if number > 1:
            pid = host.container(name)["State"]["Pid"]
            words = ("nsenter", "--target", str(pid), "--net", PYTHON, "-c", _LISTEN, f"10.0.1.{number}")
            listeners.append(host.popen(*words))
    for listener in listeners:
        assert listener.stdout is not None and listener.stdout.readline() == "ready\n"
    assert net.hosts["one"].inside("c1", PYTHON, "-c", _SPEAK).returncode == 0
    for listener in listeners:
        out, err = listener.communicate(timeout=PATIENCE)
        assert out == "True\n", err


def break_and_close(net: Underlay, *flags: str) -> dict[str, Counter[tuple[str, int]]]:
    """Close the chain to a ring, restart peers while a container floods; what came. From 5000 on nothing changes."""
    first, _, third, last = net.hosts.values()
    last.weave("connect", first.address)
    eventually(lambda: last.weave("status", "connections").stdout.count("established") == 2, what="the ring is closed")
    origin = "c1"
    with Counters(containers(net)) as counters:
        sender = Thread(target=send, args=(first, origin, 1, 800, 0.01, BROADCAST, MULTICAST))
        sender.start()
        third.kill_daemon()
        third.weave("launch", "--no-discovery", *flags)
        eventually(lambda: third.weave("status", "connections").stdout.count("established") == 2, what="closed again")
        last.weave("stop")
        last.weave("launch", "--no-discovery", "--resume", *flags)
        eventually(lambda: last.weave("status", "connections").stdout.count("established") == 2, what="and again")
        sender.join()
        eventually(lambda: first.pings("c1", "10.0.1.3") and first.pings("c1", "10.0.1.4"), what="all reach each other")
        send(first, origin, 5000, 20, 0.005, BROADCAST, MULTICAST)
        found = counters.stop()
    assert found.pop(origin) == {}
    for name, counts in found.items():
        later = {key: count for key, count in counts.items() if key[1] >= 5000}
        assert len(later) == 40, f"{name} misses frames although nothing changes"
        assert set(later.values()) == {1}, f"{name} got frames twice although nothing changes"
    return found


def test_in_the_tunnel_no_frame_comes_twice_while_a_ring_breaks_and_closes() -> None:
    with chain("--no-fastdp") as net:
        for name, counts in break_and_close(net, "--no-fastdp").items():
            twice = [key for key in counts if counts[key] > 1]
            assert not twice, f"{name} got frames twice: {twice[:5]}"


def test_on_both_paths_frames_come_once_when_a_ring_has_broken_and_closed(net: Underlay) -> None:
    break_and_close(net)


def test_subnets_are_apart_on_one_host_and_over_hops(net: Underlay) -> None:
    one, four = net.hosts["one"], net.hosts["four"]
    four.weave("run", "10.0.2.4/24", "--name", "apart4", IMAGE, "apart4")
    eventually(lambda: one.pings("apart", "10.0.2.4"), what="one subnet over three hops")
    assert not one.pings("apart", "10.0.1.1") and not one.pings("c1", "10.0.2.1")
    assert not one.pings("apart", "10.0.1.4") and not four.pings("c4", "10.0.2.1")


def test_a_container_reaches_its_own_address_and_name(net: Underlay) -> None:
    one = net.hosts["one"]
    assert one.pings("c1", "10.0.1.1", wait=30)
    answer = one.inside("c1", "curl", "-sS", "--max-time", "5", "http://10.0.1.1:8080/").stdout
    assert answer.startswith("Hi! I'm [c1] service")

"""`weave expose`: the host on the overlay, and by its address containers and the outside; for both families."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from overlay_hosts import IMAGE, PYTHON, Host, eventually, underlay
from waiting import PATIENCE

FAMILIES = {
    "IPv4": {"left": "10.0.1.1", "right": "10.0.1.2", "host": "10.0.1.100", "under": "192.168.0.3", "length": 24},
    "IPv6": {"left": "fd00:2::1", "right": "fd00:2::2", "host": "fd00:2::100", "under": "fd00:1::3", "length": 64},
}
LISTEN = """
import socket, sys
sock = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((sys.argv[1], 5555))
print("ready", flush=True)
print(sock.recvfrom(100)[1][0], flush=True)
"""
SAY = """
import socket, sys
sock = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
sock.sendto(b"hello", (sys.argv[1], 5555))
"""


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[Host, Host]]:
    """Two peers with a container each, of both families; orion is exposed."""
    with underlay() as made:
        orion, macbook = made.host("orion", 2), made.host("macbook", 3)
        for host in (orion, macbook):
            host.sh(f"ip -6 addr add fd00:1::{host.address[-1]}/64 dev eth0 nodad")
            host.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
            host.weave("launch")
        orion.weave("connect", "192.168.0.3")
        for host, name in ((orion, "left"), (macbook, "right")):
            cidrs = [f"{family[name]}/{family['length']}" for family in FAMILIES.values()]
            host.weave("run", *cidrs, "--name", name, IMAGE, name)
        orion.weave("expose", *(f"{family['host']}/{family['length']}" for family in FAMILIES.values()))
        yield orion, macbook


@pytest.mark.parametrize("family", list(FAMILIES))
def test_the_host_reaches_containers_everywhere_and_they_it(two: tuple[Host, Host], family: str) -> None:
    orion, macbook = two
    address = FAMILIES[family]
    for target in ("left", "right"):
        eventually(
            lambda target=target: orion.run("ping", "-c1", "-W1", str(address[target]), check=False).returncode == 0,
            what=f"ping {address[target]} from the host",
        )
    assert macbook.pings("right", str(address["host"]), wait=30)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_containers_reach_the_outside_by_their_hosts_address(two: tuple[Host, Host], family: str) -> None:
    """`left` leaves by the exposed host towards macbook's underlay address, which has no way back to `left` itself."""
    orion, macbook = two
    address = FAMILIES[family]
    length = 32 if family == "IPv4" else 128
    orion.inside("left", "ip", "route", "replace", f"{address['under']}/{length}", "via", str(address["host"]))
    listener = macbook.popen(PYTHON, "-c", LISTEN, str(address["under"]))
    try:
        assert listener.stdout is not None and listener.stdout.readline() == "ready\n"
        orion.inside("left", PYTHON, "-c", SAY, str(address["under"]))
        out, _ = listener.communicate(timeout=PATIENCE)
    finally:
        listener.kill()
    assert out.strip() == ("192.168.0.2" if family == "IPv4" else "fd00:1::2")


def test_hidden_nothing_of_it_is_left(two: tuple[Host, Host]) -> None:
    orion, macbook = two
    orion.weave("hide", "--all")
    for address in FAMILIES.values():
        eventually(lambda address=address: not macbook.pings("right", str(address["host"])), what="no answer")
    assert "inet" not in orion.run("ip", "addr", "show", "dev", "weave").stdout
    for save in ("iptables-save", "ip6tables-save"):
        assert "MASQUERADE" not in orion.run(save, "-t", "nat").stdout

"""Port 53 on a real host: a flood of packets that get no answer, clients that take too much, strangers, new bridges."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from overlay_hosts import IMAGE, PYTHON, Host, Underlay, eventually, underlay

SERVER = "172.17.2.1"
ASK = textwrap.dedent("""
    import socket, struct, sys
    def question(name, kind=1):
        labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
        return struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + labels + struct.pack("!BHH", 0, kind, 1)
    def udp(server, name, patience=2.0):
        sock = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(patience)
        sock.sendto(question(name), (server, 53))
        try:
            return sock.recv(4096)
        except OSError:
            return b""
    def tcp(server, name, patience=2.0):
        try:
            sock = socket.create_connection((server, 53), patience)
            sock.sendall(struct.pack("!H", len(question(name))) + question(name))
            return sock.recv(4096)[2:]
        except OSError:
            return b""
""")
"""What all programs below begin with: a question and its answer, without a library."""


@pytest.fixture(scope="module")
def net() -> Iterator[Underlay]:
    with underlay() as made:
        host = made.host("orion", 2)
        host.weave("launch", "--no-discovery")
        for name, address in (("svc1", "10.0.1.1/24"), ("svc2", "10.0.1.2/24")):
            host.weave("run", address, "--name", name, "-h", f"{name}.weave.local", IMAGE, name)
        made.run(f"ip addr add 192.168.0.9/24 dev switch; ip route add {SERVER}/32 via 192.168.0.2")
        yield made


def answers(host: Host, container: str, protocol: str = "udp", server: str = SERVER) -> bool:
    """Whether `container` (the host itself if it is "") gets an address for a local name."""
    program = f"{ASK}\nprint({protocol}({server!r}, 'svc2.weave.local.')[6:8].hex())"
    words = (PYTHON, "-c", program)
    done = host.inside(container, *words) if container else host.run(*words, check=False)
    return done.stdout.strip() == "0001"


def test_packets_that_get_no_answer_are_forgotten(orion: Host) -> None:
    """4,200 of them switched a host's DNS off until its daemon was restarted."""
    assert answers(orion, "svc1")
    flood = f"""{ASK}
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.connect(({SERVER!r}, 53))
for number in range(8400):
    sock.send(b"\\0\\1\\x80\\0" + bytes(8) if number % 2 else b"x")
    if number % 64 == 63:
        udp({SERVER!r}, "svc2.weave.local.")  # so that all of them have been looked at, and none was lost in a queue
"""
    orion.inside("svc1", PYTHON, "-c", flood)
    assert answers(orion, "svc1") and answers(orion, "svc2")
    assert orion.weave("dns-lookup", "svc2.weave.local.").stdout.strip() == "10.0.1.2"


def test_a_flood_fills_the_queue_of_its_sender_and_not_of_others(orion: Host) -> None:
    """While the daemon does not look at all, one container sends far more than a queue holds, another asks once."""
    flood = f"""{ASK}
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(20000):
    sock.sendto(question("svc2.weave.local."), ({SERVER!r}, 53))
"""
    pid = str(orion.container("svc2")["State"]["Pid"])
    asking = f"{ASK}\nprint('asked', flush=True)\nprint(udp({SERVER!r}, 'svc2.weave.local.', 30)[6:8].hex())"
    orion.sh(f"kill -STOP {orion.daemon()}")
    try:
        orion.inside("svc1", PYTHON, "-c", flood)
        process = orion.popen("nsenter", "--target", pid, "--net", PYTHON, "-c", asking)
        assert process.stdout is not None and process.stdout.readline() == "asked\n"
        waiting = "awk '$2 ~ /:0035$/ && $5 !~ /:00000000$/' /proc/net/udp | wc -l"
        eventually(lambda: int(orion.sh(waiting)) >= 2, what="the questions of both in queues")
    finally:
        orion.sh(f"kill -CONT {orion.daemon()}")
    assert process.communicate(timeout=40)[0].strip() == "0001"


def test_a_client_with_many_idle_connections_keeps_nobody_out(orion: Host) -> None:
    hold = f"""{ASK}
held = [socket.create_connection(({SERVER!r}, 53), 5) for _ in range(400)]
print("held", flush=True)
sys.stdin.read()
"""
    pid = str(orion.container("svc1")["State"]["Pid"])
    process = orion.popen("nsenter", "--target", pid, "--net", PYTHON, "-c", hold, stdin=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        descriptors = f"ls /proc/{orion.daemon()}/fd | wc -l"
        eventually(lambda: int(orion.sh(descriptors)) < 150, what="the daemon's descriptors")
        assert answers(orion, "svc2", "tcp") and answers(orion, "svc1", "tcp")
        orion.weave("status")
    finally:
        process.communicate("")


def test_a_client_that_never_reads_costs_little_memory(orion: Host) -> None:
    orion.weave("dns-add", *(f"10.0.1.{number}" for number in range(10, 60)), "svc1", "-h", "many.weave.local")
    ask = f"""{ASK}
import time
asked = struct.pack("!H", len(question("many.weave.local."))) + question("many.weave.local.")
sock = socket.create_connection(({SERVER!r}, 53), 5)
sock.settimeout(1)
sent = 0
try:
    while sent < 40 << 20:
        sent += sock.send(asked * 1000)
except TimeoutError:
    pass
print(sent)
"""

    def resident() -> int:
        return int(orion.sh(f"awk '/VmRSS/ {{print $2}}' /proc/{orion.daemon()}/status")) >> 10

    before = resident()
    sent = int(orion.inside("svc1", PYTHON, "-c", ask).stdout)
    assert sent < 40 << 20, "somebody reads 40 MB of questions whose answers nobody takes"
    assert resident() < before + 32
    assert answers(orion, "svc2")


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_a_stranger_on_the_underlay_gets_no_answer(net: Underlay, orion: Host, protocol: str) -> None:
    """A host takes packets for any of its addresses by any of its interfaces."""
    assert answers(orion, "", protocol) and answers(orion, "svc1", protocol)
    ask = f"{ASK}\nprint(len({protocol}({SERVER!r}, 'svc2.weave.local.', 1)))"
    program = net.directory / "ask.py"
    program.write_text(ask)
    assert net.run(f"ping -nc1 -W2 {SERVER} >/dev/null && '{PYTHON}' '{program}'").strip() == "0"


def test_a_bridge_that_the_engine_makes_later_is_served(orion: Host) -> None:
    """As those of `docker network create` are called; one of another name is not the engine's."""
    for name, number, served in (("br-0123456789ab", 30, True), ("lan", 31, False)):
        orion.sh(
            f"ip link add {name} type bridge; ip addr add 172.{number}.0.1/16 dev {name}; ip link set {name} up; "
            f"ip netns add on{number} 2>/dev/null || true; ip link add c{number} type veth peer name e{number}; "
            f"ip link set c{number} master {name}; ip link set c{number} up"
        )
        pid = str(orion.container("svc2")["State"]["Pid"])
        orion.sh(f"ip link set e{number} netns {pid}")
        orion.inside("svc2", "ip", "addr", "add", f"172.{number}.0.2/16", "dev", f"e{number}")
        orion.inside("svc2", "ip", "link", "set", f"e{number}", "up")
        orion.inside("svc2", "ip", "route", "replace", f"{SERVER}/32", "via", f"172.{number}.0.1")
        if served:
            eventually(lambda: answers(orion, "svc2"), what="an answer by the new bridge")
        else:
            assert not answers(orion, "svc2") and not answers(orion, "svc2", "tcp")
        orion.sh(f"ip link del {name}")
    orion.inside("svc2", "ip", "route", "del", f"{SERVER}/32")
    eventually(lambda: answers(orion, "svc2"))


def test_the_interface_of_a_given_address_is_served(net: Underlay) -> None:
    host = net.host("given", 5)
    host.weave("launch", "--no-discovery", "--dns-listen-address", "192.168.0.5")
    host.weave("run", "10.0.1.2/24", "--name", "svc2", "-h", "svc2.weave.local", IMAGE, "svc2")
    program = net.directory / "given.py"
    program.write_text(f"{ASK}\nprint(udp('192.168.0.5', 'svc2.weave.local.')[6:8].hex())")
    assert net.run(f"'{PYTHON}' '{program}'").strip() == "0001"

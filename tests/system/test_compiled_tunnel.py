"""The compiled tunnel on real kernels, against a peer whose tunnel is Python alone: bulk and datagrams, both ways."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from overlay_hosts import IMAGE, PYTHON, Underlay, eventually, underlay
from tiers import cannot_run

from overlay.errors import EnvironmentProblem
from overlay.runtime.rows.building import build
from overlay.runtime.rows.loading import SWITCH

SECRET = ("--password", "correct horse", "--wireguard", "off")
ADDRESSES = {"left": "10.0.1.1", "right": "10.0.1.2"}
BULK = 30_000_000
RECEIVE = """
import hashlib, socket
server = socket.create_server(("", 7001))
print("listening", flush=True)
connection = server.accept()[0]
digest = hashlib.sha256()
while data := connection.recv(1 << 20):
    digest.update(data)
print(digest.hexdigest(), flush=True)
"""
SEND = f"""
import hashlib, random, socket, sys
data = random.Random(1).randbytes({BULK})
with socket.create_connection((sys.argv[1], 7001)) as connection:
    connection.sendall(data)
print(hashlib.sha256(data).hexdigest())
"""
ECHO = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("", 7002))
print("listening", flush=True)
while True:
    data, source = sock.recvfrom(65536)
    sock.sendto(data, source)
"""
BURSTS = """
import random, socket, sys
chance, sizes = random.Random(2), [1, 8, 100, 511, 1200, 1300]
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.connect((sys.argv[1], 7002))
sock.settimeout(2)
done = 0
for attempt in range(2000):
    size = chance.choice(sizes)
    burst = [chance.randbytes(size if n < 15 else chance.randint(1, size)) for n in range(16)]
    for data in burst:
        sock.send(data)
    try:
        if [sock.recv(65536) for _ in burst] == burst:
            done += 1
            if done == 20:
                print("all as sent")
                break
            continue
    except TimeoutError:
        pass
    sock.close()  # datagrams may be lost, and answers late: those of this try must not count for the next
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((sys.argv[1], 7002))
    sock.settimeout(2)
"""


@pytest.fixture(scope="module")
def net() -> Iterator[Underlay]:
    try:
        build()
    except EnvironmentProblem as error:
        cannot_run(str(error))
    os.environ.pop(SWITCH, None)
    with underlay() as made:
        made.host("one", 2).weave("launch", *SECRET)
        made.host("two", 3).run("env", f"{SWITCH}=0", PYTHON, "-m", "overlay.cli.main", "launch", *SECRET)
        made.hosts["one"].weave("connect", "192.168.0.3")
        for host, name in (("one", "left"), ("two", "right")):
            made.hosts[host].weave("run", f"{ADDRESSES[name]}/24", "--name", name, IMAGE, name)
        eventually(lambda: made.hosts["one"].pings("left", ADDRESSES["right"]), what="ping left -> right")
        yield made


def other(name: str) -> str:
    return "right" if name == "left" else "left"


def host_of(net: Underlay, name: str):
    return net.hosts["one" if name == "left" else "two"]


def serve(net: Underlay, name: str, script: str):
    """A server in a container, which listens."""
    host = host_of(net, name)
    pid = host.container(name)["State"]["Pid"]
    server = host.popen("nsenter", "--target", str(pid), "--net", sys.executable, "-c", script)
    assert server.stdout.readline() == "listening\n"
    return server


def test_one_is_compiled_and_the_other_is_not(net: Underlay) -> None:
    one, two = net.hosts["one"], net.hosts["two"]
    assert "compiled" in one.weave("status").stdout
    assert f"in Python: {SWITCH}=0" in two.weave("status").stdout
    assert json.loads(one.weave("report").stdout)["driver"]["sleeve"]["compiled"] is True
    (found,) = json.loads(one.weave("report").stdout)["paths"].values()
    assert found["path"] == "sleeve"


@pytest.mark.parametrize("sender", ["left", "right"])
def test_a_bulk_transfer_arrives_as_it_was_sent(net: Underlay, sender: str) -> None:
    receiver = serve(net, other(sender), RECEIVE)
    sent = host_of(net, sender).inside(sender, sys.executable, "-c", SEND, ADDRESSES[other(sender)])
    assert sent.returncode == 0, sent.stderr
    assert receiver.communicate(timeout=120)[0] == sent.stdout


@pytest.mark.parametrize("sender", ["left", "right"])
def test_datagrams_stay_datagrams(net: Underlay, sender: str) -> None:
    """Joined on their way into a container, they arrive one by one."""
    server = serve(net, other(sender), ECHO)
    try:
        done = host_of(net, sender).inside(sender, sys.executable, "-c", BURSTS, ADDRESSES[other(sender)])
        assert done.stdout == "all as sent\n", done.stderr
    finally:
        server.kill()  # what it started ends with the host
        server.wait()
        server.stdout.close()
        server.stderr.close()

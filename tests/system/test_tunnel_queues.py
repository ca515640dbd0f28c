"""The tunnel's port on a real veth pair: one queue, and one for each source once frames were lost; no frame in two."""

import json
import os
import subprocess
import sys

SCRIPT = """
import json, select, socket, subprocess, sys
from overlay.runtime.tunnel_port import TunnelPort
subprocess.run("ip link add va type veth peer name vb; ip link set va up; ip link set vb up", shell=True, check=True)
port = TunnelPort("vb")
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind(("va", 0))

def sent(sources):
    for source in sources:
        out.send(b"\\xff" * 6 + bytes((2, 0, 0, 0, 0, source)) + b"\\x88\\xb5" + bytes([source]) * 46)
    out.send(b"\\xff" * 6 + bytes(6) + b"\\x88\\xb5" + b"end")
    found, waiting = [], True
    while waiting:
        for each in select.select(port.sockets, [], [], 60)[0]:
            frame = each.recv(2000)[10:]
            if frame[12:17] == b"\\x88\\xb5end":
                waiting = False
            elif frame[12:14] == b"\\x88\\xb5":
                found.append((port.sockets.index(each), frame[11]))
    for each in port.sockets:  # veth hands frames on in their order, so those before the last one are there
        while select.select([each], [], [], 0)[0]:
            frame = each.recv(2000)[10:]
            if frame[12:14] == b"\\x88\\xb5":
                found.append((port.sockets.index(each), frame[11]))
    return sorted(found, key=lambda pair: pair[1])

one = sent([1, 2, 70])
added = len(port.spread())
print(json.dumps([one, added, sent([1, 2, 66, 70, 255]), len(port.spread()), port.missed]))
port.close()
"""


def test_each_source_has_a_queue_once_that_is_needed() -> None:
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    words = ["unshare", *user, "--net", sys.executable, "-c", SCRIPT]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    one, added, many, again, missed = json.loads(done.stdout)
    assert one == [[0, 1], [0, 2], [0, 70]]
    assert added == 63
    assert [source for _, source in many] == [1, 2, 66, 70, 255]
    assert len({queue for queue, _ in many}) == 4, "1, 2 and 66 by twos: 66 is 2 of the next round"
    assert again == 0
    assert missed == 0

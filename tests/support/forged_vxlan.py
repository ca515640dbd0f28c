"""VXLAN packets that somebody forges on the underlay, and what a container hears of them. For `overlay_hosts`."""

from overlay_hosts import PYTHON, Host, Underlay
from waiting import PATIENCE

FORGE = """
import socket, struct, sys
target, mac, text, vni, *source = sys.argv[1:]
def summed(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
udp = struct.pack("!HHHH", 5555, 5555, 8 + len(text), 0) + text.encode()
addresses = bytes((10, 0, 1, 77, 10, 0, 1, 1))
head = struct.pack("!BBHHHBBH8s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, addresses)
head = head[:10] + struct.pack("!H", summed(head)) + head[12:]
inner = bytes.fromhex(mac.replace(":", "")) + bytes.fromhex("02000000004d") + b"\\x08\\x00" + head + udp
vxlan = struct.pack("!BxxxI", 8, int(vni) << 8) + inner
if source:
    ends = socket.inet_aton(source[0]) + socket.inet_aton(target)
    outer = struct.pack("!HHHH", 40000, 6784, 8 + len(vxlan), 0) + vxlan
    outer = struct.pack("!BBHHHBBH8s", 0x45, 0, 20 + len(outer), 0, 0, 64, 17, 0, ends) + outer
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    sys.exit(raw.sendto(outer, (target, 0)) != len(outer))
sock = socket.socket(socket.AF_INET6 if ":" in target else socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(5):
    sock.sendto(vxlan, (target, 6784))
"""
LISTEN = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("10.0.1.1", 5555))
print("ready", flush=True)
heard = set()
while "end" not in heard:
    heard.add(sock.recv(100).decode())
print(*sorted(heard), flush=True)
"""
SAY = """
import socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(50):
    sock.sendto(sys.argv[1].encode(), ("10.0.1.1", 5555))
    time.sleep(0.02)
"""


def heard(
    made: Underlay,
    *forgers: tuple[Host, str],
    to: str = "orion",
    by: str = "macbook",
    at: str = "",
    within: str = "",
    source: str = "",
) -> list[str]:
    """What the container `left` of one host hears when these forge packets and then `right` of another host speaks.

    `at` is the host's address where that is not its usual one; `within` a container of the forgers' hosts in which they
    sit, `source` the address that they pretend to have.
    The words `end` come by the overlay itself and are the last to be sent, so that what is not heard was not let in.
    """
    target, other = made.hosts[to], made.hosts[by]
    mac = target.inside("left", "ip", "-br", "link", "show", "ethwe").stdout.split()[2]
    state = target.container("left")["State"]
    listener = target.popen("nsenter", "--target", str(state["Pid"]), "--net", PYTHON, "-c", LISTEN)
    try:
        assert listener.stdout is not None and listener.stdout.readline() == "ready\n"
        for host, words in forgers:
            for vni in ("6784", "6785"):
                state = host.container(within)["State"] if within else {}
                inside = ("nsenter", "--target", str(state["Pid"]), "--net") if within else ()
                pretended = (source,) if source else ()
                host.run(*inside, PYTHON, "-c", FORGE, at or target.address, mac, words, vni, *pretended)
        other.inside("right", PYTHON, "-c", SAY, "end")
        out, _ = listener.communicate(timeout=PATIENCE)
    finally:
        listener.kill()
    return sorted(set(out.split()) - {"end"})

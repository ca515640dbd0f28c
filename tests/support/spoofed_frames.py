"""Frames that a container sends by hand, and which of them another container hears. For `overlay_hosts`.

A listener knows frames by their bytes: no two are equal from their source MAC on.
"""

import json
import socket
import struct
import sys
from pathlib import Path

from overlay_hosts import PYTHON, Host

SEND = """
import json, socket, sys
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
sock.bind((sys.argv[1], 0))
for frame in json.load(sys.stdin):
    sock.send(bytes.fromhex(frame))
"""
LISTEN = """
import socket, sys
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
sock.bind((sys.argv[1], 3))
sock.settimeout(90)
print("ready", flush=True)
frame = b""
while not frame.endswith(b"that was all"):
    frame = sock.recv(4096)
    print(frame.hex(), flush=True)
"""
BROADCAST = "ff:ff:ff:ff:ff:ff"
OTHER_MAC = "02:00:00:00:0e:01"
TAG = b"\x81\0\0\0"


def raw(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def ethernet(source: str, kind: int, payload: bytes, *, to: str = BROADCAST) -> bytes:
    return raw(to) + raw(source) + kind.to_bytes(2, "big") + payload


def arp(mac: str, sender_mac: str, sender: str, *, operation: int = 2) -> bytes:
    head = b"\0\1\x08\0\6\4" + operation.to_bytes(2, "big")
    return ethernet(mac, 0x0806, head + raw(sender_mac) + socket.inet_aton(sender) + bytes(6) + bytes((10, 0, 1, 250)))


def ipv4(source: str, protocol: int, payload: bytes, to: str = "255.255.255.255") -> bytes:
    addresses = socket.inet_aton(source) + socket.inet_aton(to)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0) + addresses
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + struct.pack("!H", ~total & 0xFFFF) + head[12:] + payload


def ipv6(source: str, following: int, payload: bytes, to: str = "ff02::1") -> bytes:
    head = struct.pack("!IHBB", 6 << 28, len(payload), following, 255)
    return head + socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, to) + payload


def udp(source: int, to: int) -> bytes:
    return struct.pack("!HHHH", source, to, 16, 0) + bytes(8)


def fragment(following: int, number: int, payload: bytes, *, more: bool = False) -> bytes:
    """The `number`th eight bytes of a packet, behind a fragment header."""
    return struct.pack("!BBHI", following, 0, number << 3 | more, 7) + payload


def options(following: int) -> bytes:
    """Destination options: none, padded."""
    return bytes((following, 0, 1, 4, 0, 0, 0, 0))


def neighbour(kind: int, target: str, option: int = 0, mac: str = "") -> bytes:
    """A solicitation (135) or an advertisement (136), with one option or none."""
    body = bytes((kind, 0, 0, 0, 0x20, 0, 0, 0)) + socket.inet_pton(socket.AF_INET6, target)
    return body + (bytes((option, 1)) + raw(mac) if option else b"")


def own_frames(mac: str, v4: str, v6: str) -> dict[str, bytes]:
    """What any container may send."""
    return {
        "own4": ethernet(mac, 0x0800, ipv4(v4, 17, udp(5000, 5001))),
        "own6": ethernet(mac, 0x86DD, ipv6(v6, 17, udp(5000, 5001))),
        "multicast4": ethernet(mac, 0x0800, ipv4(v4, 17, udp(5353, 5353), "224.0.0.251"), to="01:00:5e:00:00:fb"),
        "arp": arp(mac, mac, v4),
        "arp-probe": arp(mac, mac, "0.0.0.0", operation=1),
        "dhcp-discover": ethernet(mac, 0x0800, ipv4("0.0.0.0", 17, udp(68, 67))),
        "link-local4": ethernet(mac, 0x0800, ipv4("169.254.7.7", 17, udp(5000, 5001))),
        "dad": ethernet(mac, 0x86DD, ipv6("::", 58, neighbour(135, v6, 14, "01:02:03:04:05:06"))),
        "solicit": ethernet(mac, 0x86DD, ipv6(v6, 58, neighbour(135, "fd00:1::99", 1, mac))),
        "advert": ethernet(mac, 0x86DD, ipv6(v6, 58, neighbour(136, v6, 2, mac))),
        "advert-bare": ethernet(mac, 0x86DD, ipv6(v6, 58, neighbour(136, v6))),
        "mld": ethernet(mac, 0x86DD, ipv6("fe80::1", 58, bytes((143, 0, 0, 0, 0, 0, 0, 0)), "ff02::16")),
        "dhcp6-solicit": ethernet(mac, 0x86DD, ipv6("fe80::1", 17, udp(546, 547), "ff02::1:2")),
        "tcp6": ethernet(mac, 0x86DD, ipv6(v6, 6, bytes(20))),
        "fragment6": ethernet(mac, 0x86DD, ipv6(v6, 44, fragment(17, 0, udp(5000, 5004), more=True))),
        "fragment6-last": ethernet(mac, 0x86DD, ipv6(v6, 44, fragment(17, 2, bytes(8)))),
        "fragment6-ping": ethernet(mac, 0x86DD, ipv6(v6, 44, fragment(58, 0, bytes((128, *bytes(7))), more=True))),
        "fragment6-ping-last": ethernet(mac, 0x86DD, ipv6(v6, 44, fragment(58, 1, bytes(8)))),
        "fragment6-tcp": ethernet(mac, 0x86DD, ipv6(v6, 44, fragment(6, 1, bytes(8)))),
        "fragment6-link": ethernet(mac, 0x86DD, ipv6("fe80::1", 44, fragment(17, 2, bytes(8)))),
        "link-local6-tcp": ethernet(mac, 0x86DD, ipv6("fe80::1", 6, bytes(20))),
        "link-local6-udp": ethernet(mac, 0x86DD, ipv6("fe80::1", 17, udp(5000, 5001))),
        "options6": ethernet(mac, 0x86DD, ipv6(v6, 60, options(17) + udp(5000, 5005))),
        "nothing6": ethernet(mac, 0x86DD, ipv6(v6, 59, b"")),
        "own-protocol": ethernet(mac, 0x88B5, bytes(46)),
    }


def foreign_frames(mac: str, v4: str, v6: str, victim4: str, victim6: str) -> dict[str, bytes]:
    """What only a container with --allow-spoofing may send."""
    stolen = b"\x08\0" + ipv4(victim4, 17, udp(5000, 5002))
    return {
        "mac": ethernet(OTHER_MAC, 0x88B5, bytes(46)),
        "mac4": ethernet(OTHER_MAC, 0x0800, ipv4(v4, 17, udp(5000, 5001))),
        "mac-dhcp": ethernet(OTHER_MAC, 0x0800, ipv4("0.0.0.0", 17, udp(68, 67))),
        "ip4": ethernet(mac, 0x0800, ipv4(victim4, 17, udp(5000, 5001))),
        "ip4-tagged": raw(BROADCAST) + raw(mac) + TAG + stolen,
        "ip4-tagged-twice": raw(BROADCAST) + raw(mac) + TAG + TAG + b"\x08\0" + ipv4(victim4, 17, udp(5000, 5003)),
        "ip6": ethernet(mac, 0x86DD, ipv6(victim6, 17, udp(5000, 5001))),
        "arp-ip": arp(mac, mac, victim4),
        "arp-request-ip": arp(mac, mac, victim4, operation=1),
        "arp-mac": arp(mac, OTHER_MAC, v4),
        "arp-ether": arp(OTHER_MAC, mac, v4),
        "arp-probe-mac": arp(mac, OTHER_MAC, "0.0.0.0", operation=1),
        "advert-target": ethernet(mac, 0x86DD, ipv6(v6, 58, neighbour(136, victim6, 2, mac))),
        "advert-target-by-link": ethernet(mac, 0x86DD, ipv6("fe80::1", 58, neighbour(136, victim6, 2, mac))),
        "advert-mac": ethernet(mac, 0x86DD, ipv6(v6, 58, neighbour(136, v6, 2, OTHER_MAC))),
        "advert-two": ethernet(mac, 0x86DD, ipv6(v6, 58, neighbour(136, v6, 2, mac) + b"\2\1" + raw(OTHER_MAC))),
        "solicit-source": ethernet(mac, 0x86DD, ipv6(victim6, 58, neighbour(135, v6, 1, mac))),
        "solicit-mac": ethernet(mac, 0x86DD, ipv6(v6, 58, neighbour(135, victim6, 1, OTHER_MAC))),
        "router": ethernet(mac, 0x86DD, ipv6("fe80::1", 58, bytes((134, *bytes(15))))),
        "redirect": ethernet(mac, 0x86DD, ipv6("fe80::1", 58, bytes((137, *bytes(39))))),
        "dhcp-offer": ethernet(mac, 0x0800, ipv4(v4, 17, udp(67, 68))),
        "dhcp-offer-by-other-port": ethernet(mac, 0x0800, ipv4(v4, 17, udp(5000, 68))),
        **{
            f"{name}-behind-{count}-options-of-a-fragment-from-{source}": ethernet(
                mac, 0x86DD, ipv6(source, 44, fragment(60, 0, octets, more=True))
            )
            for source in (v6, "fe80::1")
            for name, following in (("advert", 58), ("dhcp6-reply", 17))
            # The second time one stands in the next fragment as well, and nothing says what follows.
            for count, octets in ((1, options(following)), (2, options(60)))
        },
        "dhcp6-reply": ethernet(mac, 0x86DD, ipv6(v6, 17, udp(547, 546), "ff02::1")),
    }


def mac_of(host: Host, container: str, interface: str = "ethwe") -> str:
    return host.inside(container, "ip", "-br", "link", "show", interface).stdout.split()[2]


def heard(
    host: Host, sender: str, frames: dict[str, bytes], listener: Host, by: str, *, interface: str = "ethwe"
) -> list[str]:
    """The names of the frames that container `by` hears when `sender` sends them."""
    state = listener.container(by)["State"]
    hears = listener.popen("nsenter", "--target", str(state["Pid"]), "--net", PYTHON, "-c", LISTEN, interface)
    try:
        assert hears.stdout is not None and hears.stdout.readline() == "ready\n", hears.communicate()
        end = ethernet(mac_of(host, sender, interface), 0x88B5, b"that was all")
        send(host, sender, {**frames, "end": end}, interface)
        out, _ = hears.communicate(timeout=30)
    finally:
        hears.kill()
    return known(frames, [bytes.fromhex(line) for line in out.split()])


def known(frames: dict[str, bytes], captured: list[bytes]) -> list[str]:
    """The names of the frames among what was captured, where one VLAN tag may have been taken off."""
    seen = {frame[6:] for frame in captured}
    return [name for name, frame in frames.items() if {frame[6:], frame[6:].replace(TAG, b"", 1)} & seen]


def send(host: Host, sender: str, frames: dict[str, bytes], interface: str = "ethwe") -> None:
    """Send these frames from a container's interface."""
    pid = host.container(sender)["State"]["Pid"]
    words = json.dumps([frame.hex() for frame in frames.values()])
    path = host.disk / "frames.json"
    Path(path).write_text(words)
    host.sh(f"nsenter --target {pid} --net '{sys.executable}' -c '{SEND}' {interface} < '{path}'")

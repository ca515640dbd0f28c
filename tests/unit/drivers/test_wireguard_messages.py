"""What the kernel's WireGuard is told, byte by byte as `include/uapi/linux/wireguard.h` lays it out.

This machine's kernel may have no WireGuard; the layout is what stands between the driver and one that has.
"""

import socket
import struct
from typing import Any, cast

import pytest

from overlay.config import Address
from overlay.crypto.secure_peer import SecurePeer, in_tunnel, tunnel_address
from overlay.effects import SetSecurePeers
from overlay.kernel import wireguard

KEY, OTHER = bytes(range(32)), bytes(range(32, 64))
PEER = SecurePeer("fe80::1", KEY, Address("192.0.2.2", 6785))
SIX = SecurePeer("fe80::2", OTHER, Address("2001:db8::2", 6786))


def attributes(data):
    found = {}
    while data:
        length, kind = struct.unpack_from("=HH", data)
        found[kind & 0x3FFF] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


class Kernel:
    def __init__(self):
        self.told = []

    def one(self, request):
        message = request.message
        message.reset()
        message.encode()
        data = bytes(message.data)
        assert data[16:18] == bytes((1, 1)), "WG_CMD_SET_DEVICE, version 1"
        found = attributes(data[20:])
        assert found.pop(2) == b"weave-wg\0"
        self.told.append(found)


@pytest.fixture
def kernel():
    interface = object.__new__(wireguard._Kernel)
    from pyroute2.netlink.generic.wireguard import wgmsg

    interface._message, interface._family, interface._netlink = wgmsg, 30, cast(Any, Kernel())
    return interface


def test_a_key_and_a_port(kernel):
    kernel.set_key(KEY, 6785)
    assert kernel._netlink.told == [{3: KEY, 5: b"\1\0\0\0", 6: struct.pack("=H", 6785)}]


@pytest.mark.parametrize(
    ("peer", "endpoint"),
    [
        (PEER, struct.pack("=H", socket.AF_INET) + struct.pack("!H", 6785) + bytes((192, 0, 2, 2)) + bytes(8)),
        (
            SIX,
            struct.pack("=H", socket.AF_INET6)
            + struct.pack("!H", 6786)
            + bytes(4)
            + socket.inet_pton(socket.AF_INET6, "2001:db8::2")
            + bytes(4),
        ),
    ],
)
def test_a_peer(kernel, peer, endpoint):
    kernel.add(peer)
    ((kinds),) = (list(told) for told in kernel._netlink.told)
    assert kinds == [8]
    (fields,) = attributes(kernel._netlink.told[0][8]).values()
    told = attributes(fields)
    assert told[1] == peer.key and told[3] == b"\2\0\0\0" and told[4] == endpoint and 5 not in told
    (allowed,) = attributes(told[9]).values()
    packed = socket.inet_pton(socket.AF_INET6, peer.address)
    assert attributes(allowed) == {1: struct.pack("=H", socket.AF_INET6), 2: packed, 3: b"\x80"}


def test_a_peer_that_goes(kernel):
    kernel.remove(KEY)
    (fields,) = attributes(kernel._netlink.told[0][8]).values()
    assert attributes(fields) == {1: KEY, 3: b"\1\0\0\0"}


class Recorder:
    def __init__(self):
        self.did = []

    def set_key(self, private, port):
        assert len(private) == 32 and port == 6785

    def add(self, peer):
        self.did.append(("add", peer))

    def remove(self, key):
        self.did.append(("remove", key))


def test_only_what_changes_is_told_so_that_a_roaming_endpoint_is_kept():
    interface = Recorder()
    device = wireguard.WireGuard(interface, "kernel")
    device.set_peers(SetSecurePeers((PEER,)))
    device.set_peers(SetSecurePeers((PEER, SIX)))
    moved = SecurePeer(PEER.address, OTHER, PEER.endpoint)
    device.set_peers(SetSecurePeers((moved,)))
    assert interface.did == [("add", PEER), ("add", SIX), ("remove", KEY), ("remove", OTHER), ("add", moved)]
    assert device.peers == 1 and device.public != wireguard.WireGuard(interface, "kernel").public


def test_addresses_within_the_tunnel():
    first, second = tunnel_address("02:00:00:00:00:01"), tunnel_address("02:00:00:00:00:02")
    assert first != second and in_tunnel(first) and socket.inet_pton(socket.AF_INET6, first)
    assert not any(map(in_tunnel, ("192.0.2.1", "2001:db8::1", "fe80::1%eth0", "")))

"""Sizes and names that all hosts of an overlay must agree on."""

import pytest

from overlay.config import Config
from overlay.datapath.vxlan import (
    ALL_PATHS,
    BRIDGE,
    CLEAR_PATHS,
    VXLAN_DEVICE,
    Path,
    overlay_mtu,
    stable_mac,
    veth_names,
    vxlan_plan,
)
from overlay.errors import ConfigError

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"


@pytest.mark.parametrize(
    ("underlay", "paths", "mtu"),
    [
        (1500, (Path.VXLAN_IPV4,), 1450),
        (1500, (Path.VXLAN_IPV6,), 1430),
        (1500, (Path.VXLAN_IPV4, Path.TUNNEL_IPV4), 1418),
        (1500, CLEAR_PATHS, 1398),
        (9000, CLEAR_PATHS, 8898),
        (1382, CLEAR_PATHS, 1280),
        (1500, (Path.WIREGUARD_IPV4,), 1370),
        (1500, ALL_PATHS, 1350),
        (1 << 20, ALL_PATHS, 65535),
    ],
)
def test_the_costliest_path_decides_the_mtu(underlay, paths, mtu):
    assert overlay_mtu(underlay, paths) == mtu


def test_an_underlay_too_small_is_refused_with_the_numbers():
    with pytest.raises(ConfigError, match=r"1300 leaves 1198 .* at least 1280"):
        overlay_mtu(1300)


def test_a_configured_mtu_overrides_the_sum():
    config = Config(name=A, nickname="a")
    assert vxlan_plan(config, 1500).mtu == 1398
    assert vxlan_plan(Config(name=A, nickname="a", mtu=1200), 1300).mtu == 1200


@pytest.mark.parametrize(("underlay", "mtu"), [(1500, 1350), (9000, 8850), (1400, 1280), (1382, 1280)])
def test_a_password_leaves_room_for_wireguard_where_there_is_room(underlay, mtu):
    assert vxlan_plan(Config(name=A, nickname="a", password="word"), underlay).mtu == mtu


def test_plain_vxlan_is_closed_with_a_password_unless_a_subnet_is_trusted():
    def opened(**options):
        return vxlan_plan(Config(name=A, nickname="a", **options), 1500).open

    assert opened() and opened(password="word", trusted_subnets=("10.0.0.0/8",)) and not opened(password="word")


def test_the_bridges_mac_tells_the_peers_name_where_it_can():
    assert vxlan_plan(Config(name="02:00:00:00:00:01", nickname="a"), 1500).bridge_mac == "02:00:00:00:00:01"
    group = "03:00:00:00:00:01"  # a multicast MAC, which no interface may have
    assert vxlan_plan(Config(name=group, nickname="a"), 1500).bridge_mac == stable_mac(group, BRIDGE)


def test_macs_are_stable_distinct_local_and_unicast():
    macs = [stable_mac(peer, f"svc{n}") for peer in (A, B) for n in range(500)]
    assert len(set(macs)) == 1000
    assert stable_mac(A, "svc1") == macs[1]
    for mac in macs:
        octets = bytes.fromhex(mac.replace(":", ""))
        assert len(octets) == 6 and octets[0] & 0x03 == 0x02


def test_device_names_fit_the_kernel():
    outer, inner = veth_names("04d37c6f7781" * 5)
    assert len(outer) == len(inner) == 15 and outer != inner and outer.startswith("vethwe")
    assert veth_names("other") != (outer, inner)
    assert len(VXLAN_DEVICE) <= 15

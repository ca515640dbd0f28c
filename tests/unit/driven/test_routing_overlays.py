"""What drivers of yggdrasil, babel, bgp_evpn and swarm tell their daemons, and what they read of their answers."""

import json
from ipaddress import IPv6Network

import pytest

from lab.kinds.overlays import OVERLAYS
from lab.overlays import babel, bgp_evpn, swarm, yggdrasil


def test_yggdrasil_listens_as_its_peers_are_dialled_and_searches_for_nobody() -> None:
    keys = {"Scheme": "tcp", "PublicKey": "aa", "PrivateKey": "bb"}
    config = json.loads(yggdrasil.config_text(keys, ["tcp://192.0.2.2:9001"]))
    assert config["Listen"] == ["tcp://[::]:9001"] and config["Peers"] == ["tcp://192.0.2.2:9001"]
    assert config["MulticastInterfaces"] == [] and (config["PublicKey"], config["PrivateKey"]) == ("aa", "bb")


def test_yggdrasil_gives_a_container_the_address_that_it_had() -> None:
    prefix = IPv6Network("300:1:2:3::/64")
    first, second = (yggdrasil.address_in(prefix, taken, "") for taken in (0, 1))
    assert (first, second) == ("300:1:2:3::2/64", "300:1:2:3::3/64")
    assert yggdrasil.address_in(prefix, 2, first) == first
    # The container has come from another host.
    assert yggdrasil.address_in(prefix, 2, "300:9::2/64") == "300:1:2:3::4/64"


def test_yggdrasil_names_peers_by_their_keys() -> None:
    names = {"aa": "a", "bb": "b"}
    answer = {"peers": [{"key": "bb"}, {"key": "stranger"}, {"key": "bb"}]}
    assert yggdrasil.peers_among(answer, names) == ("b",)
    assert yggdrasil.peers_among([], names) == yggdrasil.peers_among({"peers": ["aa"]}, names) == ()


def test_babel_announces_one_prefix_and_believes_its_range() -> None:
    lines = babel.conf_text("10.32.0.0/12", "10.32.1.0/24", 4).splitlines()
    assert lines == [
        "interface babel0 type tunnel split-horizon false hello-interval 4",
        "in ip 10.32.0.0/12 allow",
        "in deny",
        "redistribute ip 10.32.1.0/24 eq 24 allow",
        "redistribute local deny",
        "redistribute deny",
    ]


def test_babel_floods_to_its_peers_and_no_others() -> None:
    shown = (
        "02:42:0a:20:01:01 dev babel0 dst 192.0.2.9 self\n"
        "00:00:00:00:00:00 dev babel0 dst 192.0.2.2 self permanent\n"
        "00:00:00:00:00:00 dev babel0 dst 192.0.2.3 self permanent\n"
        "33:33:00:00:00:01 dev babel0 self permanent\n"
    )
    assert babel.flood_changes(shown, ["192.0.2.3", "192.0.2.4"]) == [
        "bridge fdb del 00:00:00:00:00:00 dev babel0 dst 192.0.2.2",
        "bridge fdb append 00:00:00:00:00:00 dev babel0 dst 192.0.2.4",
    ]
    assert babel.flood_changes(shown, ["192.0.2.2", "192.0.2.3"]) == []


def test_babel_reaches_hosts_to_whose_prefix_there_is_a_route() -> None:
    routes = [{"dst": "10.32.1.0/24"}, {"dst": "10.32.2.0/24", "type": "unreachable"}, {"dst": "default"}]
    assert babel.peers_behind(routes, {"10.32.1.0/24": "a", "10.32.2.0/24": "b"}) == ("a",)


def test_bgpd_has_each_peer_in_the_fabric_and_announces_all_vnis() -> None:
    text = bgp_evpn.bgpd_text("a", "10.255.0.1", "/root/log", ["192.0.2.2", "192.0.2.3"], bfd=False)
    assert text.startswith("frr defaults datacenter\n") and " bfd" not in text
    assert " neighbor 192.0.2.2 peer-group fabric\n neighbor 192.0.2.3 peer-group fabric\n" in text
    assert " address-family l2vpn evpn\n  neighbor fabric activate\n  advertise-all-vni\n" in text
    assert " neighbor fabric bfd\n" in bgp_evpn.bgpd_text("a", "10.255.0.1", "/root/log", [], bfd=True)


def test_bgpd_is_told_of_peers_that_come_and_go() -> None:
    assert bgp_evpn.peering_changes(["192.0.2.2", "192.0.2.3"], ["192.0.2.3", "192.0.2.4"]) == [
        "no neighbor 192.0.2.2 peer-group fabric",
        "neighbor 192.0.2.4 peer-group fabric",
    ]
    assert bgp_evpn.peering_changes(["192.0.2.2"], ["192.0.2.2"]) == []


def test_bgpd_reaches_hosts_with_an_open_session() -> None:
    summary = {"peers": {"192.0.2.2": {"state": "Established"}, "192.0.2.3": {"state": "Active"}, "192.0.2.9": None}}
    assert bgp_evpn.established(summary, {"192.0.2.2": "b", "192.0.2.3": "c", "192.0.2.9": "d"}) == ("b",)
    assert bgp_evpn.established({}, {"192.0.2.2": "b"}) == ()


def test_swarm_reads_addresses_and_nodes() -> None:
    networks = {"bridge": {"IPAddress": "172.17.0.2"}, "overlay-lab": {"IPAddress": "10.32.0.5", "IPPrefixLen": 12}}
    assert swarm.address_among(networks) == "10.32.0.5/12"
    assert swarm.address_among({"overlay-lab": {"IPAddress": ""}}) == swarm.address_among(None) == ""
    nodes = [{"Status": {"State": state, "Addr": f"192.0.2.{n}"}} for n, state in enumerate(("ready", "down", "ready"))]
    assert swarm.ready_hosts(nodes, {"192.0.2.0": "a", "192.0.2.1": "b"}) == ("a",)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("yggdrasil", {"transport": "tcp", "mtu": 65535}, {"transport": "udp"}),
        ("babel", {"hello": 1, "iprange": "10.0.0.0/8"}, {"hello": 0}),
        ("bgp_evpn", {"bfd": True}, {"bfd": 1}),
        ("swarm", {"managers": 3}, {"managers": True}),
    ],
)
def test_values_of_options_are_looked_at(name: str, good: dict[str, int | str], bad: dict[str, int | str]) -> None:
    kind = OVERLAYS.get(name)
    assert list(kind.option_faults(good)) == []
    [fault] = kind.option_faults(bad)
    assert fault.key in bad and not fault.unknown


def test_swarm_says_where_it_runs() -> None:
    kind = OVERLAYS.get("swarm")
    assert kind.not_on("dind") == "" and OVERLAYS.get("babel").not_on("netns") == ""
    assert kind.not_on("netns") == "overlay.kind: hosts of netns do not have what swarm needs; use dind or vagrant"

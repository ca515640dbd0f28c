"""What drivers of Debian's overlays write for their programs, and which options they take."""

import json
import subprocess
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.contracts.driver import DriverFault, DriverPeer, DriverPlace
from lab.driven.kit import HOSTS, own_address
from lab.driven.overlay import DrivenOverlay
from lab.kinds.overlays import OVERLAYS
from lab.overlays import fastd, n2n, nebula, wireguard
from lab.overlays.tinc import TincDriver

B = DriverPeer(name="b", address="192.0.2.2", prefix="10.32.1.0/24", card="B=")
SIX = DriverPeer(name="six", address="2001:db8::3", prefix="10.32.2.0/24", card="C=")
PLACE = DriverPlace(
    host="b",
    address="192.0.2.2",
    hosts={"a": "192.0.2.1", "b": "192.0.2.2"},
    directory="/root/overlay",
    subnet="10.32.0.0/12",
    prefix="10.32.1.0/24",
)


def test_wireguard_has_the_peers_prefix_behind_its_key() -> None:
    assert wireguard.config("A=", [B], 0) == (
        "[Interface]\nPrivateKey = A=\nListenPort = 51820\n\n"
        "[Peer]\nPublicKey = B=\nAllowedIPs = 10.32.1.0/24\nEndpoint = 192.0.2.2:51820\n"
    )
    tuned = wireguard.config("A=", [B, SIX], 1)
    assert "Endpoint = [2001:db8::3]:51820\n" in tuned and tuned.count("PersistentKeepalive = 1\n") == 2


def test_wireguard_reaches_those_with_a_handshake_of_the_last_minutes() -> None:
    shown = "B=\t900\nC=\t0\nstranger=\t1000\n"
    assert wireguard.fresh(shown, [B, SIX], 1000) == ("b",)
    assert wireguard.fresh(shown, [B, SIX], 1080) == ()


def test_nebula_routes_prefixes_by_addresses_of_another_range() -> None:
    said = json.loads(nebula.config("/d", [B], {"b": "100.64.0.2"}, {"mtu": 1300}))
    assert said["static_host_map"] == {"100.64.0.2": ["192.0.2.2:4242"]}
    assert said["tun"] == {
        "dev": "nebula1",
        "mtu": 1300,
        "unsafe_routes": [{"route": "10.32.1.0/24", "via": "100.64.0.2"}],
    }
    assert said["pki"]["ca"] == "/d/bundle.crt" and said["listen"]["host"] == "0.0.0.0" and "timers" not in said
    tuned = json.loads(nebula.config("/d", [SIX], {"six": "100.64.0.3"}, {"mtu": 1440, "alive": 1, "deletion": 2}))
    assert tuned["timers"] == {"connection_alive_interval": 1, "pending_deletion_interval": 2}
    assert tuned["static_host_map"] == {"100.64.0.3": ["[2001:db8::3]:4242"]} and tuned["listen"]["host"] == "[::]"


def test_n2n_asks_the_supernode_on_the_first_host() -> None:
    words = n2n.edge_command(PLACE, 1400).split()
    options = dict(zip(words[2:-1:2], words[3::2], strict=True))
    assert options["-l"] == "192.0.2.1:7654" and options["-a"] == "100.64.0.2" and words[-1] == "-r"
    assert options["-m"].startswith("02:6e:") and options["-M"] == "1400" and options["-s"] == "255.255.255.0"


def test_fastd_knows_a_peer_by_key_and_address() -> None:
    assert fastd.peer_file(B) == 'key "B=";\nremote 192.0.2.2:10000;\n'
    assert fastd.peer_file(SIX) == 'key "C=";\nremote [2001:db8::3]:10000;\n'
    text = fastd.config("/d", "s", "null", 1434, "overlay0")
    for line in ('method "null";', "mtu 1434;", 'include peers from "/d/peers";', 'secret "s";'):
        assert line in text.splitlines()


def test_hosts_have_addresses_of_a_range_that_nobody_else_uses() -> None:
    assert [own_address(PLACE, host, HOSTS) for host in PLACE.hosts] == ["100.64.0.1", "100.64.0.2"]
    for changed in ({"subnet": "100.64.0.0/10"}, {"hosts": {"b": "100.64.7.7"}}):
        fields = {name: getattr(PLACE, name) for name in PLACE.__struct_fields__}
        with pytest.raises(DriverFault, match=r"addresses of 100\.64\.0\.0/16, which overlaps"):
            own_address(DriverPlace(**{**fields, **changed}), "b", HOSTS)


@pytest.mark.parametrize(
    ("overlay", "options", "expected"),
    [
        ("wireguard", {"device": "carnel"}, "auto or kernel or wireguard-go"),
        ("wireguard", {"keepalive": -1}, "a whole number from 0 to 65535"),
        ("wireguard", {"keep": 1}, "one of iprange, mtu, keepalive, device"),
        ("fastd", {"encryption": 0}, "true or false"),
        ("nebula", {"mtu": True}, "a whole number from 576 to 9000"),
        ("nebula", {"iprange": "fd00::/64"}, "a range of IPv4 as 10.32.0.0/12"),
        ("n2n", {"iprange": "10.32.0.0/99"}, "a range of IPv4 as 10.32.0.0/12"),
    ],
)
def test_an_option_that_means_nothing_is_refused(overlay: str, options: dict[str, int | str], expected: str) -> None:
    (fault,) = OVERLAYS.get(overlay).option_faults(options)
    assert fault.expected == expected


@pytest.mark.parametrize(
    ("overlay", "options"),
    [
        ("wireguard", {"device": "kernel", "keepalive": 1, "iprange": "fd00::/48"}),
        ("nebula", {"mtu": 1440, "alive": 1, "deletion": 2}),
        ("fastd", {"encryption": False, "mtu": 1400}),
        ("n2n", {"mtu": 1300, "iprange": "10.40.0.0/16"}),
    ],
)
def test_tuned_variants_are_taken(overlay: str, options: dict[str, bool | int | str]) -> None:
    assert not list(OVERLAYS.get(overlay).option_faults(options))


def test_variants_have_options_that_their_overlays_take() -> None:
    variants = [(kind.name, options) for kind in OVERLAYS for options in kind.variants.values()]
    assert {"nebula", "tinc", "vxlan", "weave", "wireguard", "swarm"} <= {name for name, _ in variants}
    for name, options in variants:
        assert options and not list(OVERLAYS.get(name).option_faults(options)), (name, options)


def test_tinc_tests_and_dials_peers_as_often_as_it_is_told() -> None:
    host: Any = None
    fields = {name: getattr(PLACE, name) for name in PLACE.__struct_fields__}
    told = TincDriver(host, DriverPlace(**{**fields, "options": {"ping": 5, "retry": 6}}))._conf()
    assert told.splitlines()[-2:] == ["PingInterval = 5", "MaxTimeout = 6"]
    assert "PingInterval" not in TincDriver(host, PLACE)._conf()


@pytest.mark.parametrize(
    ("subnet", "prefixes"),
    [
        ("10.32.0.0/12", ["10.32.0.0/24", "10.32.1.0/24"]),
        ("fd00:32::/48", ["fd00:32::/64", "fd00:32:0:1::/64"]),
        ("10.32.0.0/24", ["10.32.0.0/24", ""]),
    ],
)
def test_each_host_has_a_prefix_of_the_range_while_there_are_some(subnet: str, prefixes: list[str]) -> None:
    lab: Any = SimpleNamespace(hosts={"a": None, "b": None})
    scenario: Any = None
    make: Any = None
    overlay = DrivenOverlay(lab, scenario, "test", make, ip_network(subnet))
    assert [overlay._prefix_of(host) for host in lab.hosts] == prefixes


def test_the_set_up_installs_what_overlays_need() -> None:
    root = Path(__file__).resolve().parents[3]
    text = (root / ".ci/setup").read_text().partition("    overlays)\n")[2].partition(";;")[0]
    packages = {line.split()[2] for line in text.splitlines() if line.strip().startswith("needs ")}
    wanted = {package for kind in OVERLAYS for package in kind.programs.values()}
    assert wanted <= packages
    assert subprocess.run(["sh", "-n", root / ".ci/setup"], check=False).returncode == 0

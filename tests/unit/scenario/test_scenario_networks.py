"""Networks of a scenario: which are refused, which are named, and where hosts stand in small ones."""

import ipaddress
from pathlib import Path

import pytest

from lab.scenario.engine_pools import bridge_of, first_free
from lab.scenario.load import ScenarioError, parse, read
from lab.scenario.resolve import Resolved, resolve


def text(underlay: str, rest: str = "") -> str:
    return f"version: 1\nunderlay: {underlay}\n{rest}timeline: [wait: 1s]\n"


def problems(underlay: str, rest: str = "") -> str:
    with pytest.raises(ScenarioError) as raised:
        parse(text(underlay, rest), "x.yaml")
    return str(raised.value)


def resolved(underlay: str, rest: str = "") -> Resolved:
    return resolve(parse(text(underlay, rest)))


def lan(subnet: str, hosts: str = "{a: {}, b: {}}", more: str = "") -> str:
    return f"{{networks: {{lan: {{subnet: '{subnet}'}}}}, hosts: {hosts}{more}}}"


@pytest.mark.parametrize(
    ("subnet", "why"),
    [
        ("127.8.0.0/16", "loopback"),
        ("224.8.0.0/16", "multicast"),
        ("0.0.0.0/0", "this network"),
        ("255.255.255.252/30", "broadcast"),
        ("169.254.0.0/16", "link-local"),
        ("128.0.0.0/1", "link-local"),
        ("::1/128", "loopback"),
        ("::/64", "unspecified"),
        ("ff00::/64", "multicast"),
        ("fe80::/64", "link-local"),
        ("::ffff:a00:0/120", "written as IPv6"),
    ],
)
def test_networks_that_no_host_can_be_in_are_refused(subnet: str, why: str) -> None:
    said = problems(lan(subnet))
    assert f"underlay.networks.lan.subnet: found {subnet}, expected a network that hosts can be in" in said
    assert why in said
    assert why in problems(f"{{generate: {{kind: ring, hosts: 3, subnet: '{subnet}'}}}}")


@pytest.mark.parametrize("address", ["127.0.0.5/8", "224.0.0.5/24", "0.0.0.1/8", "169.254.1.1/16", "ff02::5/64"])
def test_containers_have_no_such_address_either(address: str) -> None:
    said = problems("{hosts: {a: {}}}", f"services: {{svc: {{command: [x], address: '{address}'}}}}\n")
    assert "services.svc.address" in said


@pytest.mark.parametrize(
    ("subnet", "addresses"),
    [
        ("10.9.0.0/30", ["10.9.0.1", "10.9.0.2"]),
        ("10.9.0.0/31", ["10.9.0.0", "10.9.0.1"]),
        ("fd00::/127", ["fd00::", "fd00::1"]),
        ("fd00::/126", ["fd00::1", "fd00::3"]),
    ],
)
def test_two_hosts_fill_a_network_of_two(subnet: str, addresses: list[str]) -> None:
    one, two = addresses
    explicit = resolved(lan(subnet, f"{{a: {{address: '{one}'}}, b: {{address: '{two}'}}}}"))
    assert [host.address for host in explicit.hosts.values()] == addresses
    assigned = [host.address for host in resolved(lan(subnet)).hosts.values()]
    assert len({*assigned}) == 2 and all(ipaddress.ip_address(one) in ipaddress.ip_network(subnet) for one in assigned)


def test_a_host_alone_has_the_one_address_there_is() -> None:
    assert resolved(lan("10.9.0.7/32", "{a: {}}")).hosts["a"].address == "10.9.0.7"
    assert "expected room for 2: 10.9.0.7/32 has 1, hosts and routers" in problems(lan("10.9.0.7/32"))


def test_routers_need_room_too() -> None:
    hosts = "{" + ", ".join(f"h{n}: {{network: lan}}" for n in range(5)) + ", z: {network: wan}}"
    networks = "{lan: {subnet: 10.9.0.0/29}, wan: {subnet: 10.8.0.0/24}}"
    routers = "{r: {networks: [lan, wan]}, s: {networks: [lan, wan]}}"
    said = problems(f"{{networks: {networks}, hosts: {hosts}, routers: {routers}}}")
    assert "underlay.networks.lan.subnet: found 10.9.0.0/29, expected room for 7: 10.9.0.0/29 has 6" in said
    one = resolved(f"{{networks: {networks}, hosts: {hosts}, routers: {{r: {{networks: [lan, wan]}}}}}}")
    assert one.routers["r"].interfaces[0].address == "10.9.0.1"


def test_routers_of_a_generated_underlay_are_looked_at_too() -> None:
    said = problems("{generate: {kind: ring, hosts: 3}, routers: {r: {networks: [lan, wan]}}}")
    assert "found 'wan', expected a network: lan" in said


def test_the_first_and_the_last_address_of_a_network_are_nobodys() -> None:
    assert "not the network address" in problems(lan("10.9.0.0/30", "{a: {address: 10.9.0.0}}"))
    assert "not the broadcast address" in problems(lan("10.9.0.0/30", "{a: {address: 10.9.0.3}}"))
    assert resolved(lan("fd00::/64", "{a: {address: 'fd00::ffff:ffff:ffff:ffff'}}")).hosts["a"].address


def test_a_default_range_within_the_underlay_is_refused_and_a_chosen_one_named(tmp_path: Path) -> None:
    said = problems(lan("10.0.0.0/8"))
    assert "expected a subnet apart from 10.32.0.0/12" in said and "iprange" in said
    assert "10.32.0.0/12" in problems("{generate: {kind: ring, hosts: 3, subnet: 10.40.0.0/16}}")
    assert resolved(lan("10.0.0.0/8"), "overlay: none\n")
    file = tmp_path / "x.yaml"
    options = "overlay: {options: {iprange: 10.0.0.0/24}}\n"
    services = "services: {svc: {command: [x], address: 10.0.0.2/24}}\n"
    file.write_text(text(lan("10.0.0.0/8"), options + services))
    found = read(file)
    assert [note.path for note in found.notes] == ["overlay.options", "services.svc.address"]
    assert found.notes[0].line == 3 and "overlaps the underlay's 10.0.0.0/8" in found.notes[0].text
    assert found.resolved is not None and found.resolved.to_json()["notes"] == [str(note) for note in found.notes]


def test_engines_take_the_next_pool_that_is_free() -> None:
    assert bridge_of(resolved(lan("192.168.0.0/24"))) == "172.17.0.1/16"
    assert bridge_of(resolved(lan("172.17.5.0/24"))) == "172.18.0.1/16"
    assert bridge_of(resolved(lan("172.16.0.0/12"))) == "192.168.0.1/20"
    ranged = resolved(lan("172.17.0.0/16"), "overlay: {options: {iprange: 172.18.4.0/24}}\n")
    assert bridge_of(ranged) == "172.19.0.1/16"
    everything = [ipaddress.ip_network("172.16.0.0/12"), ipaddress.ip_network("192.168.0.0/16")]
    assert first_free(everything) is None
    networks = "{a: {subnet: 172.16.0.0/12}, b: {subnet: 192.168.0.0/16}}"
    assert "that leave Docker's engines" in problems(f"{{networks: {networks}, hosts: {{h: {{network: a}}}}}}")

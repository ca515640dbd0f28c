"""The overlay as the engine's own network and IPAM driver, on two hosts with a real Docker Engine."""

import json
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest
from docker_hosts import BUSYBOX, DockerHost, need_docker
from overlay_hosts import eventually, underlay
from spoofed_frames import ethernet, heard, ipv4, mac_of, udp

Pair = tuple[DockerHost, DockerHost]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    need_docker()
    with underlay(DockerHost) as made:
        hosts = made.host("orion", 2), made.host("macbook", 3)
        for host in hosts:
            assert isinstance(host, DockerHost)
            host.load_images()
            host.weave("launch", "--plugin")
            host.docker("network", "create", "-d", "weave", "--ipam-driver", "weave", "--subnet", "10.40.0.0/24", "net")
        hosts[0].weave("connect", hosts[1].address)
        yield hosts  # type: ignore[misc]


def start(host: DockerHost, name: str, *flags: str) -> str:
    """A container on the plugin's network; its address there."""
    dns = host.weave("dns-args").stdout.split()
    host.docker("run", "-d", "--name", name, "--net", "net", *dns, *flags, BUSYBOX, "sleep", "1000")
    (found,) = json.loads(host.docker("inspect", name).stdout)
    address: str = found["NetworkSettings"]["Networks"]["net"]["IPAddress"]
    return address


def reaches(host: DockerHost, container: str, target: str) -> bool:
    return host.docker("exec", container, "ping", "-c1", "-W1", target, check=False).returncode == 0


def test_networks_span_hosts_with_names_and_survive_kills(pair: Pair) -> None:
    one, two = pair
    first = start(one, "web1", "--network-alias", "web")
    second = start(two, "web2", "--network-alias", "web")
    assert first != second and first.startswith("10.40.0.") and second.startswith("10.40.0.")
    eventually(lambda: reaches(one, "web1", second), what="over both hosts")
    eventually(lambda: reaches(two, "web2", "web1.weave.local"), what="by name")
    eventually(
        lambda: sorted(one.weave("dns-lookup", "web", check=False).stdout.split()) == sorted((first, second)),
        what="the service's name leads to both",
    )
    taken = two.docker("run", "--rm", "--net", "net", "--ip", first, BUSYBOX, "true", check=False)
    assert taken.returncode == 125 and first in taken.stderr

    one.kill_daemon()
    assert reaches(one, "web1", second)
    one.weave("launch", "--plugin")
    eventually(lambda: reaches(two, "web2", "web1.weave.local"), what="announced again")

    one.docker("rm", "-f", "web1")
    two.docker("rm", "-f", "web2")
    for host in pair:
        eventually(lambda host=host: host.booked() == {}, what="every address is given back")  # type: ignore[misc]
    assert one.weave("dns-lookup", "web", check=False).returncode == 1
    again = start(one, "later")
    one.docker("stop", "-t0", "later")
    one.docker("start", "later")
    eventually(lambda: reaches(one, "later", again) or bool(one.attached()), what="it runs again")
    one.docker("rm", "-f", "later")


def test_an_address_that_goes_to_another_container_is_reached_at_once(pair: Pair) -> None:
    """The endpoint's MAC is another one, and the clients have that of the first in their caches."""
    one, two = pair
    address = start(one, "first")
    start(one, "near")
    start(two, "far")
    clients = ((one, "near"), (two, "far"))
    for host, client in clients:
        eventually(lambda host=host, client=client: reaches(host, client, address), what=f"{client} knows its MAC")
    before = mac_of(one, "first", "ethwe0")
    one.docker("rm", "-f", "first")
    assert start(one, "second", "--ip", address) == address and mac_of(one, "second", "ethwe0") != before
    for host, client in clients:
        eventually(lambda host=host: knows(host, mac_of(one, "second", "ethwe0")), what="its router knows")
        assert reaches(host, client, address) or reaches(host, client, address), client
    one.docker("rm", "-f", "second", "near")
    two.docker("rm", "-f", "far")


def knows(host: DockerHost, mac: str) -> bool:
    return any(entry["mac"] == mac for entry in json.loads(host.weave("report").stdout)["endpoints"]["entries"])


def test_ports_are_guarded_unless_the_network_allows_spoofing(pair: Pair) -> None:
    one, _ = pair
    driver = ("-d", "weave", "--ipam-driver", "weave")
    free = ("-o", "works.weave.allow-spoofing=true")
    refused = one.docker("network", "create", *driver, "-o", "works.weave.allow-spoofing=perhaps", "bad", check=False)
    assert refused.returncode and "expected true or false" in refused.stderr
    one.docker("network", "create", *driver, *free, "--subnet", "10.41.0.0/24", "free")
    address = start(one, "guarded")
    start(one, "ear")
    one.docker("run", "-d", "--name", "open", "--net", "free", BUSYBOX, "sleep", "1000")
    for life in ("first", "second"):
        for name in ("guarded", "open"):
            mac = mac_of(one, name, "ethwe0")
            frames = {"stolen": ethernet(mac, 0x0800, ipv4("10.40.0.250", 17, udp(5000, 5001)))}
            if name == "guarded":
                frames |= {"own": ethernet(mac, 0x0800, ipv4(address, 17, udp(5000, 5001)))}
            expected = ["own"] if name == "guarded" else ["stolen"]
            assert heard(one, name, frames, one, "ear", interface="ethwe0") == expected, (life, name)
        one.kill_daemon()
        one.weave("launch", "--plugin")
    one.docker("rm", "-f", "guarded", "open", "ear")
    one.docker("network", "rm", "free")


def test_an_engines_restart_finds_its_networks_again(pair: Pair) -> None:
    one, two = pair
    start(one, "stays", "--restart", "always")
    target = start(two, "target")
    one.end_engine()
    one.start_engine()
    eventually(lambda: reaches(one, "stays", target), 30, "on the network again")
    one.docker("rm", "-f", "stays")
    two.docker("rm", "-f", "target")
    one.docker("network", "rm", "net")
    one.docker("network", "create", "-d", "weave", "--ipam-driver", "weave", "--subnet", "10.40.0.0/24", "net")
    for host in pair:
        eventually(lambda host=host: host.booked() == {}, what="every address is given back")  # type: ignore[misc]


def test_a_part_of_the_subnet_for_each_host(pair: Pair) -> None:
    """`--ip-range` says where addresses come from; their prefix length is the subnet's."""
    driver = ("network", "create", "-d", "weave", "--ipam-driver", "weave", "--subnet", "10.45.0.0/24")
    outside = pair[0].docker(*driver, "--ip-range", "10.46.0.0/25", "parted", check=False)
    assert outside.returncode and "10.46.0.0/25" in outside.stderr
    elsewhere = (*driver[:-1], "10.99.0.0/24")
    refused = pair[0].docker(*elsewhere, "parted", check=False)
    assert refused.returncode and "10.99.0.0/24 is not within the address range 10.32.0.0/12" in refused.stderr
    for host, part in zip(pair, ("10.45.0.0/25", "10.45.0.128/25"), strict=True):
        host.docker(*driver, "--ip-range", part, "parted")
        host.docker("run", "-d", "--name", "part", "--net", "parted", BUSYBOX, "sleep", "1000")
        (shown,) = json.loads(host.docker("inspect", "part").stdout)
        place = shown["NetworkSettings"]["Networks"]["parted"]
        assert ip_address(place["IPAddress"]) in ip_network(part) and place["IPPrefixLen"] == 24
        assert f"inet {place['IPAddress']}/24 " in host.docker("exec", "part", "ip", "addr", "show", "ethwe0").stdout
    eventually(lambda: reaches(pair[0], "part", place["IPAddress"]), what="from one part into the other")
    for host in pair:
        host.docker("rm", "-f", "part")
        host.docker("network", "rm", "parted")

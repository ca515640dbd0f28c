"""The overlay as the engine's own network and IPAM driver, on two hosts with a real Docker Engine."""

import json
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest
from docker_hosts import BUSYBOX, DockerHost, need_docker, reaches, two_hosts
from overlay_hosts import PYTHON, eventually
from spoofed_frames import ethernet, heard, ipv4, mac_of, udp

from overlay.plugin.requests import ADDRESS_SPACE

pytestmark = pytest.mark.turn(3)

Pair = tuple[DockerHost, DockerHost]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    need_docker()
    with two_hosts(DockerHost, ["--plugin"]) as hosts:
        for host in hosts:
            host.docker("network", "create", "-d", "weave", "--ipam-driver", "weave", "--subnet", "10.40.0.0/24", "net")
        yield hosts


def start(host: DockerHost, name: str, *flags: str) -> str:
    """A container on the plugin's network; its address there."""
    dns = host.weave("dns-args").stdout.split()
    host.docker("run", "-d", "--name", name, "--net", "net", *dns, *flags, BUSYBOX, "sleep", "1000")
    (found,) = json.loads(host.docker("inspect", name).stdout)
    address: str = found["NetworkSettings"]["Networks"]["net"]["IPAddress"]
    return address


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
    assert reaches(one, "web1", second, wait=30)
    one.weave("launch", "--plugin")
    eventually(lambda: reaches(two, "web2", "web1.weave.local"), what="announced again")

    one.docker("rm", "-f", "web1")
    two.docker("rm", "-f", "web2")
    for host in pair:
        eventually(lambda host=host: host.booked() == {}, what="every address is given back")
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
    eventually(lambda: reaches(one, "stays", target), what="on the network again")
    one.docker("rm", "-f", "stays")
    two.docker("rm", "-f", "target")
    one.docker("network", "rm", "net")
    one.docker("network", "create", "-d", "weave", "--ipam-driver", "weave", "--subnet", "10.40.0.0/24", "net")
    for host in pair:
        eventually(lambda host=host: host.booked() == {}, what="every address is given back")


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


def attach_peer(host: DockerHost, name: str, address: str) -> str:
    """A container that is on the overlay by `weave run` alone."""
    host.weave("run", address, "--name", name, BUSYBOX, "sleep", "1000")
    return address.partition("/")[0]


def routes(host: DockerHost, container: str) -> list[str]:
    """The container's routes, without those of the engine's bridge."""
    lines = host.inside(container, "ip", "-4", "route").stdout.splitlines()
    return sorted(" ".join(line.split()) for line in lines if "dev ethwe" in line)


def test_a_container_is_on_several_networks(pair: Pair) -> None:
    """As compose makes it (created, connected, started) and while it runs; multicast has one way out at most."""
    one, two = pair
    made = {"front": ("10.33.0.0/24", "true"), "back": ("10.34.0.0/24", "true"), "plain": ("10.35.0.0/24", "false")}
    for host in pair:
        for name, (subnet, multicast) in made.items():
            option = f"works.weave.multicast={multicast}"
            host.docker(
                *("network", "create", "-d", "weave", "--ipam-driver", "weave", "--subnet", subnet, "-o", option, name)
            )
    typo = ("network", "create", "-d", "weave", "-o", "works.weave.multicats=true", "typo")
    refused = one.docker(*typo, check=False)
    assert refused.returncode and "works.weave.multicast" in refused.stderr
    targets = []
    for name in made:
        two.docker("run", "-d", "--name", f"in-{name}", "--net", name, BUSYBOX, "sleep", "1000")
        (shown,) = json.loads(two.docker("inspect", f"in-{name}").stdout)
        targets.append(shown["NetworkSettings"]["Networks"][name]["IPAddress"])
    taken = [bool([line for line in routes(two, f"in-{name}") if "224.0.0.0/4" in line]) for name in made]
    assert taken == [True, True, False]

    one.docker("create", "--name", "both", "--net", "front", BUSYBOX, "sleep", "1000")
    one.docker("network", "connect", "back", "both")
    one.docker("start", "both")
    one.docker("network", "connect", "plain", "both")
    for target in targets:
        eventually(lambda target=target: reaches(one, "both", target), what=target)
    assert len([line for line in routes(one, "both") if "224.0.0.0/4" in line]) == 1
    one.docker("run", "-d", "--name", "late", "--net", "plain", BUSYBOX, "sleep", "1000")
    assert not [line for line in routes(one, "late") if "224.0.0.0/4" in line]
    one.docker("network", "connect", "front", "late")
    assert [line for line in routes(one, "late") if "224.0.0.0/4" in line]
    for host, names in ((one, ("both", "late")), (two, tuple(f"in-{name}" for name in made))):
        host.docker("rm", "-f", *names)
        host.docker("network", "rm", *made)


def test_a_container_of_the_proxy_joins_a_network(pair: Pair) -> None:
    """`ethwe` leads to all of the router's range, in which every subnet lies, and makes room for them."""
    one, two = pair
    one.weave("launch-proxy", "-H", f"unix://{one.disk}/w.proxy")
    far = attach_peer(two, "far", "10.46.3.2/12")
    near = start(two, "near")
    one.proxied("run", "-d", "--name", "web", "-e", "WEAVE_CIDR=10.46.3.1/12", BUSYBOX, "sleep", "1000")
    eventually(lambda: reaches(one, "web", far), what="as the proxy made it")
    before = routes(one, "web")
    id = one.docker("inspect", "-f", "{{.Id}}", "web").stdout.strip()
    two.docker("network", "create", "-d", "weave", "--ipam-driver", "weave", "--subnet", "10.41.0.0/24", "more")
    one.docker("network", "create", "-d", "weave", "--ipam-driver", "weave", "--subnet", "10.41.0.0/24", "more")
    two.docker("network", "connect", "more", "near")
    (shown,) = json.loads(two.docker("inspect", "near").stdout)
    nearer = shown["NetworkSettings"]["Networks"]["more"]["IPAddress"]
    for name in ("net", "more"):
        one.docker("network", "connect", name, "web")
    for target in (near, nearer, far):
        eventually(lambda target=target: reaches(one, "web", target), what=target)
    lines = one.weave("ps", id[:12]).stdout.splitlines()
    assert len(lines) == 3 and all(line.startswith(id[:12]) for line in lines)
    assert one.weave("ps", "web").stdout.splitlines() == lines
    eventually(
        lambda: sum(f"{id[:12]} " in line for line in two.weave("status", "dns").stdout.splitlines()) == 3,
        what="three addresses of one container",
    )
    assert "weave:plugin" not in two.weave("status", "dns").stdout + two.weave("ps").stdout
    one.kill_daemon()
    one.weave("launch", "--plugin")
    eventually(lambda: reaches(one, "web", near) and reaches(one, "web", far), what="after another life of the router")
    one.docker("network", "disconnect", "net", "web")
    eventually(lambda: reaches(one, "web", nearer) and reaches(one, "web", far), what="on one network less")
    one.docker("network", "disconnect", "more", "web")
    assert routes(one, "web") == before
    assert reaches(one, "web", far, wait=30)

    one.proxied("run", "-d", "--name", "amid", "-e", "WEAVE_CIDR=10.40.0.77/12", BUSYBOX, "sleep", "1000")
    refused = one.docker("network", "connect", "net", "amid", check=False)
    assert (
        refused.returncode
        and "10.40.0.77/12 on ethwe" in refused.stderr
        and "`weave detach 10.40.0.77/12 amid`" in refused.stderr
    )
    one.weave("detach", "10.40.0.77/12", "amid")
    one.docker("network", "connect", "net", "amid")
    eventually(lambda: reaches(one, "amid", near), what="what the sentence says")
    one.proxied(
        "run", "-d", "--name", "at-once", "--net", "net", "-e", "WEAVE_CIDR=10.46.3.3/12", BUSYBOX, "sleep", "1000"
    )
    eventually(lambda: reaches(one, "at-once", near) and reaches(one, "at-once", far), what="both from its start")
    left = two.weave("detach", "near", check=False)
    assert left.returncode and "docker network disconnect" in left.stderr
    one.weave("stop-proxy")
    one.docker("rm", "-f", "web", "amid", "at-once")
    two.docker("rm", "-f", "near", "far")
    for host in pair:
        host.docker("network", "rm", "more")


DEAF = """
import http.server, os, socketserver, sys
class Deaf(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
    def address_string(self):
        return "engine"
    def log_message(self, *_):
        pass
path = sys.argv[1]
if os.path.exists(path):
    os.unlink(path)
server = socketserver.ThreadingUnixStreamServer(path, Deaf)
print(os.getpid(), flush=True)
server.serve_forever()
"""


def test_what_was_removed_while_the_router_was_down_is_given_back(pair: Pair) -> None:
    """And what was not is found again, also by a router whose disk was lost."""
    one, two = pair
    gone, stays = start(one, "gone"), start(one, "stays")
    target = start(two, "target")
    eventually(lambda: reaches(two, "target", gone), what="it is there")
    assert len(one.sh("ip -o link show master weave").split("vethwel")) == 3
    one.kill_daemon()
    # In the router's place, so that the engine need not retry for 45 s.
    deaf = one.popen(PYTHON, "-c", DEAF, "/run/docker/plugins/weave.sock")
    assert deaf.stdout is not None
    pid = int(deaf.stdout.readline())
    one.docker("rm", "-f", "gone")
    one.sh(f"kill -9 {pid}")
    deaf.wait()
    one.weave("launch", "--plugin")
    eventually(lambda: gone not in str(one.booked()), what="its address is given back")
    eventually(lambda: one.weave("dns-lookup", "gone", check=False).stdout == "", what="nor has it a name")
    assert f"{gone}/" not in str(one.attached()) and f"{stays}/" in str(one.attached())
    links = one.sh("ip -o link")
    assert links.count("vethwel") == 1 and "vethweg" not in links, "nor a device"
    assert reaches(one, "stays", target, wait=30) and f"{stays}/" in str(one.booked())

    option = ("-o", "works.weave.multicast=true", "--subnet", "10.43.0.0/24")
    one.docker("network", "create", "-d", "weave", "--ipam-driver", "weave", *option, "loud")
    one.kill_daemon()
    one.sh(f'rm -rf "{one.disk}"/db/*')
    one.weave("launch", "--plugin", two.address)
    eventually(lambda: f"{stays}/" in str(one.booked()), 30, "adopted")
    eventually(lambda: reaches(two, "target", "stays.weave.local"), what="with its name")
    one.docker("run", "-d", "--name", "singer", "--net", "loud", BUSYBOX, "sleep", "1000")
    assert any("224.0.0.0/4" in line for line in routes(one, "singer")), "the network's options are known again"
    one.docker("rm", "-f", "singer")
    one.docker("network", "rm", "loud")
    one.docker("rm", "-f", "stays")
    two.docker("rm", "-f", "target")
    for host in pair:
        eventually(lambda host=host: host.booked() == {}, what="every address is given back")


def test_an_address_of_an_endpoint_that_died_with_its_host_can_be_claimed(pair: Pair) -> None:
    """As at a boot: the engine starts its container again, by the same `--ip`, before the router has looked around."""
    one, _ = pair

    def ask(call: str) -> dict[str, str]:
        body = json.dumps({"PoolID": f"{ADDRESS_SPACE}-10.40.0.0-24", "Address": "10.40.0.77"})
        post = ("curl", "-sS", "-X", "POST", "--unix-socket", "/run/docker/plugins/weave.sock", "-d", body)
        answer: dict[str, str] = json.loads(one.run(*post, f"http://plugin/IpamDriver.{call}").stdout)
        return answer

    ports = set(one.sh("ip -o link show master weave | cut -d: -f2 | cut -d@ -f1").split())
    start(one, "gone", "--ip", "10.40.0.77")
    (port,) = set(one.sh("ip -o link show master weave | cut -d: -f2 | cut -d@ -f1").split()) - ports
    one.kill_daemon()
    one.weave("launch", "--plugin")
    assert "in use" in ask("RequestAddress")["Err"]  # it lives
    one.sh(f"ip link del {port}")
    assert ask("RequestAddress")["Address"] == "10.40.0.77/24"
    assert "Err" not in ask("ReleaseAddress")
    one.docker("rm", "-f", "gone")


def test_the_network_weave_is_there(pair: Pair) -> None:
    """As in the original's guides: no network needs to be made, and its driver has another name too."""
    one, two = pair
    for host, name in ((one, "here"), (two, "there")):
        eventually(lambda host=host: "weave" in host.docker("network", "ls").stdout.split(), what="made")
        host.docker("run", "-d", "--name", name, "--net", "weave", BUSYBOX, "sleep", "1000")
    (shown,) = json.loads(two.docker("inspect", "there").stdout)
    place = shown["NetworkSettings"]["Networks"]["weave"]
    assert ip_address(place["IPAddress"]) in ip_network("10.32.0.0/12") and place["IPPrefixLen"] == 12
    eventually(lambda: reaches(one, "here", place["IPAddress"]), what="over both hosts")
    assert any("224.0.0.0/4" in line for line in routes(one, "here"))
    one.docker("network", "create", "-d", "weavemesh", "--ipam-driver", "weavemesh", "--subnet", "10.42.0.0/24", "own")
    one.docker("run", "--rm", "--net", "own", "--ip", "10.42.0.9", BUSYBOX, "true")
    one.docker("network", "rm", "own")
    one.docker("rm", "-f", "here")
    two.docker("rm", "-f", "there")
    one.weave("reset")
    assert "weave" not in one.docker("network", "ls", "--format", "{{.Name}}").stdout.split()
    sockets = one.sh("ls /run/docker/plugins")
    assert "weave" not in sockets

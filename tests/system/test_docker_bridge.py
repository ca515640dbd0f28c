"""An engine that runs with `--bridge=weave`: its containers have the overlay as their only network."""

import json
import signal

import pytest
from docker_hosts import BUSYBOX, DockerHost, need_docker, reaches
from overlay_hosts import eventually, underlay
from spoofed_frames import foreign_frames, heard, mac_of, own_frames

pytestmark = pytest.mark.turn(2)

VICTIM = "fd00:1::2"
FLAGS = ("--bridge=weave", "--fixed-cidr=10.40.1.0/25", "--mtu=1398", "--dns=10.40.1.100", "--dns-search=weave.local")


def test_the_overlay_is_the_only_network() -> None:
    need_docker()
    with underlay(DockerHost) as made:
        one, two = made.host("orion", 2), made.host("macbook", 3)
        assert isinstance(one, DockerHost) and isinstance(two, DockerHost)
        launch = ("launch", "--dns-listen-address", "10.40.1.100")
        one.weave(*launch)
        two.weave("launch")
        one.weave("connect", two.address)
        one.weave("expose", "10.40.1.100/24")
        one.end_engine(signal.SIGTERM)
        one.start_engine(*FLAGS)
        for host in (one, two):
            host.load_images()

        two.weave("run", "10.40.1.200/24", "--name", "far", BUSYBOX, "sleep", "1000")
        one.docker("run", "-d", "--name", "near", "--restart", "always", BUSYBOX, "sleep", "1000")
        eventually(lambda: reaches(two, "far", "near.weave.local"), what="announced, with its name")
        assert reaches(one, "near", "far.weave.local", wait=30)
        links = one.docker("exec", "near", "ip", "-o", "link").stdout
        assert "eth0" in links and "mtu 1398" in links and "ethwe" not in links
        (held,) = [held for owner, held in one.attached().items() if not owner.startswith("weave")]

        one.docker("run", "-d", "--name", "ear", BUSYBOX, "sleep", "1000")
        eventually(lambda: len(one.attached()) == 3, what="ear is announced")
        mac, address = mac_of(one, "near", "eth0"), held[0].partition("/")[0]
        own, foreign = own_frames(mac, address, "fe80::1"), foreign_frames(mac, address, "fe80::1", "10.40.1.9", VICTIM)
        assert heard(one, "near", own | foreign, one, "ear", interface="eth0") == list(own)
        one.docker("rm", "-f", "ear")
        eventually(lambda: len(one.attached()) == 2, what="ear is gone")

        one.kill_daemon()
        one.weave(*launch)
        eventually(lambda: reaches(two, "far", "near.weave.local"), what="after the router")
        one.end_engine()
        one.start_engine(*FLAGS)
        eventually(lambda: reaches(two, "far", "near.weave.local"), 30, what="after the engine")

        one.docker("rm", "-f", "near")
        eventually(lambda: list(one.booked()) == ["weave:expose"], what="its address is free")
        # By the API: no version of the command line names a MAC to every version of the engine.
        body = json.dumps({"Image": BUSYBOX, "Cmd": ["sleep", "1000"], "MacAddress": "02:42:0a:28:01:99"})
        post = ("curl", "-sS", "--fail-with-body", "--unix-socket", f"{one.disk}/d", "-X", "POST")
        kind = ("-H", "Content-Type: application/json", "-d", body)
        made = json.loads(one.run(*post, *kind, "http://engine/v1.41/containers/create").stdout)["Id"]
        one.docker("start", made)
        other = made[:12]
        eventually(lambda: one.attached().get(other) == held, what="the next one has the address")
        address = held[0].partition("/")[0]
        eventually(lambda: "02:42:0a:28:01:99" in two.weave("report").stdout, what="the other host knows its MAC")
        assert reaches(two, "far", address) or reaches(two, "far", address)  # which remembers near's MAC

"""Router, DNS and proxy as containers of overlay-lab/weave, on hosts that have nothing else of this project."""

import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from bare_hosts import SOCKET, BareHost, LegacyHost, Pings, load
from dind_labs import require_dind
from docker_hosts import BUSYBOX, need_docker, reaches
from overlay_hosts import eventually, underlay

from lab.images import router
from lab.images.archive import BuiltImage
from overlay.cli.container import PROXY_MAY, ROUTER_MAY

pytestmark = pytest.mark.turn(1)

Pair = tuple[BareHost, BareHost]


@pytest.fixture(scope="module")
def image() -> BuiltImage:
    need_docker()
    require_dind()
    return router.build(print)


@pytest.fixture(scope="module")
def bare() -> Iterator[Pair]:
    """Engines, with the images of the tests alone."""
    need_docker()
    require_dind()
    with underlay(BareHost) as made:
        one, two = made.host("orion", 2), made.host("macbook", 3)
        assert isinstance(one, BareHost) and isinstance(two, BareHost)
        for host in (one, two):
            host.load_images()
        yield one, two


@pytest.fixture(scope="module")
def loaded(bare: Pair, image: BuiltImage) -> Pair:
    with ThreadPoolExecutor() as threads:
        list(threads.map(partial(load, image), bare))
    return bare


@pytest.fixture(scope="module")
def pair(loaded: Pair) -> Pair:
    one, two = loaded
    for host in loaded:
        host.weave("launch", *((one.address,) if host is two else ()))
    one.weave("run", "10.0.1.1/24", "--name", "near", "--stop-timeout", "1", BUSYBOX, "sleep", "100000")
    two.weave("run", "10.0.1.2/24", "--name", "far", BUSYBOX, "sleep", "100000")
    eventually(lambda: reaches(two, "far", "near.weave.local"), what="by name, over both hosts")
    return one, two


def connected(host: BareHost) -> bool:
    url = "http://127.0.0.1:6784/status/connections"
    return "established" in host.run("curl", "-sS", "-m5", url, check=False).stdout


def test_the_image_is_the_same_each_time_and_small(image: BuiltImage) -> None:
    assert router.build(print, anew=True) == image
    assert image.size < 100e6  # as of November 2026: 91 MB, of which `cryptography` is 15 and Python 29


def test_an_image_that_is_not_there_is_not_pulled(bare: Pair) -> None:
    one, _ = bare
    missing = one.weave("launch", check=False)
    assert missing.returncode == 125 and "No such image: overlay-lab/weave" in missing.stderr
    assert "pull" not in (one.disk / "dockerd.log").read_text()  # it was not even tried


def test_what_does_not_start_leaves_nothing_and_the_password_is_in_no_list_of_processes(loaded: Pair) -> None:
    _, host = loaded
    cat = ("run", "--rm", "--pull", "never", "--entrypoint", "cat", "overlay-lab/weave", "/weave")
    assert host.docker(*cat).stdout == (router.FOLDER / "weave").read_text()  # as docs/install.md has it
    host.docker("create", "--name", "weave", BUSYBOX)
    foreign = host.weave("launch", check=False)
    assert foreign.returncode == 1 and "none of this overlay" in foreign.stderr
    host.docker("rm", "weave")
    wrong = host.weave("launch", "--host", "192.168.7.7", check=False)
    assert wrong.returncode == 1 and "192.168.7.7" in wrong.stderr
    assert host.state("weave") == ""
    for namespaces, lacks in ((("--pid", "host"), "CAP_SYS_PTRACE"), ((), "--pid=host")):
        by_hand = ("run", "--rm", "--net", "host", *namespaces, "-e", "WEAVE_INSIDE=router")
        volumes = ("-v", "/var/lib/weave:/var/lib/weave", "-v", f"{SOCKET}:{SOCKET}")
        done = host.docker(*by_hand, *volumes, "overlay-lab/weave", "launch", "--in-container", check=False)
        assert done.returncode == 1 and lacks in done.stderr

    host.weave("launch", "--password", "wPlsEcret", "--no-dns", "--no-restart")
    assert host.state("weave", "{{.HostConfig.RestartPolicy.Name}}") == "no"
    assert "wPlsEcret" not in host.sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert "Encryption: enabled" in host.weave("status").stdout
    host.weave("reset")
    assert host.docker("ps", "-aq").stdout == ""
    assert "weave" not in host.sh("ip -o link; nft list ruleset; iptables-save")
    assert host.sh("ls /var/lib/weave | grep state || true") == ""


def test_the_usual_commands_do_the_usual_things(pair: Pair) -> None:
    one, two = pair
    one.docker("update", "--restart", "no", "weave")  # as where a launch was killed in its last moment
    assert one.weave("launch").stderr.strip() == "the router runs already, with the same options"
    assert one.state("weave", "{{.HostConfig.RestartPolicy.Name}}") == "always"
    assert one.weave("expose", "10.0.1.100/24").stdout.strip() == "10.0.1.100"
    eventually(lambda: reaches(two, "far", "10.0.1.100"), what="the host itself")
    one.weave("hide", "10.0.1.100/24")

    one.docker("run", "-d", "--name", "late", BUSYBOX, "sleep", "1000")
    assert one.weave("attach", "10.0.1.7/24", "late").stdout.strip() == "10.0.1.7"
    eventually(lambda: reaches(two, "far", "10.0.1.7"), what="an attached one")
    assert one.weave("detach", "10.0.1.7/24", "late").stdout.strip() == "10.0.1.7"
    one.docker("rm", "-f", "late")

    for words, name in (
        (("status",), "Service: router"),
        (("status", "connections"), "established"),
        (("ps",), "10.0"),
    ):
        assert name in one.weave(*words).stdout
    assert one.weave("dns-lookup", "far").stdout.strip() == "10.0.1.2"
    assert "ok    kernel" in one.weave("check", check=False).stdout  # which takes more than other commands do


def test_the_proxy_puts_containers_on_the_overlay(pair: Pair) -> None:
    one, two = pair
    one.weave("launch-proxy")
    assert one.weave("env").stdout.startswith("export DOCKER_HOST=tcp://127.0.0.1:12375")
    one.proxied(
        "run", "-d", "--name", "web", "-h", "web.weave.local", "-e", "WEAVE_CIDR=10.0.1.8/24", BUSYBOX, "sleep", "1000"
    )
    hosts = one.docker("exec", "web", "cat", "/etc/hosts").stdout
    assert "10.0.1.8\tweb.weave.local" in hosts  # the engine's file, on the host
    eventually(lambda: reaches(two, "far", "web.weave.local"), what="by name")
    mode = one.sh("stat -c '%a %g' /run/weave/weave.sock").split()
    assert mode == ["660", one.sh("stat -c %g /run/docker.sock").strip()]

    one.weave("stop-proxy")
    assert one.state("weaveproxy") == "" and one.weave("env", check=False).returncode == 1
    assert "not running" in one.weave("stop-proxy").stderr
    one.docker("rm", "-f", "web")


def test_the_data_path_outlives_the_router_and_the_engine(pair: Pair) -> None:
    """`kill -9`, an orderly restart, and an engine that goes and takes the router along: no frame is lost."""
    one, two = pair
    with Pings(two, "far", "10.0.1.1"):
        one.kill_router()
        before = one.router()
        one.docker("restart", "weave", timeout=120)
        assert one.router() != before
        eventually(lambda: connected(one), 60, "connected again")

    one.weave("expose", "10.0.1.100/24")
    eventually(lambda: reaches(two, "far", "10.0.1.100"), what="the host itself")
    with Pings(two, "far", "10.0.1.100"):
        one.end_engine(signal.SIGTERM)
        assert one.run("pgrep", "-f", "bin/weave launch", check=False).returncode == 1
        one.start_engine()
        eventually(lambda: one.router() != 0, 60, "the router comes with its engine")
        eventually(lambda: connected(one), 60, "connected")
    one.weave("hide", "10.0.1.100/24")
    one.docker("start", "near")
    eventually(lambda: reaches(two, "far", "near.weave.local"), what="what the engine took along is back")


def test_a_newer_image_takes_over_while_traffic_goes_on(pair: Pair, image: BuiltImage) -> None:
    one, two = pair
    newer = BuiltImage(
        name=image.name, layers=image.layers, config={**image.config, "Labels": {"a": "b"}}, inputs="newer"
    )
    load(newer, one)
    said = one.weave("launch").stderr
    assert "from an older image" in said
    with Pings(two, "far", "10.0.1.1"):
        one.weave("stop", "--for-restart")
        assert one.state("weave") == ""
        one.weave("launch")
        eventually(lambda: reaches(two, "far", "near.weave.local"), what="announced again")
    assert one.weave("launch").stderr.strip() == "the router runs already, with the same options"
    assert one.state("weave", "{{.Image}}") == one.state("overlay-lab/weave", "{{.Id}}")


def test_it_may_what_is_written_and_no_more(pair: Pair) -> None:
    one, _ = pair
    one.weave("launch-proxy")
    for name, may in (("weave", ROUTER_MAY), ("weaveproxy", PROXY_MAY)):
        (found,) = json.loads(one.docker("inspect", name).stdout)
        host = found["HostConfig"]
        assert not host["Privileged"] and host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"]
        assert sorted(word.removeprefix("CAP_") for word in host["CapAdd"]) == sorted(may)
        status = one.sh(f"grep CapBnd /proc/{found['State']['Pid']}/status").split()[1]
        assert int(status, 16).bit_count() == len(may)
    one.weave("stop-proxy")


def test_a_container_of_two_networks_of_the_plugin(pair: Pair) -> None:
    """One is made by hand; the other end is in the namespace that the engine names by a file of the host."""
    one, two = pair
    for host in pair:
        host.weave("stop")
        host.weave("launch", "--plugin", *((one.address,) if host is two else ()))
        host.docker("network", "create", "-d", "weave", "--ipam-driver", "weave", "--subnet", "10.40.0.0/24", "front")
    one.docker("run", "-d", "--name", "web", "--net", "front", "--ip", "10.40.0.9", BUSYBOX, "sleep", "1000")
    one.weave("attach", "10.0.1.9/24", "web")
    two.docker("run", "-d", "--name", "client", "--net", "front", BUSYBOX, "sleep", "1000")
    eventually(lambda: reaches(two, "client", "10.40.0.9"), what="over the plugin's network")
    eventually(lambda: reaches(two, "far", "10.0.1.9"), what="and by hand")

    one.kill_router()
    one.docker("restart", "-t0", "web", timeout=120)
    eventually(lambda: reaches(two, "client", "10.40.0.9"), what="after both")
    one.docker("rm", "-f", "web")
    two.docker("rm", "-f", "client")
    for host in pair:
        host.docker("network", "rm", "front")


def test_after_a_power_cut_everything_comes_back(pair: Pair) -> None:
    one, two = pair
    one.docker("update", "--restart", "always", "near")
    one.reboot()
    eventually(lambda: reaches(two, "far", "near.weave.local"), what="router and container, by name")
    assert one.weave("ps", "near").stdout.split()[2:] == ["10.0.1.1/24"]
    one.docker("update", "--restart", "no", "near")


def test_a_host_changes_between_both_forms(image: BuiltImage) -> None:
    """Here the command is a process, on a host with places of its own; addresses and names stay, and both use the kind
    of iptables that the host's engine uses."""
    with underlay(LegacyHost) as made:
        host = made.host("orion", 2)
        assert isinstance(host, LegacyHost)
        load(image, host)
        host.load_images()
        host.weave("launch")
        host.weave("run", "--name", "web", "-h", "web.weave.local", BUSYBOX, "sleep", "100000")
        name, before = host.weave("report", "-f", "{{.mesh.name}}").stdout, host.attached()
        refused = host.weave("launch", "--in-container", check=False)
        assert refused.returncode == 1 and "--in-container is False, asked for True" in refused.stderr
        for form in (("--in-container",), ()):
            host.weave("stop")
            host.sh("iptables -F FORWARD")
            host.weave("launch", *form, "--proxy", timeout=120)
            found = host.docker("ps", "-q", "--filter", "label=works.weave.part").stdout.split()
            assert len(found) == (2 if form else 0)
            host.weave("expose", "10.0.9.1/24")
            assert "-A FORWARD -j WEAVE" in host.sh("iptables-legacy-save -t filter")
            assert "WEAVE" not in host.sh("iptables-nft-save")
            host.weave("hide", "10.0.9.1/24")
            eventually(lambda: host.attached() == before, 60, "attached as before")
            eventually(lambda: host.weave("dns-lookup", "web", check=False).stdout.strip(), 60, "its name")
            assert host.weave("report", "-f", "{{.mesh.name}}").stdout == name
            assert "ethwe" in host.proxied("run", "--rm", BUSYBOX, "ip", "link").stdout
            host.weave("stop-proxy")
        host.weave("reset")

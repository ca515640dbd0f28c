"""The container engine on a real kernel: life and death of containers, their network, what is left of them."""

import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import engine_host
import pytest
from engine_host import EngineHost, filters
from tiers import cannot_run
from waiting import PATIENCE, eventually

HTTP = "ksahnine/dummy-http"


@pytest.fixture(scope="module", params=["root", "user"])
def shared(request: pytest.FixtureRequest) -> Iterator[EngineHost]:
    yield from _host(str(request.param), respawn=True)


@pytest.fixture
def host(shared: EngineHost) -> Iterator[EngineHost]:
    """A host without containers."""
    yield shared
    for container in shared.api("GET", "/containers/json?all=1")[1]:
        assert shared.api("DELETE", f"/containers/{container['Id']}?force=1")[0] == 204
    eventually(lambda: shared.veths() == [])
    eventually(lambda: len(shared.processes()) == 2)  # process 1 and the engine


@pytest.fixture(params=["root", "user"])
def own_host(request: pytest.FixtureRequest) -> Iterator[EngineHost]:
    """A host for tests that break it; the engine is its process 1."""
    yield from _host(str(request.param), respawn=False)


def _host(who: str, *, respawn: bool) -> Iterator[EngineHost]:
    reason = engine_host.skip_reason(who == "user")
    if reason and who == "root" and os.geteuid():
        pytest.skip("no engine as root: run as root")  # an ordinary user's suite is whole without
    if reason:
        cannot_run(f"no engine as {who}: {reason}")
    # Not tmp_path: its parents are closed to other users, and socket paths are short.
    with tempfile.TemporaryDirectory(prefix="engine-") as directory:
        Path(directory).chmod(0o755)
        made = EngineHost(Path(directory, "h"), user=who == "user", respawn=respawn)
        try:
            yield made
        finally:
            made.close()


def greeting(name: str, address: str) -> str:
    return f"Hi! I'm [{name}] service and my Docker container's IP is [{address}]\n"


def test_service_answers_as_the_walk_through_says(host: EngineHost) -> None:
    made = host.started("svc1", HTTP, ["svc1"], Labels={"tier": "web"})
    found = host.inspect("svc1")
    assert found["Id"] == made and found["Name"] == "/svc1" and found["State"]["Status"] == "running"
    assert found["Config"]["Image"] == HTTP and found["Config"]["Cmd"] == ["svc1"]
    settings = found["NetworkSettings"]
    assert (settings["IPAddress"], settings["Gateway"], settings["IPPrefixLen"]) == ("172.17.0.2", "172.17.0.1", 16)
    assert settings["Networks"]["bridge"]["MacAddress"] == "02:42:ac:11:00:02"
    # Started means listening: nothing is retried here.
    assert host.run("curl", "-s", "172.17.0.2:8080") == greeting("svc1", "172.17.0.2")

    host.started("svc2", HTTP, ["svc2"])
    assert host.exec("svc2", "curl", "-s", "172.17.0.2:8080") == (0, greeting("svc1", "172.17.0.2"))
    assert [one["Names"] for one in host.api("GET", f"/v1.41/containers/json?{filters(label=['tier=web'])}")[1]] == [
        ["/svc1"]
    ]
    code, out = host.exec("svc2", "ifconfig", "eth0")
    assert code == 0 and "172.17.0.3" in out and "mtu 1500" in out
    assert host.exec("svc2", "sudo", "-E", "hostname")[1].strip() == host.inspect("svc2")["Id"][:12]


def test_published_ports(host: EngineHost) -> None:
    bindings = {"PortBindings": {"8080/tcp": [{"HostPort": "80"}]}}
    host.started("first", HTTP, ["first"], HostConfig=bindings)
    host.started("other", HTTP, ["other"])
    for place in ("127.0.0.1", "172.17.0.1"):
        assert host.run("curl", "-s", "-m", "5", place) == greeting("first", "172.17.0.2")
    for inside in ("other", "first"):  # the second is the hairpin
        assert host.exec(inside, "curl", "-s", "-m", "5", "172.17.0.1")[1] == greeting("first", "172.17.0.2")

    second = host.create("second", HTTP, ["second"], HostConfig=bindings)
    veths = host.veths()
    status, answer = host.api("POST", f"/containers/{second}/start")
    assert status == 500 and answer["message"].endswith("Bind for 0.0.0.0:80 failed: port is already allocated")
    assert host.inspect("second")["State"]["Status"] == "created" and host.veths() == veths

    assert host.api("DELETE", "/containers/first?force=1")[0] == 204
    assert host.api("POST", f"/containers/{second}/start")[0] == 204
    assert host.run("curl", "-s", "-m", "5", "127.0.0.1") == greeting("second", "172.17.0.2")


def test_a_container_sees_itself_only(host: EngineHost) -> None:
    config = {"Dns": ["192.0.2.53"], "DnsSearch": ["weave.local"], "ExtraHosts": ["friend:192.0.2.9"]}
    host.started("alone", cmd=["sleep", "1000"], Hostname="alone", Domainname="weave.local", HostConfig=config)
    assert host.exec("alone", "cat", "/etc/resolv.conf")[1] == "nameserver 192.0.2.53\nsearch weave.local\n"
    assert "172.17.0.2\talone.weave.local alone\n" in host.exec("alone", "cat", "/etc/hosts")[1]
    assert host.exec("alone", "cat", "/etc/hostname")[1] == "alone\n"
    assert host.exec("alone", "sh", "-c", "ls /proc | grep -c '^[0-9]'")[1].strip() in (
        "4",
        "5",
    )  # init sleep sh ls grep
    assert sorted(host.exec("alone", "ls", "/sys/class/net")[1].split()) == ["eth0", "lo"]
    assert host.exec("alone", "ls", "/run")[1] == ""
    assert host.exec("alone", "cat", "/proc/1/comm")[1] == "container-init\n"
    titles, rows = (host.api("GET", "/containers/alone/top")[1][key] for key in ("Titles", "Processes"))
    assert [row[titles.index("CMD")] for row in rows] == ["container-init", "sleep 1000"]


def test_exit_codes_logs_and_signals(host: EngineHost) -> None:
    host.started("out", cmd=["sh", "-c", "echo one; echo two >&2; printf three; exit 7"])
    assert host.api("POST", "/containers/out/wait")[1]["StatusCode"] == 7
    assert sorted(host.logs("out").splitlines()) == ["one", "three", "two"]
    assert host.inspect("out")["State"]["ExitCode"] == 7

    host.started("trap", cmd=["sh", "-c", "trap 'echo hup; exit 3' HUP; while :; do sleep 0.05; done"])
    eventually(lambda: "sleep" in str(host.api("GET", "/containers/trap/top")[1]))
    assert host.api("POST", "/containers/trap/kill?signal=HUP")[0] == 204
    assert host.api("POST", "/containers/trap/wait")[1]["StatusCode"] == 3
    assert host.logs("trap") == "hup\n"

    host.started("deaf", cmd=["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"])
    assert host.api("POST", "/containers/deaf/stop?t=0")[0] == 204
    assert host.inspect("deaf")["State"]["ExitCode"] == 137
    assert host.api("POST", "/containers/deaf/kill")[0] == 409

    status, answer = host.api("POST", f"/containers/{host.create('nix', cmd=['no-such-program'])}/start")
    assert status == 400 and "executable file not found in $PATH" in answer["message"]
    assert host.inspect("nix")["State"]["ExitCode"] == 127
    code, text = host.exec(host.started("bb", cmd=["sleep", "99"]), "no-such-program")
    assert code == 127 and "executable file not found" in text


def test_orphans_are_reaped_and_nothing_outlives_its_container(host: EngineHost) -> None:
    host.started("parent", cmd=["sh", "-c", "(setsid sleep 1000 &) ; (true &); echo up; exec sleep 1000"])
    eventually(lambda: host.logs("parent") == "up\n")
    assert eventually(lambda: len(host.api("GET", "/containers/parent/top")[1]["Processes"]) == 3)
    before = host.processes()
    main = host.inspect("parent")["State"]["Pid"]
    assert len(before) == 5, before  # process 1, engine, init, two sleeps
    os.kill(next(pid for pid in before if _inner(pid, 2) == main), signal.SIGKILL)
    assert host.api("POST", "/containers/parent/wait")[1]["StatusCode"] == 137
    eventually(lambda: len(host.processes()) == 2)
    assert host.veths() == []


def test_removal_and_names(host: EngineHost) -> None:
    made = host.started("svc", cmd=["sleep", "1000"])
    status, answer = host.api("POST", "/containers/create?name=svc", {"Image": "process", "Cmd": ["true"]})
    assert status == 409 and "already in use" in answer["message"]
    assert host.api("DELETE", "/containers/svc")[0] == 409
    assert host.api("POST", "/containers/svc/rename?name=new")[0] == 204
    assert host.inspect(made[:8])["Name"] == "/new"
    assert host.api("DELETE", "/containers/new?force=true")[0] == 204
    assert host.api("GET", "/containers/new/json") == (404, {"message": "No such container: new"})
    status, answer = host.api("POST", "/containers/create", {"Image": "nothing", "Cmd": ["true"]})
    assert (status, answer["message"]) == (404, "No such image: nothing:latest")
    assert host.veths() == [] and list((host.state / "containers").iterdir()) == []


def test_network_modes(host: EngineHost) -> None:
    host.started("base", HTTP, ["base"])
    host.started("none", cmd=["sleep", "99"], HostConfig={"NetworkMode": "none"})
    assert host.exec("none", "ls", "/sys/class/net")[1] == "lo\n"
    host.started("join", cmd=["sleep", "99"], HostConfig={"NetworkMode": "container:base"})
    assert host.exec("join", "curl", "-s", "127.0.0.1:8080")[1] == greeting("base", "172.17.0.2")
    host.started("host", cmd=["sleep", "99"], HostConfig={"NetworkMode": "host"})
    assert "docker0" in host.exec("host", "ls", "/sys/class/net")[1]
    status, answer = host.api(
        "POST", "/containers/create", {"Image": "process", "Cmd": ["true"], "HostConfig": {"NetworkMode": "nowhere"}}
    )
    assert (status, answer["message"]) == (404, "network nowhere not found")


def test_events_and_automatic_removal(host: EngineHost) -> None:
    events = host.stream(f"/events?{filters(event=['create', 'start', 'die', 'destroy'])}")
    made = host.started("brief", cmd=["sh", "-c", "exit 5"], HostConfig={"AutoRemove": True})
    seen = [next(events) for _ in range(4)]
    assert [event["Action"] for event in seen] == ["create", "start", "die", "destroy"]
    assert all(event["Actor"]["ID"] == made for event in seen)
    assert seen[2]["Actor"]["Attributes"]["exitCode"] == "5"
    assert host.api("GET", "/containers/json?all=1")[1] == []


def test_restart_policies(host: EngineHost) -> None:
    policy = {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}}
    host.started("fail", cmd=["sh", "-c", "echo try; exit 1"], HostConfig=policy)
    assert host.api("POST", "/containers/fail/wait")[1]["StatusCode"] == 1
    assert host.logs("fail") == "try\n" * 3 and host.inspect("fail")["RestartCount"] == 2

    host.started("ever", cmd=["sh", "-c", "echo up; exec sleep 1000"], HostConfig={"RestartPolicy": {"Name": "always"}})
    first = host.inspect("ever")["State"]["Pid"]
    outside = eventually(lambda: [pid for pid in host.processes() if _inner(pid, 2) == first])
    os.kill(outside[0], signal.SIGKILL)
    eventually(lambda: host.inspect("ever")["State"]["Pid"] not in (0, first))
    assert host.api("POST", "/containers/ever/stop?t=0")[0] == 204
    assert host.inspect("ever")["State"]["Status"] == "exited"


def test_a_host_that_lost_its_power_keeps_its_containers(own_host: EngineHost) -> None:
    host = own_host
    host.started("plain", cmd=["sh", "-c", "echo before; exec sleep 1000"])
    host.started("always", cmd=["sleep", "1000"], HostConfig={"RestartPolicy": {"Name": "always"}})
    host.started("gone", cmd=["sleep", "1000"], HostConfig={"AutoRemove": True})
    eventually(lambda: host.logs("plain") == "before\n")
    before = host.processes()
    assert len(before) == 7
    host.close()  # kill -9 of process 1
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before))

    host.start()
    states = {one["Names"][0]: one["State"] for one in host.api("GET", "/containers/json?all=1")[1]}
    assert states == {"/plain": "exited", "/always": "running"}
    assert host.logs("plain") == "before\n"
    assert host.api("POST", "/containers/plain/start")[0] == 204
    eventually(lambda: host.logs("plain") == "before\n" * 2)


def test_the_engine_alone_may_die(host: EngineHost) -> None:
    """Its containers die with it, and the next engine on this host starts clean."""
    host.started("svc", HTTP, ["svc"], HostConfig={"PortBindings": {"8080/tcp": [{"HostPort": "8080"}]}})
    host.started("always", cmd=["sleep", "1000"], HostConfig={"RestartPolicy": {"Name": "always"}})
    before = [pid for pid in host.processes() if pid != host.pid]
    engine = min(before, key=lambda pid: _levels(pid)[1])
    os.kill(engine, signal.SIGKILL)
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before))
    eventually(lambda: _answers(host))
    states = {one["Names"][0]: one["State"] for one in host.api("GET", "/containers/json?all=1")[1]}
    assert states == {"/svc": "exited", "/always": "running"}
    assert len(host.veths()) == 1
    assert host.api("POST", "/containers/svc/start")[0] == 204
    address = host.inspect("svc")["NetworkSettings"]["IPAddress"]
    assert host.run("curl", "-s", "-m", "5", "127.0.0.1:8080") == greeting("svc", address)


def test_attach_to_a_terminal(host: EngineHost) -> None:
    made = host.create("tty", cmd=["sh", "-c", "read line; echo got $line; tty"], Tty=True, OpenStdin=True)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(host.socket))
        client.sendall(
            f"POST /containers/{made}/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: e\r\n"
            "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        assert head.startswith(b"HTTP/1.1 101 ")
        client.sendall(b"hello\n")  # before the start: it waits
        assert host.api("POST", f"/containers/{made}/start")[0] == 204
        out = head.partition(b"\r\n\r\n")[2]
        while data := client.recv(4096):
            out += data
    assert b"got hello\r\n" in out and b"/dev/pts/" in out


def test_output_is_not_lost_when_nobody_hurries(host: EngineHost) -> None:
    size = 8 << 20
    made = host.create("big", cmd=["sh", "-c", f"head -c {size} /dev/zero | tr '\\0' x"])
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(host.socket))
        client.sendall(
            f"POST /containers/{made}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: e\r\n"
            "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        assert host.api("POST", f"/containers/{made}/start")[0] == 204
        time.sleep(0.3)  # the client is slow on purpose: its buffers and the engine's fill up
        data = bytearray(head.partition(b"\r\n\r\n")[2])
        while piece := client.recv(1 << 20):
            data += piece
    total = 0
    view = memoryview(data)
    while view:
        length = int.from_bytes(view[4:8], "big")
        total += length
        view = view[8 + length :]
    assert total == size


def _answers(host: EngineHost) -> bool:
    try:
        return host.api("GET", "/_ping")[0] == 200
    except OSError:
        return False


def _levels(pid: int) -> list[int]:
    """The pid of a process in each of its pid namespaces, outermost first."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().split("\n")
    except OSError:
        return []
    return [int(level) for level in next(line for line in lines if line.startswith("NSpid:")).split()[1:]]


def _inner(pid: int, level: int) -> int:
    """The pid of a process as its `level`th namespace from outside sees it."""
    levels = _levels(pid)
    return levels[level - 1] if len(levels) >= level else -1


def test_forward_is_closed_as_docker_leaves_it(host: EngineHost) -> None:
    """Frames of a bridge that nobody has allowed are dropped, so that a lab sees what hosts with Docker do."""
    if not Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists():
        pytest.skip("bridged frames pass no packet filter here: `modprobe br_netfilter`")
    if host.user:
        pytest.skip("what enters a user's host from outside may not set its packet filter")
    assert host.run("iptables", "-S", "FORWARD").splitlines()[0] == "-P FORWARD DROP"
    assert host.run("ip6tables", "-S", "FORWARD").splitlines()[0] == "-P FORWARD DROP"
    host.run("ip", "link", "add", "mine", "type", "bridge")
    host.run("ip", "link", "set", "mine", "up")
    for number, name in ((1, "one"), (2, "two")):
        host.started(name, HTTP, [name])
        pid = str(host.inspect(name)["State"]["Pid"])
        inside = ["nsenter", "-t", pid, "-n", "ip"]
        ends = ["type", "veth", "peer", "name", "eth9", "netns", f"/proc/{pid}/ns/net"]
        host.run("ip", "link", "add", f"mine{number}", *ends)
        host.run("ip", "link", "set", f"mine{number}", "master", "mine", "up")
        host.run(*inside, "addr", "add", f"10.9.0.{number}/24", "dev", "eth9")
        host.run(*inside, "link", "set", "eth9", "up")

    def answers(address: str) -> bool:
        pid = str(host.inspect("one")["State"]["Pid"])
        done = host.run("nsenter", "-t", pid, "-n", "ping", "-n", "-c1", "-W1", address, check=False)
        return " 0% packet loss" in done

    eventually(lambda: answers("172.17.0.3"))  # the engine has allowed its own
    assert not answers("10.9.0.2")
    host.run("iptables", "-I", "FORWARD", "-i", "mine", "-o", "mine", "-j", "ACCEPT")
    eventually(lambda: answers("10.9.0.2"), within=60)

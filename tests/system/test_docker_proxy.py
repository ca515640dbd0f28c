"""Containers made through the proxy, on a real Docker Engine: what they find, what clients see, and what goes wrong."""

import json
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from docker_hosts import BUSYBOX, GLIBC, SCRATCH, DockerHost, clients, gone, need_docker
from overlay_hosts import PYTHON, eventually, underlay

SHORT_LIVED = 24
"""How many short-lived containers; `make bench-docker` starts 200."""


@pytest.mark.parametrize("client", clients() or ["docker"])
def test_the_walk_throughs_words(docker_host: DockerHost, client: str) -> None:
    words = docker_host.weave("proxy-env").stdout.split()
    assert words[:2] == ["export", "DOCKER_HOST=tcp://127.0.0.1:12375"]
    weave = f"{shlex.quote(PYTHON)} -m overlay.cli.main"
    script = f"`{weave} proxy-env`; exec {client} run --rm -e WEAVE_CIDR=10.0.1.4/24 -i {BUSYBOX} /bin/sh"
    process = docker_host.popen("sh", "-c", script, stdin=subprocess.PIPE)
    out, err = process.communicate("ip -o addr show ethwe; ip -o link show eth0; exit 7\n", timeout=60)
    assert process.returncode == 7, err
    assert "10.0.1.4/24" in out and "mtu 1500" in out
    gone(docker_host)


def test_a_waiter_that_somebody_removed_is_put_back(docker_host: DockerHost) -> None:
    docker = ("env", "DOCKER_HOST=tcp://127.0.0.1:12375", "docker")
    docker_host.run(*docker, "create", "--name", "early", BUSYBOX, "echo", "early")
    docker_host.sh('rm -r "$WEAVE_DB/waiter"')
    try:
        assert docker_host.run(*docker, "start", "-a", "early").stdout == "early\n"
        docker_host.sh('rm -r "$WEAVE_DB/waiter"')
        assert docker_host.run(*docker, "run", "--rm", BUSYBOX, "echo", "late").stdout == "late\n"
    finally:
        docker_host.docker("rm", "-f", "early", check=False)
    gone(docker_host)


@pytest.mark.parametrize("client", clients() or ["docker"])
def test_every_client_works_over_tcp(docker_host: DockerHost, client: str) -> None:
    def docker(*words: str) -> str:
        return docker_host.run("env", "DOCKER_HOST=tcp://127.0.0.1:12375", "DOCKER_BUILDKIT=0", client, *words).stdout

    context = docker_host.disk / "context"
    context.mkdir(exist_ok=True)
    (context / "Dockerfile").write_text(f"FROM {BUSYBOX}\nRUN echo built > /built\n")
    try:
        assert docker("build", "-q", "-t", "test/built", str(context)).startswith("sha256:")
        assert "built" in docker("run", "--rm", "test/built", "cat", "/built")
        docker("create", "--name", "late", BUSYBOX, "sleep", "100")
        docker("start", "late")
        assert "inet 10." in docker("exec", "late", "ip", "-o", "addr", "show", "ethwe")
        docker("rm", "-f", "late")
        docker("create", "-i", "--name", "late", BUSYBOX, "sh", "-c", "read line; echo got $line")
        words = ("env", "DOCKER_HOST=tcp://127.0.0.1:12375", client, "start", "-ai", "late")
        out, err = docker_host.popen(*words, stdin=subprocess.PIPE).communicate("this\n", timeout=60)
        assert "got this" in out, err
    finally:
        docker_host.docker("rm", "-f", "late", check=False)
        docker_host.docker("rmi", "-f", "test/built", check=False)
    gone(docker_host)


@pytest.mark.parametrize(
    "header", ["Origin: http://evil.example", "Sec-Fetch-Site: cross-site", "Host: evil.example", "Origin: null"]
)
def test_a_web_page_gets_nothing_from_the_proxy(docker_host: DockerHost, header: str) -> None:
    body = json.dumps({"Image": BUSYBOX, "HostConfig": {"Binds": ["/:/host"]}})
    for path, words in (
        ("/version", ()),
        ("/containers/create", ("-X", "POST", "-H", "Content-Type: text/plain", "-d", body)),
        ("/containers/create", ("-X", "OPTIONS")),
        ("/images/create?fromImage=x", ("-X", "POST")),
    ):
        url = f"http://127.0.0.1:12375{path}"
        out = docker_host.run("curl", "-sS", "-w", "\n%{http_code}", "-H", header, *words, url).stdout
        said, _, status = out.rpartition("\n")
        assert status == "403" and "refused" in json.loads(said)["message"], out
    assert docker_host.docker("ps", "-aq").stdout == ""
    socket = ("--unix-socket", f"{docker_host.disk}/w.proxy")
    assert "ApiVersion" in docker_host.run("curl", "-sS", "-H", header, *socket, "http://x/version").stdout


@pytest.mark.parametrize(
    ("image", "words", "expected"),
    [
        (BUSYBOX, ["ip", "-o", "addr", "show", "ethwe"], "inet 10."),
        (BUSYBOX, ["sh", "-c", "ip -o addr show ethwe; id -u"], "inet 10."),
        (SCRATCH, ["ip", "-o", "addr", "show", "ethwe"], "inet 10."),
        (GLIBC, ["bash", "-c", "read carrier </sys/class/net/ethwe/carrier; echo up $carrier"], "up 1"),
        (GLIBC, ["env"], "GREETING=hello"),
    ],
)
@pytest.mark.parametrize("flags", [[], ["--user", "1000:1000"], ["--read-only"], ["--network", "none"]])
def test_a_programs_first_instruction_finds_the_overlay(
    docker_host: DockerHost, image: str, words: list[str], expected: str, flags: list[str]
) -> None:
    assert expected in docker_host.proxied("run", "--rm", *flags, image, *words).stdout


def test_arguments_and_environment_arrive_untouched(docker_host: DockerHost) -> None:
    odd = ["a b", "", "$HOME", "'\"", "*"]
    printed = docker_host.proxied("run", "--rm", BUSYBOX, "printf", "<%s>", *odd).stdout
    assert printed == "".join(f"<{word}>" for word in odd)
    env = docker_host.proxied("run", "--rm", "-e", "spring.profile=x", "-e", "A-B=y", GLIBC, "env").stdout.splitlines()
    direct = docker_host.docker(
        "run", "--rm", "-e", "spring.profile=x", "-e", "A-B=y", GLIBC, "env"
    ).stdout.splitlines()
    for lines in (env, direct):
        assert sum(line.startswith("HOSTNAME=") for line in lines) <= 1
    assert sorted(line for line in env if not line.startswith("HOSTNAME=")) == sorted(
        line for line in direct if not line.startswith("HOSTNAME=")
    )


def test_the_images_own_program_wins_over_the_waiters(docker_host: DockerHost) -> None:
    assert docker_host.proxied("run", "--rm", GLIBC, "bash", "-c", "echo $BASH_VERSION").stdout.strip()
    assert docker_host.proxied("run", "--rm", "--entrypoint", "", BUSYBOX, "echo", "plain").stdout == "plain\n"
    assert docker_host.proxied("run", "--rm", "--entrypoint", "/bin/echo", BUSYBOX, "x").stdout == "x\n"
    missing = docker_host.proxied("run", "--rm", BUSYBOX, "no-such-program", check=False)
    assert (missing.returncode, "executable file not found in $PATH" in missing.stderr) == (127, True)


def test_inspect_ps_and_commit_show_the_images_own_program(docker_host: DockerHost) -> None:
    for made in (docker_host.proxied, docker_host.docker):
        made("run", "-d", "--name", "same", "--hostname", "h", SCRATCH, "sleep", "100")
        (shown,) = json.loads(docker_host.proxied("inspect", "same").stdout)
        listed = docker_host.proxied("ps", "--no-trunc", "--format", "{{.Command}} {{.Mounts}}").stdout
        docker_host.proxied("commit", "same", "committed")
        (image,) = json.loads(docker_host.docker("inspect", "committed").stdout)
        changed = docker_host.proxied("diff", "same").stdout
        parts = [shown["Path"], shown["Args"], shown["Config"]["Entrypoint"], shown["Config"]["Cmd"]]
        parts += [shown["HostConfig"]["Binds"], shown["Mounts"], listed, changed]
        parts += [image["Config"]["Entrypoint"], image["Config"]["Cmd"]]
        docker_host.docker("rm", "-f", "same")
        docker_host.docker("rmi", "-f", "committed")
        if made == docker_host.proxied:
            through = parts
    assert through == parts
    assert through[:4] == ["/busybox", ["sleep", "100"], ["/busybox"], ["sleep", "100"]]
    gone(docker_host)


def test_names_hosts_and_name_servers(docker_host: DockerHost) -> None:
    docker_host.proxied("run", "-d", "--name", "svc1", BUSYBOX, "sleep", "100")
    docker_host.proxied("run", "-d", "--name", "other", "--hostname", "svc2.weave.local", BUSYBOX, "sleep", "100")
    docker_host.proxied("run", "-d", "--name", "off", "-e", "WEAVE_CIDR=none", BUSYBOX, "sleep", "100")
    try:
        held = docker_host.attached()
        assert len(held) == 2
        addresses = {docker_host.weave("dns-lookup", name).stdout.strip() for name in ("svc1", "svc2")}
        assert addresses == {cidr.partition("/")[0] for (cidr,) in held.values()}
        assert docker_host.weave("dns-lookup", "off", check=False).returncode == 1
        for name in ("svc1", "svc2.weave.local"):
            found = docker_host.proxied("exec", "other", "ping", "-c1", "-W30", name)
            assert "1 packets received" in found.stdout
        own = docker_host.proxied("exec", "svc1", "ping", "-c1", "svc1").stdout
        assert docker_host.weave("dns-lookup", "svc1").stdout.strip() in own
    finally:
        docker_host.docker("rm", "-f", "svc1", "other", "off")
    gone(docker_host)


def test_the_multicast_route_is_that_of_the_proxy_that_starts_a_container(docker_host: DockerHost) -> None:
    def routed() -> bool:
        return "224.0.0.0/4 dev ethwe" in docker_host.docker("exec", "sung", "ip", "route").stdout

    docker_host.weave("stop-proxy")
    docker_host.weave("launch-proxy", "--no-multicast-route")
    try:
        docker_host.proxied("run", "-d", "--name", "sung", BUSYBOX, "sleep", "1000")
        assert not routed()
    finally:
        docker_host.weave("stop-proxy")
        docker_host.weave("launch-proxy")
    try:
        docker_host.proxied("restart", "-t0", "sung")
        assert routed()
    finally:
        docker_host.docker("rm", "-f", "sung")
    gone(docker_host)


def test_published_ports_stay(docker_host: DockerHost) -> None:
    docker_host.proxied("run", "-d", "--name", "web", "-p", "8088:80", BUSYBOX, "httpd", "-f", "-p", "80", "-h", "/etc")
    try:
        eventually(lambda: "root" in docker_host.run("curl", "-sS", "127.0.0.1:8088/passwd", check=False).stdout)
    finally:
        docker_host.docker("rm", "-f", "web")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["-e", "WEAVE_CIDR=10.0.1.4", BUSYBOX, "true"], "lacks its length"),
        (["-e", "WEAVE_CIDR=net:10.0.1.4/24", BUSYBOX, "true"], "is no subnet"),
        (["-e", "WEAVE_CIDR=10.0.1.255/24", BUSYBOX, "true"], "broadcast"),
        (["-e", "WEAVE_CIDR=10.0.1.4/24", "--net=host", BUSYBOX, "true"], "--net=host"),
        (["-e", "WEAVE_CIDR=10.0.1.4/24", "--net=container:taker", BUSYBOX, "true"], "--net=container:"),
        (["-e", "WEAVE_CIDR=10.32.7.7/24", BUSYBOX, "true"], "10.32.7.7"),
        (["test/missing", "true"], "test/missing"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(docker_host: DockerHost, flags: list[str], expected: str) -> None:
    docker_host.proxied("run", "-d", "--name", "taker", "-e", "WEAVE_CIDR=10.32.7.7/24", BUSYBOX, "sleep", "100")
    try:
        before = docker_host.booked()
        refused = docker_host.proxied("run", *flags, check=False)
        assert refused.returncode == 125, refused
        assert expected in refused.stderr
        assert docker_host.docker("ps", "-a", "--format", "{{.Names}}").stdout == "taker\n"
        assert docker_host.booked() == before
    finally:
        docker_host.docker("rm", "-f", "taker")
    gone(docker_host)


def test_errors_are_the_engines_own_kind(docker_host: DockerHost) -> None:
    socket = f"{docker_host.disk}/w.proxy"

    def ask(version: str, body: str) -> str:
        words = ("-X", "POST", "-H", "Content-Type: application/json", "-d", body)
        return docker_host.run(
            "curl", "-sS", "--unix-socket", socket, *words, f"http://x{version}/containers/create"
        ).stdout

    body = json.dumps({"Image": BUSYBOX, "Env": ["WEAVE_CIDR=nonsense"]})
    assert list(json.loads(ask("/v1.41", body))) == list(json.loads(ask("", body))) == ["message"]
    assert ask("/v1.20", body).startswith("weave: WEAVE_CIDR")  # JSON came with API version 1.24
    assert "too old" in ask("/v1.1", json.dumps({"Image": BUSYBOX}))
    assert "message" in json.loads(ask("/v1.41", "{not json"))


def test_a_full_range_refuses(docker_host: DockerHost) -> None:
    docker_host.proxied("run", "-d", "--name", "first", "-e", "WEAVE_CIDR=net:10.33.0.0/30", BUSYBOX, "sleep", "100")
    docker_host.proxied("run", "-d", "--name", "second", "-e", "WEAVE_CIDR=net:10.33.0.0/30", BUSYBOX, "sleep", "100")
    try:
        third = docker_host.proxied("run", "-e", "WEAVE_CIDR=net:10.33.0.0/30", BUSYBOX, "true", check=False)
        assert third.returncode == 125
        assert "10.33.0.0/30" in third.stderr
    finally:
        docker_host.docker("rm", "-f", "first", "second")
    gone(docker_host)


def test_short_lived_containers_leave_nothing(docker_host: DockerHost) -> None:
    script = "ip -o addr show ethwe; hostname -f"

    def one(number: int) -> str:
        return docker_host.proxied("run", "--rm", "--name", f"n{number}", BUSYBOX, "sh", "-c", script).stdout

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(one, range(SHORT_LIVED)))
    assert all(" inet 10." in text and f"n{number}.weave.local" in text for number, text in enumerate(said))
    gone(docker_host)


def test_a_stopped_router_is_named_and_the_engine_stays_reachable() -> None:
    need_docker()
    with underlay(DockerHost) as made:
        host = made.host("lone", 9)
        assert isinstance(host, DockerHost)
        host.load_images()
        host.weave("launch-proxy")
        refused = host.proxied("run", "--rm", BUSYBOX, "true", check=False)
        assert refused.returncode == 125 and "`weave launch`" in refused.stderr
        assert host.proxied("run", "--rm", "-e", "WEAVE_CIDR=none", BUSYBOX, "echo", "off").stdout == "off\n"
        assert host.docker("ps", "-aq").stdout == ""
        host.weave("launch")
        assert "ethwe" in host.proxied("run", "--rm", BUSYBOX, "ip", "link").stdout

        host.end_engine()
        gone_engine = host.proxied("ps", check=False)
        assert "Cannot connect" in gone_engine.stderr or "cannot connect" in gone_engine.stderr

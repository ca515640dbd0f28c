"""The Docker API through the proxy and beside it: the same answers but for what is rewritten on purpose.

Every call is made twice on one engine, with the `docker` SDK or plain HTTP, and on containers of the same making. What
differs from one moment, container or connection to the next (ids, times, counters) is blanked.
"""

import io
import json
import re
import socket
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from docker_hosts import BUSYBOX, SCRATCH, DockerHost, clients, gone
from overlay_hosts import eventually

docker = pytest.importorskip("docker", reason="the docker SDK: pip install docker")

Client = Any
_ID = re.compile(r"\b(sha256:)?[0-9a-f]{64}\b|\b[0-9a-f]{12}\b")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
_MOMENTS = re.compile(
    r"(Created|Time|time|timeNano|Pid|PID|SandboxKey|IPAddress|MacAddress|read|preread|Ports|SystemTime|NGoroutines"
    r"|NFd|NEventsListener|UsageData|Hostname|HostnamePath|HostsPath|ResolvConfPath|LogPath|GraphDriver|Gateway"
    r"|SharedSize|Size|LayersSize|RefCount|ID|DeviceNumber|Names?|ContainersRunning|Containers|ContainersStopped"
    r"|Images|Status|Domainname|Dns|DnsSearch|HttpProxy|Processes)"
)


def blank(value: Any) -> Any:
    """What must be equal of an answer."""
    if isinstance(value, dict):
        return {key: "?" if _MOMENTS.fullmatch(key) else blank(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [blank(each) for each in value]
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return _TIME.sub("<time>", _ID.sub("<id>", value)) if isinstance(value, str) else value


def tar(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


@pytest.fixture(scope="module")
def sides(docker_host: DockerHost) -> Iterator[tuple[Client, Client]]:
    """The low-level clients of the SDK: at the proxy, and at the engine. Unix sockets are reached from anywhere."""
    made = [docker.APIClient(f"unix://{docker_host.disk}/{name}", version="1.41") for name in ("w.proxy", "d")]
    yield made[0], made[1]
    for client in made:
        client.close()
    gone(docker_host)


@pytest.fixture
def pair(sides: tuple[Client, Client]) -> Iterator[tuple[tuple[Client, str], tuple[Client, str]]]:
    """A running container for each side, made through it."""
    found = []
    for client in sides:
        script = "echo out; echo err >&2; trap 'exit 3' TERM; while :; do sleep 0.1; done"
        made = client.create_container(BUSYBOX, ["sh", "-c", script], hostname="h", labels={"a": "b"})["Id"]
        client.start(made)
        eventually(lambda client=client, made=made: b"err" in client.logs(made), what="it runs")
        found.append((client, made))
    yield found[0], found[1]
    for client, made in found:
        client.remove_container(made, force=True, v=True)


def same(call: Callable[[Client], Any], sides: tuple[Client, Client]) -> Any:
    through, beside = (blank(outcome(call, client)) for client in sides)
    assert through == beside
    return beside


def outcome(call: Callable[..., Any], *arguments: Any) -> Any:
    """What a call gives, a stream read to its end; or its error's status and words."""
    try:
        found = call(*arguments)
        return list(found) if hasattr(found, "__next__") else found
    except docker.errors.APIError as error:
        return [error.response.status_code, error.explanation]


ENGINE_CALLS: dict[str, Callable[[Client], Any]] = {
    "ping": lambda c: c.ping(),
    "version": lambda c: c.version(),
    "info": lambda c: c.info(),
    "df": lambda c: sorted(c.df()),
    "images": lambda c: sorted(map(str, map(blank, c.images(all=True)))),  # those of one second come in any order
    "inspect image": lambda c: c.inspect_image(BUSYBOX),
    "inspect no image": lambda c: c.inspect_image("none"),
    "image history": lambda c: c.history(BUSYBOX),
    "tag": lambda c: c.tag(BUSYBOX, "tagged", "x"),
    "remove image": lambda c: (c.tag(BUSYBOX, "tagged", "y"), c.remove_image("tagged:y"))[1],
    "save image": lambda c: sum(map(len, c.get_image(SCRATCH))) > 1 << 19,
    "pull nothing": lambda c: "error" in str(outcome(lambda: c.pull("no.where/image"))).lower(),
    "search": lambda c: outcome(lambda: c.search("x"))[0],
    "build": lambda c: build(c, f"FROM {BUSYBOX}\nENV A=b\nRUN echo built > /x\n"),
    "build that fails": lambda c: build(c, f"FROM {BUSYBOX}\nRUN false\n"),
    "build without sense": lambda c: build(c, "NONSENSE\n"),
    "networks": lambda c: sorted(network["Name"] for network in c.networks()),
    "inspect network": lambda c: c.inspect_network("none"),
    "make and remove network": lambda c: c.remove_network(c.create_network("n1")["Id"]),
    "volumes": lambda c: c.volumes(),
    "make and remove volume": lambda c: (c.create_volume("v1"), c.inspect_volume("v1"), c.remove_volume("v1"))[1],
    "containers": lambda c: c.containers(all=True),
    "inspect nothing": lambda c: c.inspect_container("none"),
    "start nothing": lambda c: c.start("none"),
    "exec in nothing": lambda c: c.exec_create("none", "true"),
    "commit nothing": lambda c: c.commit("none"),
    "create without image": lambda c: c.create_container("none", "true"),
    "create with a bad name": lambda c: c.create_container(BUSYBOX, "true", name="?"),
    "events so far": lambda c: list(c.events(since=1, until=2)),
    "prune networks": lambda c: c.prune_networks(),
    "import an image": lambda c: c.import_image_from_data(tar("x", b"y"), repository="imported"),
    "swarm is off": lambda c: c.inspect_swarm(),
}

CONTAINER_CALLS: dict[str, Callable[[Client, str], Any]] = {
    "inspect": lambda c, x: c.inspect_container(x),
    "logs": lambda c, x: sorted(c.logs(x).split()),
    "logs of stderr": lambda c, x: c.logs(x, stdout=False, timestamps=True),
    "follow logs until stopped": lambda c, x: (
        s := c.logs(x, stream=True, follow=True),
        c.kill(x),
        sorted(b"".join(s).split()),
    )[2],
    "top": lambda c, x: [row[-1] for row in c.top(x, "-o pid,args")["Processes"][:1]],
    "stats": lambda c, x: sorted(c.stats(x, stream=False)),
    "diff": lambda c, x: (c.exec_start(c.exec_create(x, "touch /new")), c.diff(x))[1],
    "exec": lambda c, x: c.exec_start(c.exec_create(x, "sh -c 'echo a; echo b >&2; exit 4'"), demux=True),
    "exec's code": lambda c, x: (e := c.exec_create(x, "false"), c.exec_start(e), c.exec_inspect(e)["ExitCode"])[2],
    "exec inspected": lambda c, x: c.exec_inspect(c.exec_create(x, ["echo", "a b"], environment=["A=b"], user="0")),
    "exec with a terminal": lambda c, x: c.exec_start(c.exec_create(x, "id", tty=True), tty=True),
    "exec of nothing": lambda c, x: c.exec_start(c.exec_create(x, "nothing")),
    "copy in and out": lambda c, x: (c.put_archive(x, "/tmp", tar("f", b"c" * 300_000)), c.get_archive(x, "/tmp/f"))[1][
        1
    ],
    "copy out nothing": lambda c, x: c.get_archive(x, "/nothing"),
    "pause": lambda c, x: (c.pause(x), c.inspect_container(x)["State"]["Paused"], c.unpause(x)),
    "rename": lambda c, x: c.rename(x, f"renamed-{x[:6]}"),
    "update": lambda c, x: c.update_container(x, mem_limit=1 << 27, memswap_limit=1 << 28),
    "resize": lambda c, x: c.resize(x, 20, 80),
    "stop": lambda c, x: (c.stop(x, 5), c.wait(x))[1],
    "kill": lambda c, x: (c.kill(x, "KILL"), c.wait(x))[1],
    "start again": lambda c, x: c.start(x),
    "restart": lambda c, x: (c.restart(x, 5), c.inspect_container(x)["State"]["Running"])[1],
    "stop and start": lambda c, x: (c.stop(x, 5), c.start(x), c.inspect_container(x)["State"]["Running"])[2],
    "export": lambda c, x: sum(map(len, c.export(x))) > 1 << 19,
    "commit": lambda c, x: settled(c.inspect_image(c.commit(x, changes=["ENV C=d"])["Id"])["Config"]),
    "attach and read": lambda c, x: attached(c, x),
    "list one": lambda c, x: c.containers(filters={"id": x}),
    "remove": lambda c, x: c.remove_container(x),
}


def attached(client: Client, container: str) -> list[bytes]:
    """What comes of an attachment that lasts until the container is killed.

    The container speaks only then: the SDK loses what arrives together with the answer's headers, as old words do.
    """
    stream = client.attach(container, stream=True)
    client.exec_start(client.exec_create(container, ["sh", "-c", "echo out >/proc/1/fd/1; echo err >/proc/1/fd/2"]))
    client.kill(container)
    return sorted(b"".join(stream).split())


def settled(config: dict[str, Any]) -> dict[str, Any]:
    """The one difference that has to be: no entrypoint is an empty list, for null would mean the container's."""
    return {**config, "Entrypoint": config["Entrypoint"] or None}


def build(client: Client, dockerfile: str) -> list[str]:
    context = io.BytesIO(tar("Dockerfile", dockerfile.encode()))
    # `forcerm`: a build that fails leaves its container otherwise.
    lines = client.build(fileobj=context, custom_context=True, decode=True, rm=True, forcerm=True, nocache=True)
    return ["".join(map(str, line.values())) for line in lines if not {"aux"} & set(line)]


@pytest.mark.parametrize("name", ENGINE_CALLS)
def test_a_call_to_the_engine_is_the_same(sides: tuple[Client, Client], name: str) -> None:
    same(ENGINE_CALLS[name], sides)


@pytest.mark.parametrize("name", CONTAINER_CALLS)
def test_a_call_about_a_container_is_the_same(pair: tuple[tuple[Client, str], tuple[Client, str]], name: str) -> None:
    through, beside = (blank(outcome(CONTAINER_CALLS[name], *side)) for side in pair)
    assert through == beside


@pytest.mark.parametrize("client", clients() or ["docker"])
@pytest.mark.parametrize(
    "script",
    [
        "docker run --rm -i IMAGE cat < BIG | md5sum",
        "echo in | docker run --rm -i IMAGE sh -c 'cat; echo err >&2; exit 9'; echo $?",
        "docker create --name c1 IMAGE echo hi; docker start -a c1; docker logs c1; docker rm c1",
        "docker run -d --name c2 -p 127.0.0.1::80 IMAGE sleep 9; docker port c2 | sed 's/[0-9]*$//'; docker rm -f c2",
        "docker run --name c3 IMAGE false; echo $?;"
        " docker inspect -f '{{.State.ExitCode}} {{.Config.Cmd}}' c3; docker rm c3",
        "docker run -d --name c4 IMAGE sh -c 'while :; do sleep 0.1; done'; docker cp BIG c4:/tmp/big;"
        " docker exec c4 md5sum /tmp/big; docker cp c4:/tmp/big - | tar x -O | md5sum; docker rm -f c4",
        "docker run --rm -t IMAGE sh -c 'test -t 1 && echo terminal'",
        "docker run --rm --init IMAGE echo init; docker run --rm -w /tmp IMAGE sh -c 'echo $PWD'",
        "docker run -d --name c5 IMAGE sleep 100; docker pause c5; docker unpause c5; docker stop -t1 c5;"
        " docker wait c5; docker start c5; docker restart -t1 c5; docker rm -f c5",
        'echo \'FROM IMAGE\nENTRYPOINT ["echo"]\nCMD ["x"]\' > BIG.d;'
        " DOCKER_BUILDKIT=0 docker build -q -t built - < BIG.d | cut -c1-7;"
        " docker run --rm built; docker run --rm built y; docker rmi built >&2",
        "docker ps -a --format '{{.Names}}'; docker network ls --format '{{.Name}}'; docker inspect nothing; echo $?",
    ],
)
def test_the_docker_command_does_the_same(docker_host: DockerHost, client: str, script: str) -> None:
    big = docker_host.disk / "big"
    if not big.exists():
        big.write_bytes(bytes(range(256)) * 40_000)
    text = script.replace("IMAGE", BUSYBOX).replace("BIG", str(big)).replace("docker ", f"{client} ")
    said = []
    for name in ("w.proxy", "d"):
        done = docker_host.run("env", f"DOCKER_HOST=unix://{docker_host.disk}/{name}", "sh", "-c", text, check=False)
        said.append((done.returncode, blank(done.stdout), blank(done.stderr)))
    assert said[0] == said[1]


def test_a_raw_request_comes_back_byte_for_byte(docker_host: DockerHost) -> None:
    """Chunked and with a length, kept alive, HTTP/1.0 and HEAD."""
    script = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "for head in ('GET /_ping HTTP/1.1', 'HEAD /_ping HTTP/1.1', 'GET /nothing HTTP/1.1', 'GET /_ping HTTP/1.0'):\n"
        "    s.sendall(head.encode() + b'\\r\\nHost: x\\r\\n\\r\\n')\n"
        "s.shutdown(socket.SHUT_WR)\n"
        "data = b''\n"
        "while part := s.recv(65536): data += part\n"
        "print(data.decode())\n"
    )
    said = [docker_host.run("python3", "-c", script, f"{docker_host.disk}/{name}").stdout for name in ("w.proxy", "d")]
    assert re.sub("Date: .*", "", said[0]) == re.sub("Date: .*", "", said[1])
    assert json.dumps(said[0]).count("HTTP/1.") == 4


def test_an_attachment_gives_old_words_too(
    docker_host: DockerHost, pair: tuple[tuple[Client, str], tuple[Client, str]]
) -> None:
    """Read by hand: see `attached`."""
    said = []
    for name, (client, container) in zip(("w.proxy", "d"), pair, strict=True):
        path = f"/v1.41/containers/{container}/attach?logs=1&stream=1&stdout=1&stderr=1"
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"
        with socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(60)
            wire.connect(f"{docker_host.disk}/{name}")
            wire.sendall(head.encode())
            data = b""
            while not (b"out\n" in data and b"err\n" in data):
                part = wire.recv(65536)
                assert part, data
                data += part
            client.kill(container)
            while part := wire.recv(65536):
                data += part
        headers, _, frames = data.partition(b"\r\n\r\n")
        said.append((headers, sorted(frames.splitlines())))
    assert said[0] == said[1]
    assert said[0][0].startswith(b"HTTP/1.1 101 ") and len(said[0][1]) == 2

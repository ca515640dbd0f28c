"""`--in-container`: the words, what the container is told, and engines that cannot do it."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any, ClassVar

import pytest

from lab.kinds.overlays import OVERLAYS
from overlay.cli.client import RequestRefused
from overlay.cli.container import _plain, _volumes, _without_password, as_container, find, start_router
from overlay.cli.launch_flags import parse_launch
from overlay.cli.proxy_flags import parse_proxy, split_proxy_words
from overlay.cli.unix_http import engine_answer
from overlay.cli.words import Usage
from overlay.kernel import host_files
from overlay.options import LaunchOptions, differences


class _Stub(ThreadingUnixStreamServer):
    """An engine of which only some answers are there; what it was asked is kept."""

    answers: ClassVar[dict[str, tuple[int, Any]]] = {}
    asked: ClassVar[list[str]] = []
    daemon_threads = True


class _Handler(BaseHTTPRequestHandler):
    def address_string(self) -> str:
        return "client"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        assert isinstance(self.server, _Stub)
        self.server.asked.append(f"{self.command} {self.path}")
        status, value = self.server.answers.get(self.path, (404, {"message": "no such thing"}))
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_DELETE = do_GET


FINE = {
    "/version": (200, {"ApiVersion": "1.41"}),
    "/info": (200, {"SecurityOptions": ["name=seccomp,profile=default"]}),
}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[tuple[_Stub, dict[str, str]]]:
    with _Stub(str(tmp_path / "d"), _Handler) as server:
        server.answers, server.asked = dict(FINE), []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        names = {"DOCKER_HOST": f"unix://{tmp_path}/d", "WEAVE_SOCK": f"{tmp_path}/w", "WEAVE_DB": f"{tmp_path}/db"}
        yield server, names
        server.shutdown()


@pytest.mark.parametrize(
    ("path", "answer", "words"),
    [
        ("/version", {"ApiVersion": "1.24"}, "speaks API 1.24; --in-container needs 1.41 (Docker 20.10)"),
        ("/info", {"SecurityOptions": ["name=seccomp", "name=rootless"]}, "runs without root"),
        ("/info", {"SecurityOptions": None}, "no image overlay-lab/weave"),
    ],
)
def test_engines_that_cannot_are_refused_before_anything_is_made(
    engine: tuple[_Stub, dict[str, str]], path: str, answer: Any, words: str
) -> None:
    server, environment = engine
    server.answers[path] = (200, answer)
    with pytest.raises(RequestRefused) as error:
        start_router(["--in-container"], LaunchOptions(in_container=True), environment)
    assert words in str(error.value)
    assert not [line for line in server.asked if not line.startswith("GET")]


def test_an_engine_that_is_not_there_and_a_container_of_others(engine: tuple[_Stub, dict[str, str]]) -> None:
    server, environment = engine
    nowhere = {**environment, "DOCKER_HOST": "unix:///nowhere/d"}
    with pytest.raises(RequestRefused, match="does not answer at /nowhere/d"):
        start_router([], LaunchOptions(in_container=True), nowhere)
    assert find("router", nowhere) is None
    server.answers["/images/overlay-lab/weave:latest/json"] = (200, {"Id": "sha256:1"})
    server.answers["/containers/weave/json"] = (200, {"Id": "1", "Config": {"Labels": None}})
    with pytest.raises(RequestRefused, match="none of this overlay"):
        start_router([], LaunchOptions(in_container=True), environment)
    assert find("router", environment) is None  # so `weave stop` leaves it alone


def test_the_words_that_the_container_gets() -> None:
    words = ["--password", "a", "-password=b", "--in-container", "--password=c", "10.0.0.1"]
    assert _without_password(words) == ["--in-container", "10.0.0.1"]
    assert as_container(["--no-dns"], {"WEAVE_IMAGE": "x"}) == ["--in-container", "--no-dns"]
    assert as_container(["-in-container=false"], {"WEAVE_IMAGE": "x"}) == ["-in-container=false"]
    assert as_container(["--no-dns"], {}) == ["--no-dns"]
    assert parse_launch(["--in-container"], {}).in_container and parse_proxy(["--in-container"]).in_container
    router, proxy = split_proxy_words(["--in-container", "--proxy", "--no-dns"])
    assert (router, proxy) == (["--in-container", "--no-dns"], ["--in-container"])
    assert split_proxy_words(["--in-container"])[1] is None
    assert differences(LaunchOptions(in_container=True), LaunchOptions()) == ["--in-container is True, asked for False"]
    faults = OVERLAYS.get("weave").option_faults
    (fault,) = faults({"in-container": True})
    assert "process of its host" in fault.expected and not list(faults({"in-container": False}))
    with pytest.raises(Usage, match="wireguard-go"):
        start_router([], parse_launch(["--in-container", "--wireguard", "wireguard-go"], {}), {})


def test_volumes_and_logs() -> None:
    places = [Path("/run/weave"), Path("/var/lib/weave"), Path("/run/weave/more"), Path("/run/weave")]
    assert _volumes(places) == ["/run/weave:/run/weave:rw", "/var/lib/weave:/var/lib/weave:rw"]
    with pytest.raises(Usage, match="colon"):
        _volumes([Path("/a:b")])
    frames = b"".join(bytes([2, 0, 0, 0]) + len(text).to_bytes(4) + text for text in (b"one\n", b"two\n"))
    assert _plain(frames) == "one\ntwo\n" and _plain(b"") == "" and _plain(frames[:15]) == "one\n"


def test_links_of_the_host_are_followed_within_the_host(tmp_path: Path) -> None:
    """The kernel would follow an absolute link from the root of this process."""
    root = tmp_path / "root"
    (root / "run/docker").mkdir(parents=True)
    (root / "var").mkdir()
    (root / "var/run").symlink_to("/run")
    (root / "run/loop").symlink_to("loop")
    (root / "run/docker/key").write_text("here")
    (root / "etc").mkdir()
    (root / "etc/resolv.conf").symlink_to("../../../../run/docker/key")  # not above the root
    resolved = host_files._beneath(str(root), "/var/run/docker/./key", follow=True)
    assert Path(resolved) == root / "run/docker/key"
    assert Path(host_files._beneath(str(root), "/etc/resolv.conf", follow=True)).read_text() == "here"
    assert Path(host_files._beneath(str(root), "/etc/resolv.conf", follow=False)).is_symlink()
    assert host_files._beneath(str(root), "/var/../../etc/none", follow=True) == f"{root}/etc/none"
    with pytest.raises(OSError, match="symbolic links"):
        host_files._beneath(str(root), "/run/loop", follow=True)
    assert host_files.host_file("/var/run/x") == "/var/run/x"  # as a process


@pytest.mark.parametrize(
    ("head", "body", "answer"),
    [
        ("", b'{"ApiVersion": "1.41"}', {"ApiVersion": "1.41"}),
        ("Content-Type: application/json\r\n", b"[1]", [1]),
        ("", b"\x01\0\0\0\0\0\0\x03one", b"\x01\0\0\0\0\0\0\x03one"),
    ],
)
def test_an_engines_answer_is_a_value_or_the_bytes_of_a_log(
    head: str, body: bytes, answer: object, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "d"))
        listener.listen()

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(65536)
                client.sendall(f"HTTP/1.1 200 OK\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

        thread = threading.Thread(target=serve)
        thread.start()
        assert engine_answer(str(tmp_path / "d"), "GET", "/x", timeout=60) == (200, answer)
        thread.join()

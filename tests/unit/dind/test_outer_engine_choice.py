"""Which engine runs the hosts of a dind lab, and what is said where none can."""

import http.server
import json
import os
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.backends.dind import engine
from lab.errors import LabError


@contextmanager
def _answering(path: Path, version: object) -> Iterator[None]:
    """Something that answers `GET /version` on a unix socket."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(version).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

        def address_string(self) -> str:
            return "unix"

    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


def test_an_engine_that_answers_is_used(tmp_path: Path) -> None:
    with _answering(tmp_path / "d.sock", {"ApiVersion": "1.41"}):
        for environment in ({"DOCKER_HOST": f"unix://{tmp_path}/d.sock"}, {"LAB_ENGINE": f"{tmp_path}/d.sock"}):
            assert engine.choose(environment) == engine.Choice(f"{tmp_path}/d.sock")


@pytest.mark.parametrize(
    ("version", "complaint"),
    [
        ({"ApiVersion": "1.39"}, r"speaks API 1\.39; hosts need 1\.41"),
        ({"x": 1}, "no Docker Engine"),
        ("?", "no Docker"),
    ],
)
def test_what_is_too_old_or_something_else_is_refused(tmp_path: Path, version: object, complaint: str) -> None:
    with _answering(tmp_path / "d.sock", version), pytest.raises(LabError, match=complaint):
        engine.choose({"DOCKER_HOST": f"unix://{tmp_path}/d.sock"})


def test_a_named_engine_that_is_not_there_is_no_reason_for_another(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"no Docker Engine answers at .*absent.*running"):
        engine.choose({"LAB_ENGINE": f"unix://{tmp_path}/absent.sock"})


def test_an_engine_elsewhere_is_refused() -> None:
    with pytest.raises(LabError, match="name a unix socket"):
        engine.choose({"DOCKER_HOST": "tcp://10.0.0.1:2375"})


@pytest.mark.parametrize(
    ("user", "program", "complaint"),
    [
        (1000, lambda: "/usr/sbin/dockerd", "only root can start one"),
        (0, lambda: None, "sudo apt-get install docker.io"),
    ],
)
def test_where_there_is_none_it_says_what_to_do(
    user: int, program: Callable[[], str | None], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "USUAL", str(tmp_path / "absent.sock"))
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(engine, "program", program)
    with pytest.raises(LabError, match=complaint):
        engine.choose({})


def test_root_starts_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "USUAL", str(tmp_path / "absent.sock"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(engine, "program", lambda: "/usr/sbin/dockerd")
    assert engine.choose({}).own
    assert engine.choose({"LAB_ENGINE": "own"}).own

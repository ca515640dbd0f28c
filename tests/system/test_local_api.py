"""What another user of the host, and a web page in a browser on it, can do with the daemon's TCP ports."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from overlay_hosts import IMAGE, Host, eventually, underlay

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups") if os.geteuid() == 0 else ()
PAGES = ("Origin: http://evil.example", "Sec-Fetch-Site: cross-site", "Host: evil.example", "Origin: null")


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with underlay() as made:
        made.host("orion", 2).weave("launch", "--allow-host", "lab.example")
        yield made.hosts["orion"]


def ask(host: Host, path: str, *words: str, port: int = 6784, as_nobody: bool = True) -> tuple[int, str]:
    """One request over TCP: (status, body)."""
    who = NOBODY if as_nobody else ()
    out = host.run(*who, "curl", "-sS", "-w", "\n%{http_code}", *words, f"http://127.0.0.1:{port}{path}").stdout
    body, _, status = out.rpartition("\n")
    return int(status), body


def token(host: Host) -> Path:
    return host.disk / "w.token"


def routes() -> list[tuple[str, str, bool]]:
    """(method, path, whether it takes a token over TCP) of the whole control API, as its code declares them."""
    from overlay.daemon.control.server import application
    from overlay.http.listener import Door

    none: Any = None  # nothing is asked of the parts of a daemon
    every = application(none).router.routes()
    over_tcp = application(none, Door(token="x")).router.routes()
    found = []
    for plain, guarded in zip(every, over_tcp, strict=True):
        assert plain.resource is not None and guarded.resource is not None
        assert (plain.method, plain.resource.canonical) == (guarded.method, guarded.resource.canonical)
        path = plain.resource.canonical.replace("{ip}", "10.32.0.9").replace("{length}", "24")
        with_token = guarded.handler.__qualname__.startswith("Door.with_token.")
        found.append((plain.method, path.replace("{", "").replace("}", ""), with_token))
    return found


READ = {"/status", "/status/part", "/report", "/metrics", "/options", "/watch", "/ip/container", "/lookup/name"}
READ |= {"/domain", "/dns-address", "/dns-address-port", "/ipinfo/defaultsubnet", "/ipinfo/tracker", "/ps", "/proxy"}
READ |= {"/policy", "/policy/explain"}
READ |= {"/ip", "/ip/container/10.32.0.9/24", "/name", "/proxyaddrs", "/status-json"}


def test_whatever_is_not_known_to_only_look_takes_a_token() -> None:
    assert {path for method, path, guarded in routes() if not guarded and method == "GET"} == READ
    assert all(guarded for method, path, guarded in routes() if method != "GET" or path == "/ring")


def test_another_user_changes_nothing_over_tcp(host: Host) -> None:
    body = {"name": "p", "addresses": ["10.0.1.66/24"], "create": {"Image": IMAGE, "Entrypoint": ["sh"]}}
    words = ("-H", "Content-Type: text/plain", "-d", json.dumps(body))
    assert ask(host, "/run", *words)[0] == 401
    assert host.engine("GET", "/containers/json?all=1").strip() == "[]"
    before, pid = host.weave("report").stdout, host.daemon()
    for method, path, guarded in routes():
        if guarded:
            status, said = ask(host, path + "?surrender=1", "-X", method, "-d", "peer=192.168.0.9&address=10.32.0.9/24")
            assert (status, "w.token" in said) == (401, True), (method, path, said)
    after = json.loads(host.weave("report").stdout)
    for part in ("ipam", "dns", "endpoints", "policy"):
        assert after[part] == json.loads(before)[part], part
    assert after["mesh"]["targets"] == [] and host.daemon() == pid
    assert ask(host, "/run", "-H", "Authorization: Bearer " + 64 * "0", *words)[0] == 401


def test_the_token_is_its_owners_alone_and_new_at_each_start(host: Host) -> None:
    path = token(host)
    first = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    if NOBODY:
        assert host.run(*NOBODY, "cat", str(path), check=False).returncode != 0
    assert ask(host, "/ip/mine", "-X", "POST", "-H", f"@{path}", as_nobody=False)[0] == 200
    assert ask(host, "/ring", "-H", f"@{path}", as_nobody=False)[0] == 200
    assert ask(host, "/ip/mine", "-X", "DELETE", "-H", f"@{path}", as_nobody=False)[0] == 200
    host.weave("stop")
    assert not path.exists()
    path.touch(0o666)  # left by something else
    host.weave("launch", "--allow-host", "lab.example")
    assert path.read_text() != first and stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("header", PAGES)
def test_a_web_page_gets_nothing_from_either_port(host: Host, header: str) -> None:
    for port in (6784, 6782):
        for path in ("/status", "/report", "/no-such", "/ring"):
            for method in ("GET", "OPTIONS", "POST"):
                status, said = ask(host, path, "-X", method, "-H", header, port=port)
                assert status == 403 and "refused" in said and "Service" not in said, (port, path, method, said)
    # Not with the token either, nor by what it says of its content; and unix sockets are out of reach of pages.
    mine = ("-H", f"@{token(host)}", "-H", "Content-Type: application/json")
    assert ask(host, "/ring", "-H", header, *mine, as_nobody=False)[0] == 403
    words = ("curl", "-sS", "-H", header, "--unix-socket", f"{host.disk}/w", "http://w/status")
    assert "Service: router" in host.run(*words).stdout


@pytest.mark.parametrize("name", ["localhost", "lab.example:6784", "192.168.0.2", "[::1]:6784"])
def test_own_names_are_answered(host: Host, name: str) -> None:
    for port in (6784, 6782):
        status, said = ask(host, "/status", "-H", f"Host: {name}", "-H", f"Origin: http://{name}", port=port)
        assert status == 200 and "Service: router" in said


OPEN_MANY = """
import socket, sys
port, count, request = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode()
kept = []
for number in range(count):
    each = socket.create_connection(("127.0.0.1", port))
    try:
        each.sendall(request)
    except OSError:
        pass  # turned out already
    kept.append(each)
print("open", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    "request_line", ["", "GET /sta", "GET /watch HTTP/1.1\r\nHost: localhost\r\n\r\n"], ids=["idle", "half", "watch"]
)
def test_many_connections_use_up_nothing(host: Host, request_line: str) -> None:
    pid = host.daemon()
    before = len(host.sh(f"ls /proc/{pid}/fd").split())
    words = (sys.executable, "-c", OPEN_MANY, "6784", "300", request_line)
    crowd = host.popen(*NOBODY, *words, stdin=subprocess.PIPE)
    try:
        assert crowd.stdout is not None and crowd.stdout.readline() == "open\n"
        assert ask(host, "/status")[0] == 200  # and `weave` goes by the unix socket
        assert "Service: router" in host.weave("status").stdout
        eventually(
            lambda: len(host.sh(f"ls /proc/{pid}/fd").split()) < before + 70, 8, what="bounded"
        )  # idle ones end after 15 s
        if "watch" in request_line:
            assert ask(host, "/watch")[0] == 503
    finally:
        crowd.communicate()  # closes its input, which ends it
    eventually(lambda: len(host.sh(f"ls /proc/{pid}/fd").split()) <= before + 2, what="all given back")


def test_a_container_does_not_reach_the_local_ports(host: Host) -> None:
    guest = host.weave("run", "10.0.9.1/24", "--name", "guest", IMAGE, "guest").stdout.strip()
    host.weave("expose", "10.0.9.100/24")
    try:
        assert host.inside("guest", "ping", "-n", "-c1", "-W30", "10.0.9.100").returncode == 0
        for address in ("127.0.0.1", "10.0.9.100", "172.17.2.1", "192.168.0.2"):
            for port in (6784, 6782):
                url = f"http://{address}:{port}/status"
                assert host.inside("guest", "curl", "-sS", "-m", "5", url).returncode in (7, 28), url
    finally:
        host.engine("DELETE", f"/containers/{guest}?force=1")
        host.weave("hide", "--all")

"""Commands that answer at once stay so: what they must not import, asked of the real commands. Nothing is timed."""

import json
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[3]
HTTP = {"aiohttp", "yarl"}
NETLINK = {"pyroute2"}
FIGURES = {"matplotlib", "numpy", "PIL", "networkx", "jinja2"}
SCENARIOS = {"pydantic", "ruamel", "rich", "anyascii"}
OVERLAY = {"msgspec", "cryptography", "spake2", "dnslib", "uvloop", "asyncio"}
FORBIDDEN = {
    "weave status": HTTP | NETLINK | FIGURES | SCENARIOS | OVERLAY | {"click", "subprocess", "logging", "lab"},
    "weave ps": HTTP | NETLINK | FIGURES | SCENARIOS | OVERLAY | {"click", "subprocess", "logging", "lab"},
    "weave help": HTTP | NETLINK | FIGURES | SCENARIOS | OVERLAY | {"click", "subprocess", "logging", "lab"},
    "lab --help": HTTP | NETLINK | FIGURES | SCENARIOS | OVERLAY | {"overlay.docker", "overlay.node", "lab.runner"},
    "lab run --backend sim": HTTP
    | NETLINK
    | FIGURES
    | {"spake2", "uvloop", "jinja2", "tarfile", "pandas", "pyarrow", "scipy", "overlay.kernel.netlink"}
    | {"lab.figures", "lab.plots", "lab.records.trace", "lab.runner.hands", "lab.runner.open_timeline"}
    | {f"lab.verbs.{verb}" for verb in ("attach", "churn", "clock", "flap", "kill", "link", "move", "policy", "trace")},
}
"""Command -> packages and modules that it does without."""
ASK = """
import json, sys
sys.argv = json.loads(sys.argv[1])
try:
    if sys.argv[0] == "weave":
        from overlay.cli.main import main
        code = main()
    else:
        from lab.start import main
        code = main()
except SystemExit as end:
    code = end.code
sys.stderr.write("\\n" + json.dumps([code or 0, sorted(sys.modules)]))
"""


class Daemon(BaseHTTPRequestHandler):
    """Answers whatever it is asked as a router of another program."""

    def do_GET(self) -> None:
        body = b"[]" if self.path == "/ps" else b"all is well\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass

    def address_string(self) -> str:
        return ""


@pytest.fixture
def socket_of_a_daemon(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "w"
    with socketserver.ThreadingUnixStreamServer(str(path), Daemon) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield path
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("line", FORBIDDEN)
def test_a_command_does_not_import(line: str, socket_of_a_daemon: Path, tmp_path: Path) -> None:
    words = line.split()
    if words[1] == "run":
        words += ["--no-figures", "--out", str(tmp_path / "out"), str(TOP / "scenarios" / "partition.yaml")]
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(words)],
        env={**os.environ, "PYTHONPATH": str(TOP), "WEAVE_SOCK": str(socket_of_a_daemon)},
        capture_output=True,
        text=True,
        check=False,
    )
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done
    if line == "weave status":
        assert done.stdout == "all is well\n"
    found = [name for name in modules if any(f"{name}.".startswith(f"{each}.") for each in FORBIDDEN[line])]
    assert found == []


def test_the_daemon_and_weave_check_load_netlink_messages_without_the_rest_of_pyroute2() -> None:
    """And whoever asks the library for the rest gets it, with the same classes of messages."""
    code = """
import json, sys
import overlay.cli.facts, overlay.daemon.daemon
from overlay.kernel.messages import ifinfmsg
from overlay.kernel.wireguard import open_wireguard
lean = sorted(name for name in sys.modules if name.partition(".")[0] in ("pyroute2", "psutil"))
import pyroute2
assert not hasattr(pyroute2, "no_such_name_or_module")
from pyroute2 import IPRoute
assert pyroute2.netlink.rtnl.ifinfmsg.ifinfmsg is ifinfmsg and pyroute2.NDB and "__getattr__" not in vars(pyroute2)
print(json.dumps(lean))
"""
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    lean = json.loads(done.stdout)
    assert "pyroute2.netlink.rtnl.ifinfmsg" in lean
    assert [
        name for name in lean if name.startswith(("pyroute2.ndb", "pyroute2.ipdb", "pyroute2.iproute", "psutil"))
    ] == []

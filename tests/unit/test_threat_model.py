"""docs/security.md names a test for every row of its threat model; each of them exists."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "security.md"
ATTACKERS = (
    "a stranger on the underlay",
    "a neighbour with the password",
    "a hostile container",
    "another local user",
    "a web page in a browser on the host",
    "the author of a scenario",
    "the author of an image",
    "another program on the host",
)

OPENS = re.compile(r"create_server\(|start_server\(|start_unix_server\(|SockSite\(|TCPSite\(|HTTPServer\(|\.listen\(\d")
LISTENERS = {
    "overlay/runtime/tcp.py": "TCP and UDP 6783",
    "overlay/runtime/dns_sockets.py": "UDP and TCP 53",
    "overlay/daemon/daemon.py": "router.sock",
    "overlay/http/listener.py": "TCP 127.0.0.1:6784",
    "overlay/proxy/main.py": "TCP 127.0.0.1:12375",
    "overlay/docker/plugin.py": "plugins/weave.sock",
    "lab/backends/netns/control.py": "abstract socket",
    "lab/backends/dind/helper.py": "passed on by `dind`",
    "lab/backends/vagrant/agent.py": "passed on by `dind` and `vagrant`",
    "lab/engine/server.py": "unix sockets of hosts",
    "lab/images/dummy_http.py": "",
    "lab/probes/throughput.py": "",
}
"""What opens a listener, and its row; the last two run in the namespaces of a lab only."""


def rows(section: str) -> list[list[str]]:
    """The cells of the table of a section, without its head."""
    text = PAGE.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    assert len(found) > 2 and set(found[1][0]) == {"-"}, f"{section}: no table"
    return found[2:]


def functions_of(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")
    }


def test_every_row_names_tests_that_exist() -> None:
    wrong = []
    for who, reach, must_not, shown in rows("Threat model"):
        named = re.findall(r"`([^`]+)`", shown)
        if not named:
            wrong.append(f"{who}, {reach}: {must_not}: names no test")
        for name in named:
            file, separator, function = name.partition("::")
            path = ROOT / file
            if not separator or not file.startswith("tests/") or not path.is_file():
                wrong.append(f"{name}: no such file")
            elif function not in functions_of(path):
                wrong.append(f"{name}: no such test")
    assert not wrong, "\n".join(wrong)


def test_every_attacker_has_rows() -> None:
    assert {row[0] for row in rows("Threat model")} == set(ATTACKERS)


def test_every_listener_of_the_code_has_its_row() -> None:
    files = [path for folder in ("overlay", "lab") for path in sorted((ROOT / folder).rglob("*.py"))]
    assert {str(path.relative_to(ROOT)) for path in files if OPENS.search(path.read_text())} == set(LISTENERS)
    named = " ".join(row[0] for row in rows("Listeners"))
    assert all(words in named for words in LISTENERS.values())

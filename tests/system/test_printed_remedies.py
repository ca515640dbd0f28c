"""Whatever command a message of the overlay prints as a remedy can be typed: all of them are collected and typed.

The rest of the file takes remedies from real output and does what they say.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from overlay_hosts import IMAGE, ROOT, Host, Underlay, eventually, underlay

COMMAND = re.compile(r"`(weave [^`]*)`")
FILLINGS = {
    "{self._config.name}": "7a:00:00:00:00:01",
    "{owner}": "7a:00:00:00:00:01",
    "{away[0]}": "7a:00:00:00:00:01",
    "{lost[0]}": "7a:00:00:00:00:01",
    "{cidr}": "10.32.0.99/12",
    "{short(owner)}": "svc1",
    "{container.shown}": "svc1",
    "{owner['name']}": "7a:00:00:00:00:01",
    "{address}": "192.168.0.99",
    "{max(fits, MIN_MTU)}": "1300",
    "{container}": "svc1",
    "{command}": "dns-add",
    "%s": "10.32.0.100/12",
    "--name NAME": "--name ::5",
    "[--replace] PEER ...": "192.168.0.99",
    "PEER ...": "192.168.0.99",
    "PEER": "192.168.0.99",
    "[IP ...] CONTAINER [-h NAME]": "svc1 -h name",
    "IP ...": "10.32.0.1",
    "NAME": "name",
    "CONTAINER": "svc1",
    "weave allow": "weave help allow",
    "weave {verb} from X to Y[:PORT]": "weave help deny",
    "weave {verb} from X to Y": "weave help deny",
    "weave policies --explain X Y[:PORT]": "weave help policies",
    "weave policies --remove N ...": "weave help policies",
    "[ADDRESS ...] [DOCKER-RUN-FLAGS] IMAGE [COMMAND ...]": f"{IMAGE} typed",
}
"""What stands for the expressions of a message, and for the words of a usage line."""
UNKNOWN_PEER = "found no peer"
ELSEWHERE = ("docker", "systemctl", "timedatectl", "rm", "firewall-cmd", "ufw")
"""Programs that a test host does not have, or must not run; what they take is theirs."""


def printed(folder: str = "overlay", pattern: re.Pattern[str] = COMMAND) -> dict[str, str]:
    """Every command in backticks in a string of `overlay/` that is no documentation, with its place."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        silent = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                text = "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "{" + ast.unparse(part.value) + "}"  # type: ignore[attr-defined]
                    for part in node.values
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent | inner:
                text = node.value
            else:
                continue
            for command in pattern.findall(text):
                found.setdefault(command, f"{path.relative_to(ROOT)}:{node.lineno}")
    return found


def typed(command: str) -> str:
    """The command with its gaps filled."""
    for gap, filling in FILLINGS.items():
        command = command.replace(gap, filling)
    return command


@pytest.fixture
def net() -> Iterator[Underlay]:
    with underlay() as made:
        yield made


def test_every_command_that_a_message_names_can_be_typed(net: Underlay, tmp_path: Path) -> None:
    host = net.host("orion", 2)
    host.weave("launch")
    host.weave("run", "--name", "svc1", IMAGE, "svc1")
    names = tmp_path / "names.txt"
    names.write_text("10.32.0.9 typed.weave.local\n")
    last = ("weave reset", "weave stop", "weave launch")  # what ends the router comes last, and is followed by a start
    commands = sorted(printed().items(), key=lambda item: (item[0].startswith(last), item))
    assert len(commands) > 25, "the commands are not found any more"
    for command, place in commands:
        if command.startswith("weave systemd"):
            continue  # it would change the units of the machine that runs the tests; test_systemd_host.py types it
        if "--in-container" in command:
            continue  # it needs the image, which takes minutes to make; test_container_form.py types it
        line = typed(command).replace("--from FILE", f"--from '{names}'")
        assert not set("{}[]%") & set(line), f"{place}: no filling for a gap of `{command}`: {line}"
        if line.split()[:2] == ["weave", "launch"]:
            host.weave("stop")
        done = host.run("sh", "-c", f'weave() {{ "{sys.executable}" -m overlay.cli.main "$@"; }}; {line}', check=False)
        refused = done.returncode not in (0, 1) or (done.returncode == 1 and UNKNOWN_PEER not in done.stderr)
        assert not refused, f"{place}: `{line}`: {done.returncode} {done.stderr}"
        if line in ("weave stop", "weave reset"):
            host.weave("launch")
        if line.startswith(("weave detach", "weave reset")):
            host.weave("attach", "svc1")


def test_every_other_command_that_check_names_can_be_typed(net: Underlay) -> None:
    """What `weave check` has people type besides `weave`, on a host where there is something to mend."""
    host = net.host("orion", 2)
    host.weave("launch")
    host.weave("run", "--name", "svc1", IMAGE, "svc1")
    host.weave("expose")  # the chain WEAVE, and the jump to it
    pid = host.container("svc1")["State"]["Pid"]
    enter = f"nsenter --net=/proc/{pid}/ns/net"
    fillings = {
        "{enter}": enter,
        "{cidr}": "10.32.0.77/12",
        "{process.pid}": str(host.daemon()),
        "{port}": "6784",
        "{forward.command}": "iptables",
        "{_FORWARD4}": "net.ipv4.ip_forward",
        "{off}": "net.ipv6.conf.all.disable_ipv6",
        "{host.underlay or name}": "eth0",
        "{address}": "172.17.2.1",
        "{kept.directory}": str(host.disk / "db"),
    }
    host.sh(f"{enter} ip addr add 10.32.0.77/12 dev ethwe")
    count = 0
    for command, place in sorted(printed("overlay/check", re.compile(r"`([a-z0-9{][^`]* [^`]+)`")).items()):
        if command.startswith("weave") or command == "{rule.undo}":
            continue
        line = command
        for gap, filling in fillings.items():
            line = line.replace(gap, filling)
        if line.split()[0] in ELSEWHERE:
            continue
        assert not set("{}[]") & set(line), f"{place}: no filling for a gap of `{command}`: {line}"
        done = host.run("sh", "-c", line, check=False)
        assert done.returncode == 0, f"{place}: `{line}`: {done.returncode} {done.stderr}"
        count += 1
    assert count > 8, "the commands are not found any more"


def test_the_remedy_of_a_quarantine_ends_it(net: Underlay) -> None:
    """Two networks that allocated before they met: what `status ipam` of the loser says is typed word by word."""
    hosts = [net.host("orion", 2), net.host("macbook", 3)]
    for number, host in enumerate(hosts):
        host.weave("launch", "--name", f"02:00:00:00:00:0{number}", "--http-addr=", "--status-addr=")
        host.weave("run", "--name", f"c{number}", IMAGE, "x")
    hosts[0].weave("connect", hosts[1].address)

    def quarantined() -> tuple[Host, str] | None:
        for host in hosts:
            for line in host.weave("status", "ipam").stdout.splitlines():
                if line.startswith("quarantined:"):
                    return host, line
        return None

    eventually(quarantined, what="the quarantine")
    found = quarantined()
    assert found is not None
    loser, line = found
    commands = COMMAND.findall(line)
    assert len(commands) == 2, line
    for command in commands:
        loser.weave(*command.split()[1:])
    eventually(lambda: quarantined() is None, what="the end of the quarantine")
    held = {host.weave("ps").stdout.split()[2] for host in hosts}
    assert len(held) == 2, held

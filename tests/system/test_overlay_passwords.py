"""Passwords, and what looks without touching, on real hosts: one that has met pays no PAKE; bytes tell nothing."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from overlay_hosts import Host, Underlay, eventually, underlay
from prometheus_client.parser import text_string_to_metric_families

WORD = "correct horse"


@pytest.fixture(scope="module")
def net() -> Iterator[Underlay]:
    with underlay() as made:
        for number, name in ((2, "orion"), (3, "macbook")):
            made.host(name, number).weave("launch", "--password", WORD, "--host", f"192.168.0.{number}")
        made.hosts["orion"].weave("connect", "192.168.0.3")
        yield made


def neighbours(host: Host) -> int:
    connections = json.loads(host.weave("report").stdout)["mesh"]["connections"]
    return sum(connection["state"] == "established" and connection["encrypted"] for connection in connections)


def test_two_hosts_meet_and_after_a_kill_resume(net: Underlay) -> None:
    orion, macbook = net.hosts["orion"], net.hosts["macbook"]
    eventually(lambda: neighbours(orion) == neighbours(macbook) == 1, what="connected")
    kept = macbook.disk / "db" / "session-peers.state"  # a file of another ending is not renamed yet
    eventually(kept.exists, what="kept")
    macbook.kill_daemon()
    macbook.weave("launch", "--password", WORD, "--host", "192.168.0.3")
    eventually(lambda: neighbours(orion) == neighbours(macbook) == 1, what="connected again")
    assert json.loads(macbook.weave("report").stdout)["mesh"]["computed"] == 0


def test_the_password_is_not_told(net: Underlay) -> None:
    orion = net.hosts["orion"]
    refused = orion.weave("launch", "--password", "guess", "--host", "192.168.0.2", check=False)
    assert refused.returncode == 1 and "--password is set, asked for another one" in refused.stderr
    assert WORD not in refused.stderr
    same = orion.weave("launch", "--password", WORD, "--host", "192.168.0.2")
    assert "with the same options" in same.stderr
    for path in ("/options", "/report", "/status"):
        assert WORD not in orion.run("curl", "-sS", f"http://127.0.0.1:6784{path}").stdout
    assert WORD not in orion.log
    pid = json.loads(orion.weave("report").stdout)["driver"]["pid"]
    assert WORD not in orion.sh(f"tr '\\0' ' ' < /proc/{pid}/cmdline")


def test_the_port_that_only_looks(net: Underlay) -> None:
    orion = net.hosts["orion"]

    def call(method: str, path: str) -> str:
        return orion.run(
            "curl", "-sS", "-o", "-", "-w", " %{http_code}", "-X", method, f"http://127.0.0.1:6782{path}"
        ).stdout

    families = {family.name for family in text_string_to_metric_families(call("GET", "/metrics").rpartition(" ")[0])}
    assert "weave_connections" in families and "weave_ipam_unreachable_count" in families
    assert "Service: router" in call("GET", "/status") and call("GET", "/report").endswith(" 200")
    for method, path in (("POST", "/leave"), ("POST", "/connect"), ("GET", "/options"), ("POST", "/ip/x")):
        assert call(method, path).endswith(" 404"), path


def test_report_takes_a_template(net: Underlay) -> None:
    orion = net.hosts["orion"]
    assert orion.weave("report", "-f", "{{.mesh.nickname}} {{len .mesh.peers}}").stdout == "orion 2\n"
    wrong = orion.weave("report", "-f", "{{.mesh.nick}}", check=False)
    assert wrong.returncode == 1 and "no field 'nick'" in wrong.stderr


def test_targets_last_as_long_as_their_launch(net: Underlay) -> None:
    orion = net.hosts["orion"]
    launch = ("launch", "--password", WORD, "--host", "192.168.0.2")

    def targets() -> list[str]:
        return orion.weave("status", "targets").stdout.split()

    assert targets() == ["192.168.0.3"]
    orion.weave("connect", "--replace", "192.168.0.9")
    assert targets() == ["192.168.0.9"]
    orion.weave("connect", "192.168.0.3")
    orion.weave("forget", "192.168.0.9")
    for end in (
        orion.kill_daemon,
        lambda: orion.sh(f"kill {orion.daemon()}; while test -e {orion.disk}/w.pid; do :; done"),
    ):
        end()
        orion.weave(*launch)
        assert targets() == ["192.168.0.3"], "whatever starts it again after a crash, or a supervisor's TERM"
    orion.weave("stop")
    orion.weave(*launch, "--resume")
    assert targets() == ["192.168.0.3"]
    orion.weave("stop", "--for-restart")
    orion.weave(*launch)
    assert targets() == ["192.168.0.3"], "an upgrade is no launch of its own"
    orion.weave("stop")
    orion.weave(*launch)
    assert targets() == [], "a launch by hand names its peers itself"
    orion.weave("stop")
    orion.weave(*launch, "192.168.0.8", "192.168.0.3")
    orion.weave("connect", "192.168.0.7")
    orion.weave("forget", "192.168.0.8")
    orion.kill_daemon()
    orion.weave(*launch, "192.168.0.8", "192.168.0.3")
    assert targets() == ["192.168.0.3", "192.168.0.7"], "of the command line's peers, too"
    both = orion.weave(*launch, "--resume", "192.168.0.9", check=False)
    assert both.returncode == 2 and "`weave connect PEER`" in both.stderr
    orion.kill_daemon()
    orion.weave(*launch, "192.168.0.6")
    assert targets() == ["192.168.0.6"], "other peers: another launch"
    orion.weave("stop")
    orion.weave(*launch, "nowhere.invalid")
    assert targets() == ["nowhere.invalid"]
    orion.weave("forget", "nowhere.invalid")
    assert targets() == []

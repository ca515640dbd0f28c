"""A stranger's words before any proof, and a peer's: neither forges a log line nor reaches a terminal as it is."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from overlay_hosts import PYTHON, Host, Underlay, eventually, underlay

HOSTILE = "x\n2026-11-29 15:00:00.000 ERROR   forged\x1b]0;owned\x07\x9b31m\u202egnp"
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (?:INFO|WARNING|ERROR|DEBUG)")
STRANGER = """
import socket, sys
from overlay.wire.envelopes import Hello
from overlay.mesh.session import Session
from overlay.wire.codec import encode_message
hello = encode_message(Hello(sys.argv[2], sys.argv[3], 1, 2, 6783))
with socket.create_connection((sys.argv[1], 6783)) as there:
    there.sendall(Session().outgoing() + len(hello).to_bytes(4, "big") + hello)
    while there.recv(4096):
        pass
"""


@pytest.fixture(scope="module")
def net() -> Iterator[Underlay]:
    with underlay() as made:
        made.host("orion", 2).weave("launch", "--password", "x")
        made.host("bare", 3).weave("launch")
        made.host("guest", 4).weave("launch", "--nickname", HOSTILE, "192.168.0.3")
        yield made


def harmless(text: str) -> bool:
    return all(char.isprintable() or char == "\n" for char in text)


def check_log(host: Host) -> None:
    assert "forged" in host.log
    assert harmless(host.log), host.log
    lines = host.log.splitlines()
    assert all(LINE.match(line) for line in lines), host.log
    assert not any("ERROR   forged" in line[:60] for line in lines), host.log


@pytest.mark.parametrize(("name", "nickname"), [("7a:9f:eb:b6:0c:6e", HOSTILE), (HOSTILE, "x")])
def test_a_stranger_writes_no_line_of_its_own(net: Underlay, name: str, nickname: str) -> None:
    orion, guest = net.hosts["orion"], net.hosts["guest"]
    guest.run(PYTHON, "-c", STRANGER, "192.168.0.2", name, nickname, check=False)
    eventually(lambda: "refused" in orion.weave("status", "connections").stdout, what="shown")
    said = orion.weave("status", "connections").stdout
    assert harmless(said) and not any(line.startswith("2026") for line in said.splitlines())
    eventually(lambda: "refused" in orion.log, what="logged")
    assert harmless(orion.log) and all(LINE.match(line) for line in orion.log.splitlines()), orion.log
    if nickname == HOSTILE:
        check_log(orion)
        assert "forged" in said


def test_a_peer_s_words_are_shown_as_words(net: Underlay) -> None:
    bare, guest = net.hosts["bare"], net.hosts["guest"]
    eventually(lambda: "established" in bare.weave("status", "connections").stdout, what="connected")
    guest.weave("expose", "10.32.200.1/12", "-h", "named")
    eventually(lambda: "named" in bare.weave("status", "dns").stdout, what="named")
    for words in (
        *(("status", part) for part in ("connections", "peers", "dns", "ipam", "targets")),
        *(("status",), ("report",), ("report", "-f", "{{range .mesh.peers}}{{println .nickname}}{{end}}"), ("ps",)),
        *(("rmpeer", HOSTILE), ("connect", HOSTILE), ("attach", HOSTILE), (HOSTILE,), ("dns-lookup", "a\x1bb")),
    ):
        done = bare.weave(*words, check=False)
        assert harmless(done.stdout) and harmless(done.stderr), (words, done)
        assert "\n2026" not in done.stdout, (words, done)
    assert "forged" in bare.weave("status", "peers").stdout
    for path in ("report", "status/peers"):
        assert harmless(bare.run("curl", "-sS", f"http://127.0.0.1:6782/{path}").stdout)
    guest.weave("stop")
    eventually(lambda: "ended" in bare.log, what="the end is logged")
    check_log(bare)

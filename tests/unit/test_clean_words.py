"""Foreign words where they are printed: nothing of them drives a terminal or looks like a line of ours."""

import json
import logging
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.clean import LINES, clean, clean_json, clean_tree
from overlay.daemon import status
from overlay.daemon.template import render
from overlay.runtime.process import LineFormatter

HOSTILE = "x\n2026-11-29 15:00:00.000 ERROR   forged\r\x1b]0;owned\x07\x9b31m\x7f\u202egnp\u2066\u2028\x85\u200b\udc9b"


def harmless(text: str) -> bool:
    return all(char.isprintable() or char in LINES for char in text)


@given(text=st.text(st.characters(), max_size=60))
def test_every_text_becomes_one_printable_line(text: str) -> None:
    assert clean(text).isprintable()
    assert clean(clean(text)) == clean(text)
    assert text.isprintable() == (clean(text) == text)
    clean(text).encode()


def test_what_was_there_can_be_read() -> None:
    assert clean("Zürich 東京 🐳") == "Zürich 東京 🐳"
    assert clean("a\x1b[31m\u202e\n") == "a\\x1b[31m\\u202e\\n"
    assert clean("a\nb\x1b", keep=LINES) == "a\nb\\x1b"
    assert clean("abcdef", most=4) == "abc…"
    assert clean_tree({"k\n": ["\x1b", 1, None, ("\x9b",)]}) == {"k\\n": ["\\x1b", 1, None, ["\\x9b"]]}


@given(
    value=st.recursive(st.text(st.characters(codec="utf-8")) | st.integers(), lambda each: st.lists(each, max_size=3))
)
def test_a_json_document_keeps_its_meaning(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False), json.dumps(value, indent=2)):
        assert harmless(clean_json(text)) and json.loads(clean_json(text)) == value


@pytest.mark.parametrize("cleaned", [clean, clean_json])
def test_one_odd_character_in_a_long_text_is_not_looked_for_one_by_one(cleaned: Any) -> None:
    calls = 0

    def count(_frame: Any, event: str, _of: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        found = cleaned("x" * 100_000 + "\u202e" + "y" * 100_000)
    finally:
        sys.setprofile(before)
    assert found == "x" * 100_000 + "\\u202e" + "y" * 100_000
    assert 0 < calls < 50


def test_a_log_line_is_one_line_and_a_traceback_is_indented() -> None:
    formatter = LineFormatter("%(levelname)s %(message)s")
    try:
        raise ValueError(HOSTILE)
    except ValueError as error:
        problem = (type(error), error, error.__traceback__)
    for exc_info in (None, problem):
        record = logging.LogRecord("x", logging.INFO, "", 1, "peer %s (%s)", (HOSTILE, HOSTILE), exc_info)
        first, *more = formatter.format(record).split("\n")
        assert first.startswith("INFO peer x\\n2026") and first.isprintable()
        assert all(line.startswith("    ") and line.isprintable() for line in more) and bool(more) == bool(exc_info)


def report() -> dict[str, Any]:
    """A report in which every word that another peer, container or name server chose is hostile."""
    peer = {"name": HOSTILE, "nickname": HOSTILE, "reachable": True, "gone": False}
    link = {"outbound": True, "address": HOSTILE, "peer": HOSTILE, "nickname": HOSTILE, "established": True}
    contest = {"what": HOSTILE, "mend": HOSTILE}
    return {
        "version": "1",
        "mesh": {
            "name": "a",
            "nickname": HOSTILE,
            "port": 6783,
            "encrypted": False,
            "discovery": True,
            "trusted_subnets": [],
            "name_conflict": False,
            "channel_conflicts": [{"channel": "ipam", "nickname": HOSTILE, "error": HOSTILE}],
            "targets": [
                {"address": HOSTILE, "explicit": True, "state": "waiting", "reason": HOSTILE, "next_attempt": None}
            ],
            "connections": [
                {"outbound": False, "address": HOSTILE, "state": "established", "peer": HOSTILE, "nickname": HOSTILE}
            ],
            "refused": [{"address": HOSTILE, "reason": HOSTILE, "count": 1, "age": 0, "peer": HOSTILE}],
            "peers": [{**peer, "links": [link]}],
        },
        "paths": {},
        "ipam": {
            "ready": False,
            "waiting": HOSTILE,
            "range": "10.32.0.0/12",
            "default_subnet": "10.32.0.0/12",
            "pending": [{"wants": HOSTILE, "container": HOSTILE}],
            "conflicts": [
                {"kind": "range", "owner": HOSTILE, "range": HOSTILE, "remedy": HOSTILE},
                {
                    "kind": HOSTILE,
                    "address": HOSTILE,
                    "container": HOSTILE,
                    "owner": HOSTILE,
                    "holder": HOSTILE,
                    "remedy": HOSTILE,
                },
            ],
            "peers": [{**peer, "owned": 1, "share": 1.0}],
        },
        "dns": {
            "domain": "weave.local.",
            "ttl": 1,
            "entries": [
                {"name": HOSTILE, "address": HOSTILE, "container": HOSTILE, "peer": HOSTILE, "state": "answered"}
            ],
        },
        "endpoints": {"quarantine": [contest]},
        "policy": {
            "default": "deny",
            "policies": [
                {"number": 1, "policy": HOSTILE, "from": "all", "to": "1", "writer": HOSTILE, "understood": False}
            ],
            "state": "off",
            "problem": HOSTILE,
            "peers": [{"name": HOSTILE, "nickname": HOSTILE, "differs": "has other policies"}],
        },
        "driver": {
            "device": "v",
            "bridge": "b",
            "mtu": 1,
            "sleeve": {},
            "stalled": False,
            "disk": HOSTILE,
            "dns_address": "1.2.3.4",
            "plugin": "weave",
            "proxy": [HOSTILE],
            "dns_problem": "",
            "upstreams": [HOSTILE],
        },
    }


@pytest.mark.parametrize("part", ["", *status.PARTS])
def test_every_page_of_status_is_harmless_and_has_no_line_more(part: str) -> None:
    said = status.text(report(), part)
    assert harmless(said)
    assert "forged" in said and not any(line.startswith("2026") for line in said.splitlines())


@pytest.mark.parametrize(
    "template", ["{{.mesh.nickname}}", "{{json .mesh}}", "{{.mesh}}", "{{range .mesh.peers}}{{println .name}}{{end}}"]
)
def test_what_a_template_takes_out_is_harmless(template: str) -> None:
    said = render(template, report())
    assert harmless(said) and "forged" in said and "\n2026" not in said

"""Which requests a TCP listener takes: those of programs, and those of its own pages."""

import pytest

from overlay.http.guard import has_token, host_name, refusal, token_header

OWN = ("127.0.0.1:6784", "localhost", "LocalHost:6784", "localhost.:6784", "[::1]:6784", "[fe80::1%eth0]", "10.0.0.1")
FOREIGN = (
    "evil.example",
    "evil.example:6784",
    "localhost.evil.example",
    "127.0.0.1.evil.example:6784",
    "127.0.0.1@evil.example",
    "localhost:80@evil.example",
    "0x7f000001",
    "[::1",
    "[::1]x",
    ":6784",
)


@pytest.mark.parametrize("host", OWN)
def test_programs_are_let_in(host: str) -> None:
    assert refusal([("Host", host), ("Content-Type", "text/plain"), ("User-Agent", "Docker-Client")]) is None


@pytest.mark.parametrize("host", FOREIGN)
def test_names_of_others_are_refused(host: str) -> None:
    said = refusal([("hOST", host)])
    assert said is not None and "--allow-host" in said
    assert refusal([("Host", "127.0.0.1"), ("Host", host)]) is not None


def test_named_hosts_are_let_in() -> None:
    assert refusal([("Host", "Lab.Example:80")], ("lab.example",)) is None
    assert refusal([("Host", "xlab.example:80")], ("lab.example",)) is not None


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://127.0.0.1:6784", True),
        ("http://127.0.0.1:8080", False),  # a container's published port
        ("http://127.0.0.1", False),
        ("http://evil.example", False),
        ("null", False),
        ("", False),
    ],
)
def test_a_page_may_ask_only_where_it_comes_from(origin: str, allowed: bool) -> None:
    said = refusal([("Host", "127.0.0.1:6784"), ("Origin", origin)])
    assert (said is None) == allowed
    assert refusal([("Host", "127.0.0.1:6784"), ("Origin", "http://127.0.0.1:6784"), ("Origin", "http://x")])


@pytest.mark.parametrize(
    ("site", "allowed"),
    [("same-origin", True), ("none", True), ("same-site", False), ("cross-site", False), ("", False)],
)
def test_browsers_say_where_a_request_comes_from(site: str, allowed: bool) -> None:
    assert (refusal([("Host", "localhost:6782"), ("Sec-Fetch-Site", site)]) is None) == allowed


def test_a_refusal_is_one_printable_line_that_does_not_grow() -> None:
    for header in ("Host", "Origin", "Sec-Fetch-Site"):
        said = refusal([("Host", "127.0.0.1"), (header, "\x1b]0;x\x07\u202e" + "y" * 9000)])
        assert said is not None and said.isprintable() and len(said) < 400


def test_only_the_very_token_opens() -> None:
    key, _, value = token_header("ab12").partition(": ")
    assert has_token([(key, value)], "ab12") and has_token([(key.lower(), value + " ")], "ab12")
    for given in ([], [(key, value), (key, value)], [(key, value + "3")], [(key, "Bearer ")], [(key, "\udcff")]):
        assert not has_token(given, "ab12")
    assert not has_token([(key, "Bearer ")], "")


def test_host_names() -> None:
    assert [host_name(text) for text in ("A:1", "[::1]:2", "a:b", "[::1]", "")] == ["a", "::1", "", "::1", ""]

"""The words of `weave launch-proxy`, `env` and `config`."""

import pytest

from overlay.cli import proxy as cli_proxy
from overlay.cli.launch_flags import parse_launch
from overlay.cli.proxy import config_words, env_words, warnings
from overlay.cli.proxy_flags import parse_proxy, split_proxy_words
from overlay.cli.words import Usage
from overlay.docker.engine import socket_path
from overlay.proxy.process import ProxyOptions, Running


def test_flags_in_both_spellings() -> None:
    old = parse_proxy(["-H", "tcp://0.0.0.0:1234", "--with-dns", "-no-default-ipam"])
    new = parse_proxy(["-H=tcp://0.0.0.0:1234", "--no-default-ipalloc"])
    assert old == new
    assert new.policy.no_default_ipalloc


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-H", "12375"], "expected tcp://"),
        (["-H", "tcp://x:y"], "expected tcp://"),
        (["--tls"], "need --tlscert"),
        (["--tlsverify", "--tlscert", "/etc/passwd", "--tlskey", "/etc/passwd"], "needs --tlscacert"),
        (["--tls", "--tlscert", "/none", "--tlskey", "/none"], "no such file"),
        (["--hostname-match", "("], "do not fit"),
        (["--hostname-match", "x?", "--hostname-replacement", "$3"], "do not fit"),
        (["--hostname-match", "^(?P<app>a)-", "--hostname-replacement", "$nam"], "`.nam` is no group .* 1, app"),
        (["--hostname-match", "only-some(.)", "--hostname-replacement", "$2"], "do not fit"),
        (["-D", "tcp://127.0.0.1:2375"], "unix socket"),
        (["--allow-host", "lab.example:80"], "without port"),
        (["--rewrite-inspct"], "did you mean `--rewrite-inspect`"),
        (["peer"], "flags only"),
    ],
)
def test_wrong_words_name_what_was_expected(words: list[str], expected: str) -> None:
    with pytest.raises(Usage, match=expected):
        parse_proxy(words)


def test_the_engine_and_listeners_in_the_spelling_of_2015() -> None:
    for words in (["-D", "unix:///x.sock"], ["-D=/x.sock"], ["--docker-api", "/x.sock"]):
        assert (
            parse_proxy(words).docker_api == "/x.sock" == parse_launch(["--docker-api=unix:///x.sock"], {}).docker_api
        )
    assert parse_proxy(["-H", ":1234", "-H", "/p"]).host == ("tcp://0.0.0.0:1234", "unix:///p")
    assert split_proxy_words(["--proxy", "-D", "/x", "peer"]) == (
        ["--docker-api", "/x", "peer"],
        ["--docker-api", "/x"],
    )


@pytest.mark.parametrize(
    ("match", "replacement", "hostname"),
    [
        ("^[^-]+-(?P<appname>[^-]*)-[^-]+$", "$appname", "web"),
        ("^[^-]+-(?<appname>[^-]*)-[^-]+$", "${appname}s", "webs"),
        ("^([^-]+)-(?P<a>[^-]*)-", "$a-$1", "web-aws"),
        ("^([^-]+)-(?P<a>[^-]*)-", r"\g<a>\1", "webaws"),
        ("^aws-(x)?", "$1$$", "$"),
        ("nothing", "$0", "aws-web-12"),
    ],
)
def test_groups_of_a_host_name(match: str, replacement: str, hostname: str) -> None:
    policy = parse_proxy(["--hostname-match", match, "--hostname-replacement", replacement]).policy
    assert policy.hostname("aws-web-12", {}) == hostname


def test_launch_tells_the_routers_words_from_the_proxys() -> None:
    assert split_proxy_words(["--ipalloc-range", "10.2.0.0/16", "peer"]) == (
        ["--ipalloc-range", "10.2.0.0/16", "peer"],
        None,
    )
    assert split_proxy_words(["-H", "tcp://1.2.3.4:5", "peer"]) == (["peer"], ["-H", "tcp://1.2.3.4:5"])
    assert split_proxy_words(["--proxy", "--docker-api=/d"]) == (["--docker-api=/d"], ["--docker-api=/d"])
    assert split_proxy_words(["--proxy=false", "--rewrite-inspect"]) == ([], None)


def test_names_are_for_router_and_proxy_and_add_up() -> None:
    words = ["--allow-host", "A.example,b.example", "--allow-host=c.example"]
    assert (
        parse_proxy(words).allow_host == ("a.example", "b.example", "c.example") == parse_launch(words, {}).allow_host
    )
    assert split_proxy_words(["--proxy", *words]) == (words, words)


@pytest.mark.parametrize(
    ("words", "warned"),
    [
        ([], True),
        (["-H", "unix:///x"], False),
        (["-H", "unix:///x", "-H", "tcp://0.0.0.0:2375"], True),
        (["--tlsverify", "--tlscacert", __file__, "--tlscert", __file__, "--tlskey", __file__], False),
        (["--tls", "--tlscert", __file__, "--tlskey", __file__], True),
    ],
)
def test_what_a_port_means_is_said_where_it_is_opened(words: list[str], warned: bool) -> None:
    said = "".join(warnings(parse_proxy(words)))
    assert ("is root on this host" in said) == warned and "unix:///x " not in said


def test_env_is_one_command_and_its_own_undoing(monkeypatch: pytest.MonkeyPatch) -> None:
    host = "tcp://127.0.0.1:12375"
    monkeypatch.setattr(cli_proxy, "running", lambda _: Running(pid=1, hosts=(host,), options=ProxyOptions()))
    shell = {"DOCKER_HOST": "tcp://old:2376", "DOCKER_TLS_VERIFY": "1"}
    words = env_words(shell).split()
    assert words[0] == "export" and f"DOCKER_HOST={host}" in words and "DOCKER_TLS_VERIFY=" in words
    inside = {**shell, **dict(word.split("=", 1) for word in words[1:])}
    assert env_words(inside).split() == words  # twice is once
    back = {**inside, **dict(word.split("=", 1) for word in env_words(inside, restore=True).split()[1:])}
    assert {key: value for key, value in back.items() if value} == shell
    assert env_words({}).split() == ["export", f"DOCKER_HOST={host}", "ORIG_DOCKER_HOST="]
    gone = {"DOCKER_HOST": host, "ORIG_DOCKER_HOST": ""}
    assert env_words(gone, restore=True) == "unset DOCKER_HOST ORIG_DOCKER_HOST"
    assert config_words({}) == f"-H={host}"


def test_the_engine_is_found_in_a_shell_that_talks_to_the_proxy() -> None:
    inside = {"DOCKER_HOST": "tcp://127.0.0.1:12375", "ORIG_DOCKER_HOST": "unix:///x/d"}
    assert socket_path(inside) == "/x/d"
    assert socket_path({**inside, "ORIG_DOCKER_HOST": ""}) == "/var/run/docker.sock"

"""The words of `weave`: what is accepted, what is refused, and what a refusal says."""

from pathlib import Path

import pytest
from command_hosts import CommandHost

from overlay.addresses import AddressSpec, looks_like_address, parse_address, parse_target
from overlay.cli import main as cli
from overlay.cli.launch import launch
from overlay.cli.launch_flags import parse_launch
from overlay.cli.original import COMMANDS, DNS_FLAGS, FLAGS, dns_arguments
from overlay.cli.run import parse_run
from overlay.cli.variables import REFUSED, TAKEN
from overlay.cli.words import Usage, take_addresses
from overlay.errors import UsageError
from overlay.options import LaunchOptions, differences


def test_both_spellings_of_launch_flags_say_the_same() -> None:
    old = parse_launch(
        ["-iprange", "10.2.3.0/24", "-initpeercount=3", "-nickname", "n", "-nodiscovery", "192.168.0.3"], {}
    )
    new = parse_launch(
        [
            "--ipalloc-range=10.2.3.0/24",
            "--ipalloc-init",
            "consensus=3",
            "--nickname=n",
            "--no-discovery",
            "192.168.0.3",
        ],
        {},
    )
    assert old == new
    config = new.config("02:00:00:00:00:01", "host")
    assert (config.iprange, config.initial_peer_count, config.discovery) == ("10.2.3.0/24", 3, False)
    assert str(config.peers[0]) == "192.168.0.3:6783"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--iprang", "10.0.0.0/8"], "did you mean `--iprange`"),
        (["--password"], "lacks its value"),
        (["--trusted-subnets", "10.0.0.x/8"], "trusted-subnets takes"),
        (["--dns-listen-address", "172.17.0.1:5353"], "port 53"),
        (["--dns-listen-address", "docker0"], "expected an address"),
        (["--ipalloc-init", "seed=foo,bar"], "`foo` is no name of a peer"),
        (["--name", "::1::"], "six bytes"),
        (["--host", "orion"], "expected an address"),
        (["--status-addr", "x"], "expected IP:PORT"),
        (["--ipalloc-range", "10.2.3.4/24"], "host bits"),
        (["--ipalloc-range"], "lacks its value"),
        (["--ipalloc-default-subnet", "10.99.0.0/16", "--ipalloc-range", "10.2.0.0/16"], "not within"),
        (["--ipalloc-init", "sed=a"], "expected consensus"),
        (["--port", "70000"], "from 1 to 65535"),
        (["--mtu", "500"], "from 1280"),
        (["--name", "orion"], "six bytes"),
        (["--log-level", "inf"], "did you mean `info`"),
        (["--gossip-interval", "5"], "as 500ms, 15s or 2m"),
        (["--gossip-interval", "0s"], "from 10ms to 24h"),
        (["--hold", "25h"], "from 1000ms to 24h"),
        (["--beat-losses", "1"], "from 2 to 100"),
        (["host:port"], "expected host"),
    ],
)
def test_wrong_launch_words_name_what_was_expected(words: list[str], expected: str) -> None:
    with pytest.raises(Usage, match=expected):
        parse_launch(words, {})


def test_experiments_reach_the_configuration() -> None:
    words = ["--gossip-interval=2s", "--flush-delay", "5ms", "--beat-losses", "3", "--hold=1.5m"]
    config = parse_launch(words, {}).config("02:00:00:00:00:01", "host")
    assert (config.gossip_interval, config.flush_delay, config.beat_losses) == (2_000_000_000, 5_000_000, 3)
    assert config.hold == 90_000_000_000 and config.beat_interval == 1_000_000_000
    found = differences(parse_launch(["--hold", "90s"], {}), parse_launch([], {}))
    assert found == ["--hold is 90s, asked for (default)"]


def test_forms_of_the_original_mean_the_same() -> None:
    assert parse_launch(["--trusted-subnets", "192.168.48.12/24,10.1.2.3"], {}).trusted_subnets == (
        "192.168.48.0/24", "10.1.2.3/32",
    )  # fmt: skip
    for typed, meant in (("172.17.0.1:53", "172.17.0.1"), (":53", "0.0.0.0"), ("[fd00::1]:53", "fd00::1")):
        assert parse_launch(["--dns-listen-address", typed], {}).dns_listen_address == meant
    options = parse_launch(["--name", "::A:1", "--ipalloc-init", "seed=::2,::a:1,::2"], {})
    assert options.name == "00:00:00:00:0a:01"
    assert options.config("", "").seed == ("00:00:00:00:00:02", "00:00:00:00:0a:01")


def test_every_variable_of_the_original_is_taken_or_refused() -> None:
    values = {"WEAVE_MTU": "1400", "WEAVE_PORT": "7000", "WEAVE_HTTP_ADDR": "127.0.0.1:1", "WEAVE_STATUS_ADDR": "h:2"}
    for name, (field, _) in TAKEN.items():
        found = getattr(parse_launch([], {name: values.get(name, "1")}), field)
        assert found != getattr(LaunchOptions(), field), name
        assert getattr(parse_launch([], {name: ""}), field) == getattr(LaunchOptions(), field)
    assert parse_launch(["--port", "7001", "--no-fastdp=false"], {"WEAVE_PORT": "1", "WEAVE_NO_FASTDP": "1"}) == (
        parse_launch(["--port", "7001"], {})
    )
    for name in REFUSED:
        with pytest.raises(Usage, match=f"{name} is set, and has no effect here: .*unset {name}"):
            parse_launch([], {name: "x"})
    for name, value in (("WEAVE_PORT", "tcp://172.17.0.2:80"), ("WEAVE_HTTP_ADDR", "none"), ("WEAVE_MTU", "9")):
        with pytest.raises(Usage, match=name):
            parse_launch([], {name: value})


def test_a_seed_without_this_peer_is_said() -> None:
    for seed, said in (("::1,::2", True), ("::1,::3", False)):
        host = CommandHost(then='{"mesh": {"name": "00:00:00:00:00:03"}}')
        words = cli.finish(launch(["--ipalloc-init", f"seed={seed}"], host))
        assert ("is not of the seed" in words) == said


def test_a_password_in_the_environment_is_not_ignored() -> None:
    assert parse_launch([], {"WEAVE_PASSWORD": "x"}).password == "x"
    assert parse_launch(["--password", "y"], {"WEAVE_PASSWORD": "x"}).password == "y"


def test_a_difference_of_passwords_tells_none() -> None:
    (found,) = differences(LaunchOptions(password="sesame"), LaunchOptions(password="open"))
    assert found == "--password is set, asked for another one"


def test_differences_name_the_flags() -> None:
    found = differences(LaunchOptions(), LaunchOptions(ipalloc_range="10.2.3.0/24", peers=("a",)))
    assert found == ["--peers is (none), asked for a", "--ipalloc-range is 10.32.0.0/12, asked for 10.2.3.0/24"]


def test_a_malformed_address_is_a_usage_error() -> None:
    with pytest.raises(Usage, match=r"`10[.]0[.]0[.]1/99` is no address: expected"):
        take_addresses(["10.0.0.1/99", "container"])
    assert cli.main(["attach", "10.0.0.1/99", "container"]) == 2


def test_the_walk_throughs_run_words() -> None:
    parsed = parse_run(["10.0.1.4/24", "-ti", "tutum/curl", "/bin/bash"], {})
    assert parsed["addresses"] == ["10.0.1.4/24"]
    assert parsed["create"] == {
        "Tty": True, "OpenStdin": True, "Image": "tutum/curl", "Cmd": ["/bin/bash"], "Env": [],
    }  # fmt: skip
    parsed = parse_run(["10.0.1.1/24", "ksahnine/dummy-http", "svc1"], {})
    assert (parsed["create"]["Image"], parsed["create"]["Cmd"]) == ("ksahnine/dummy-http", ["svc1"])


def test_usual_docker_run_flags(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# no\nA=1\n\nB=2\n")
    words = (
        f"--without-dns --name n -h web -p 8080:80 -p 127.0.0.1::53/udp -v /a:/b:ro -v /c -e X=1 -e FROM -e UNSET"
        f" --env-file {file} --rm --restart on-failure:3 -m 512m --cpus 1.5 --net none -l k=v --cap-add=NET_ADMIN"
        f" --entrypoint sh -w /tmp -u root IMAGE -c -x"
    )
    parsed = parse_run(words.split(), {"FROM": "here"})
    create, host = parsed["create"], parsed["create"]["HostConfig"]
    assert (parsed["name"], parsed["dns"], create["Hostname"]) == ("n", False, "web")
    assert create["Env"] == ["X=1", "FROM=here", "A=1", "B=2"]
    assert host["PortBindings"] == {
        "80/tcp": [{"HostIp": "", "HostPort": "8080"}],
        "53/udp": [{"HostIp": "127.0.0.1", "HostPort": ""}],
    }
    assert host["Binds"] == ["/a:/b:ro"]
    assert create["Volumes"] == {"/c": {}}
    assert (host["AutoRemove"], host["Memory"], host["NanoCpus"], host["NetworkMode"]) == (
        True,
        512 << 20,
        1_500_000_000,
        "none",
    )
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert (create["Entrypoint"], create["Cmd"], create["Image"]) == (["sh"], ["-c", "-x"], "IMAGE")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--nam x IMAGE", "did you mean `--name`"),
        ("-tq IMAGE", "`-q` in `-tq`"),
        ("-name x IMAGE", "did you mean `--name`"),
        ("-p x IMAGE", "CONTAINER-PORT"),
        ("10.0.1.4/24", "which image"),
        ("-e", "lacks its value"),
    ],
)
def test_unknown_run_flags_are_refused_by_name(words: str, expected: str) -> None:
    with pytest.raises(Usage, match=expected):
        parse_run(words.split(), {})


def test_address_syntax() -> None:
    assert parse_address("10.0.1.4/24") == parse_address("ip:10.0.1.4/24") == AddressSpec("claim", "10.0.1.4/24")
    assert parse_address("net:10.0.1.0/24") == AddressSpec("allocate", "10.0.1.0/24")
    assert parse_address("net:default") == AddressSpec("allocate", "")
    assert parse_address("fd00::5/64") == AddressSpec("claim", "fd00::5/64")
    assert take_addresses(["10.0.1.4/24", "net:default", "image/10.0.0.1"])[0] == ["10.0.1.4/24", "net:default"]
    assert not looks_like_address("ksahnine/dummy-http")
    assert not looks_like_address("registry:5000/24")
    for wrong in ("10.0.1.4", "10.0.1.0/24", "10.0.1.255/24", "10.0.1.4/33", "net:10.0.1.4/24", "net:10.0.1.0", "ip:x"):
        with pytest.raises(UsageError):
            parse_address(wrong)


def test_targets() -> None:
    assert str(parse_target("192.168.0.3", 6783)) == "192.168.0.3:6783"
    assert str(parse_target("h:1", 6783)) == "h:1"
    assert str(parse_target("[fd00::1]:7", 6783)) == str(parse_target("fd00::1", 7)) == "[fd00::1]:7"
    for wrong in ("h:", "h:x", "[fd00::1", "h:0", ""):
        with pytest.raises(UsageError):
            parse_target(wrong, 6783)


def test_unknown_commands_name_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["statsu"]) == 2
    assert "did you mean `status`" in capsys.readouterr().err
    assert cli.main(["status", "peer"]) == 2
    assert "did you mean `peers`" in capsys.readouterr().err
    assert cli.main(["connect", "-x", "a"]) == 2
    assert cli.main([]) == 2
    assert cli.main(["help"]) == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_original_that_are_not_here_say_what_to_use(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command, "x"]) == cli.main(["--local", command]) == cli.main(["help", command]) == 2
    assert capsys.readouterr().err == f"weave: there is no `{command}` here: {COMMANDS[command]}\n" * 3


def test_flags_of_the_original_that_are_not_here_say_what_to_use() -> None:
    for flag, instead in FLAGS.items():
        for word in (f"--{flag}", f"-{flag}=x"):
            with pytest.raises(Usage) as found:
                parse_launch([word], {})
            assert str(found.value) == f"{word} has no meaning here: {instead}"
    for flag, instead in DNS_FLAGS.items():
        with pytest.raises(Usage) as found:
            cli.finish(cli.obey(CommandHost(), ["launch-dns", "10.1.254.1/24", f"-{flag}=5"]))
        assert instead in str(found.value)
    with pytest.raises(Usage, match="addresses can always be given out"):
        parse_launch(["--ipalloc-range", ""], {})
    assert parse_launch(["--no-restart", "-api=/d", "-httpaddr=:1", "--dns-fallback-timeout=2s"], {}) == LaunchOptions(
        docker_api="/d", http_addr=":1", dns_fallback_timeout=2_000_000_000
    )
    with pytest.raises(Usage, match="starts nothing again"):
        parse_launch(["--no-restart=false"], {})
    assert cli.main(["attach", "--rewrite-hosts", "--add-host=db:10.0.0.1", "c1"]) == 2


def test_dns_args_take_the_words_of_docker_run() -> None:
    def flags(words: str) -> str:
        return " ".join(dns_arguments(words.split(), "172.17.0.1", "weave.local"))

    assert flags("") == flags("-ti -p 80:80") == "--dns=172.17.0.1 --dns-search=weave.local"
    assert flags("--name=c1") == "--dns=172.17.0.1 --hostname=c1.weave.local --dns-search=weave.local"
    assert flags("--name c1 -h other") == flags("--hostname=other") == flags("")
    assert flags("--dns-search=x --name " + 60 * "a") == "--dns=172.17.0.1"
    assert flags("--without-dns --name c1") == ""


def test_without_a_daemon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WEAVE_SOCK", str(tmp_path / "none"))
    for words in (["status"], ["connect", "a"], ["ps"], ["launch-dns"]):
        assert cli.main(words) == 1
        assert capsys.readouterr().err == "weave is not running: start it with `weave launch`\n"
    assert cli.main(["stop"]) == 0, "scripts go on, as with the original"
    assert capsys.readouterr().err == "weave: weave is not running\n"
    assert cli.main(["version"]) == 0

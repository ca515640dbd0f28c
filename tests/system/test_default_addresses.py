"""No address means the default subnet, `net:` means its addresses when they are taken away, and what is gone already
is no error: as with the original, and as the help says."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from overlay_hosts import IMAGE, Host, underlay


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with underlay() as made:
        found = made.host("orion", 2)
        found.weave("launch", "--http-addr=", "--status-addr=")
        yield found


def addresses(host: Host, owner: str) -> list[str]:
    return host.weave("ps", owner).stdout.split()[2:]


def test_attach_without_address_is_the_default_subnet_though_there_is_another(host: Host) -> None:
    host.weave("run", "10.9.1.1/24", "--name", "svc1", IMAGE, "svc1")
    assert host.weave("attach", "svc1").stdout == "10.32.0.1\n", "what this call has brought, without its length"
    assert host.weave("attach", "svc1").stdout == "10.32.0.1\n", "the same again"
    assert addresses(host, "svc1") == ["10.9.1.1/24", "10.32.0.1/12"]
    assert host.weave("attach", "10.9.1.2/24", "10.9.2.2/24", "svc1").stdout.split() == ["10.9.1.2", "10.9.2.2"]
    assert host.weave("detach", "net:10.9.1.0/24", "svc1").stdout.split() == ["10.9.1.1", "10.9.1.2"]
    assert host.weave("detach", "svc1").stdout.split() == ["10.32.0.1"], "that of the default subnet"
    assert addresses(host, "svc1") == ["10.9.2.2/24"]
    shown = host.inside("svc1", "ip", "-4", "-o", "addr", "show", "dev", "ethwe").stdout
    assert "10.9.2.2/24" in shown and "10.32." not in shown and "10.9.1." not in shown
    for words in (["10.9.1.77/24"], ["net:default"], [], ["--all"], ["--all"]):
        done = host.weave("detach", *words, "svc1")
        assert bool(done.stdout) == (words == ["--all"] and done.stdout.strip() == "10.9.2.2")
        assert done.stdout or "`weave ps svc1`" in done.stderr
    assert host.weave("detach", "10.9.1.77/24", "nobody", check=False).returncode == 1


def test_expose_and_hide_likewise(host: Host) -> None:
    assert addresses(host, "weave:expose") == []
    assert "no such address" in host.weave("hide").stderr
    words = host.weave("ps", "weave:expose").stdout.split()
    assert words[0] == "weave:expose" and words[1].count(":") == 5 and len(words) == 2
    assert host.weave("ps").stdout.splitlines()[-1].split() == words
    assert host.weave("expose", "10.9.3.1/24").stdout == "10.9.3.1\n"
    (given,) = host.weave("expose").stdout.split()
    assert addresses(host, "weave:expose") == ["10.9.3.1/24", f"{given}/12"]
    assert host.weave("hide").stdout.split() == [given]
    assert host.weave("hide", "net:10.9.3.0/24").stdout.split() == ["10.9.3.1"]
    assert host.weave("hide", "--all").stdout == host.weave("hide", "10.9.3.1/24").stdout == ""


def test_a_stopped_container_gives_way_to_whoever_names_its_address(host: Host) -> None:
    for cidr in ("10.2.1.44/24", "10.32.0.44/12"):
        host.weave("run", cidr, "--name", "blue", IMAGE, "blue")
        refused = host.weave("run", cidr, "--name", "green", IMAGE, "green", check=False)
        assert (
            refused.returncode == 1 and f"in use by container {host.container('blue')['Id'][:12]} on" in refused.stderr
        )
        host.engine("POST", "/containers/blue/stop?t=0")
        host.weave("run", cidr, "--name", "green", IMAGE, "green")
        assert addresses(host, "green") == [cidr]
        again = host.weave("start", cidr, "blue", check=False)
        assert again.returncode == 1 and "in use by container" in again.stderr
        host.engine("POST", "/containers/green/stop?t=0")
        host.weave("expose", cidr)
        host.weave("hide", "--all")
        for name in ("blue", "green"):
            host.engine("DELETE", f"/containers/{name}?force=1")


def test_names_that_nobody_would_ask_here_are_refused(host: Host) -> None:
    for words in (["dns-add", "10.9.9.9", "-h", "other.example.org"], ["expose", "-h", "other.example.org"]):
        done = host.weave(*words, check=False)
        assert done.returncode == 1 and "use other.example.org.weave.local" in done.stderr, done.stderr
    assert addresses(host, "weave:expose") == []
    for name in ("short", "db.prod.weave.local", "Dotted.WEAVE.local."):
        host.weave("dns-add", "10.9.9.9", "-h", name)
        assert host.weave("dns-lookup", name).stdout == "10.9.9.9\n"
        host.weave("dns-remove", "10.9.9.9", "-h", name)
    host.weave("dns-remove", "10.9.9.9", "-h", "other.example.org")


def test_a_container_knows_its_name_in_the_domain(host: Host) -> None:
    for words, name, search in (
        (["--name", "db.prod"], ("db.prod", "weave.local"), ["weave.local"]),
        (["-h", "web.prod.weave.local"], ("web.prod.weave.local", ""), ["prod.weave.local", "weave.local"]),
    ):
        made = host.container(host.weave("run", "10.9.5.1/24", *words, IMAGE, "x").stdout.strip())
        assert (made["Config"]["Hostname"], made["Config"].get("Domainname") or "") == name
        assert made["HostConfig"]["DnsSearch"] == search
        host.engine("DELETE", f"/containers/{made['Id']}?force=1")
    for length in (63, 64, 65):
        long = "n" * length
        made = host.container(host.weave("run", "10.9.5.1/24", "--name", long, IMAGE, "x").stdout.strip())
        assert (made["Config"]["Hostname"] == long) == (length <= 63)
        host.engine("DELETE", f"/containers/{long}?force=1")


def test_what_has_ended_already_ends_with_0(host: Host) -> None:
    host.weave("stop")
    assert host.weave("stop").stderr == "weave: weave is not running\n"
    assert host.weave("stop-proxy").stderr == "weave: the proxy is not running\n"
    host.weave("launch", "--no-dns", "--http-addr=", "--status-addr=")
    done = host.weave("dns-args")
    assert done.stdout == "" and "no DNS" in done.stderr
    host.weave("run", "10.9.6.1/24", "--name", "silent", IMAGE, "x")
    host.weave("stop")
    host.weave("launch")
    assert host.weave("dns-lookup", "silent").stdout == "10.9.6.1\n", "it was attached under --no-dns"

"""Routers from `dist/weave` on two hosts: upgrades in place, downgrades, and that `weave reset` leaves nothing."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from dist_file import DistHost, of_version, weave_file
from overlay_hosts import IMAGE, eventually, underlay

pytestmark = pytest.mark.turn(2)

PATIENCE = 90.0


@pytest.fixture
def hosts() -> Iterator[tuple[DistHost, DistHost]]:
    """Two hosts with nothing on them."""
    with underlay(DistHost) as made:
        orion, macbook = made.host("orion", 2), made.host("macbook", 3)
        assert isinstance(orion, DistHost) and isinstance(macbook, DistHost)
        yield orion, macbook


def test_an_upgrade_in_place_keeps_addresses_names_and_every_packet(hosts: tuple[DistHost, DistHost]) -> None:
    orion, macbook = hosts
    for host, name, address in ((orion, "svc1", "10.0.1.1/24"), (macbook, "svc3", "10.0.1.3/24")):
        host.install(of_version("0.0.9"))
        host.weave("launch", *([] if host is orion else ["192.168.0.2"]))
        host.weave("run", address, "--name", name, IMAGE, name)
        host.weave("run", "--name", f"any-{name}", IMAGE, name)
    eventually(lambda: orion.pings("svc1", "10.0.1.3"), PATIENCE, "svc1 reaches svc3")
    names = {name: _looked_up(orion, name) for name in ("svc1", "svc3", "any-svc1", "any-svc3")}
    assert all(names.values())
    before = {host.name: host.weave("ps").stdout for host in hosts}
    pid = orion.container("svc1")["State"]["Pid"]
    note = orion.disk / "ping.pid"
    script = f"echo $$ > {note}; exec nsenter --target {pid} --net ping -n -i 0.05 10.0.1.3"
    pinging = orion.popen("sh", "-c", script)

    for host in hosts:
        host.install(weave_file())  # into the very file from which the router runs
        assert host.weave("version").stdout == "weave 0.1.0\nweave router 0.0.9\n"
        host.weave("run", "--name", f"late-{host.name}", IMAGE, "late")  # the old router goes on undisturbed
        host.weave("report", "-f", "{{json .mesh.name}}")
        host.weave("stop", "--for-restart")
        assert host.weave("status", check=False).returncode == 1
        host.weave("launch")
        assert host.weave("version").stdout == "weave 0.1.0\nweave router 0.1.0\n"
        assert not _foreign(host), "all code comes from the one file"

    eventually(lambda: {name: _looked_up(macbook, name) for name in names} == names, PATIENCE, "names on macbook")
    eventually(lambda: {name: _looked_up(orion, name) for name in names} == names, PATIENCE, "names on orion")
    for host in hosts:
        kept = set(host.weave("ps").stdout.splitlines())
        assert set(before[host.name].splitlines()) <= kept and len(kept) == 4
    orion.sh(f"kill -INT $(cat {note})")
    out, _ = pinging.communicate(timeout=60)
    _no_gap(out)


def _looked_up(host: DistHost, name: str) -> list[str]:
    return host.weave("dns-lookup", name, check=False).stdout.split()


def _no_gap(pings: str) -> None:
    """Every packet but those under way at the end was answered."""
    seen = {int(number) for number in re.findall(r"icmp_seq=(\d+) ttl", pings)}
    assert len(seen) > 20, pings
    assert seen == set(range(1, max(seen) + 1)), f"{max(seen) - len(seen)} of {max(seen)} packets were lost"
    sent = int(re.findall(r"(\d+) packets transmitted", pings)[0])
    assert sent - max(seen) <= 20, f"no packet came after number {max(seen)} of {sent}"


def _foreign(host: DistHost) -> list[str]:
    """Libraries of Python packages that the router has loaded from a disk."""
    maps = host.sh(f"cat /proc/{host.daemon()}/maps")
    return [line for line in maps.splitlines() if "site-packages" in line or str(Path(__file__).parents[2]) in line]


def test_a_downgrade_works_or_is_refused_and_changes_nothing(hosts: tuple[DistHost, DistHost]) -> None:
    host, _ = hosts
    host.install(of_version("0.2.0"))
    host.weave("launch")
    host.weave("run", "--name", "svc1", IMAGE, "svc1")
    before = host.weave("ps").stdout
    host.weave("stop")

    host.install(weave_file())  # the state has the same format: it works
    host.weave("launch")
    assert host.weave("ps").stdout == before
    host.weave("stop")
    for file in (host.disk / "db").glob("*.state"):  # as a program with another format would have written it
        file.write_bytes(file.read_bytes().replace(b"overlay-state 1 ", b"overlay-state 2 ", 1))
    state = _state(host)
    refused = host.weave("launch", check=False)
    assert refused.returncode == 1
    assert re.search(r"is state of version 2, and this program reads version 1: start the version that", refused.stderr)
    assert "Traceback" not in refused.stderr + host.log
    assert _state(host) == state

    host.install(of_version("0.9.0", state=2))
    host.weave("launch")
    assert host.weave("ps").stdout == before


def _state(host: DistHost) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (host.disk / "db").glob("*.state")}


def test_nothing_is_left_after_reset_but_the_logs(hosts: tuple[DistHost, DistHost]) -> None:
    host, _ = hosts
    tables = "ip -o link; ip route show table all; nft list ruleset; iptables-save; ip6tables-save; ls /run /var/run"
    before, files = _plain(host.sh(tables)), _files(host)
    host.install(weave_file())
    host.weave("launch", "--plugin", "--password", "wherever you go")
    host.weave("launch-proxy", "-H", f"unix://{host.disk}/p")
    host.weave("expose", "-h", "host.weave.local")
    host.weave("run", "--name", "svc1", IMAGE, "svc1")
    assert _plain(host.sh(tables)) != before
    host.engine("DELETE", "/containers/svc1?force=1")
    host.weave("stop-proxy")
    host.weave("reset")
    host.file.unlink()
    assert _files(host) - files == {"weave.log", "weave.proxy.log"}
    left: list[str] = []

    def as_before() -> bool:
        left[:] = [line for line in _plain(host.sh(tables)) if line not in before]
        return not left

    try:
        eventually(as_before, PATIENCE)
    except AssertionError:
        raise AssertionError(f"`weave reset` left {left}") from None


def _files(host: DistHost) -> set[str]:
    found = {str(path.relative_to(host.disk)) for path in host.disk.rglob("*")}
    return {path for path in found if not path.startswith("engine") and path != "db"}


def _plain(text: str) -> list[str]:
    """Without counters, times, what a carrier does, and tables that iptables makes when only asked."""
    changing = re.compile(r"\[\d+:\d+\]|\bpackets \d+ bytes \d+|,LOWER_UP|,M-DOWN|NO-CARRIER,|\bstate \w+")
    lines = (changing.sub("", line).strip() for line in text.splitlines())
    dull = re.compile(
        r"#|COMMIT|\*|:[A-Z]+ ACCEPT|table ip6? \w+ \{|chain [A-Z]+ \{|type \w+ hook .* policy accept|\}|$"
        r"|.*\b(fe80|ff00)::.* dev eth0 "  # which the kernel adds a while after the cable is there
    )
    return [line for line in lines if not dull.match(line)]

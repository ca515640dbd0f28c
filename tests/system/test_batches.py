"""Batches of names and addresses on a running router: all or nothing, an answer for each entry, and none is lost."""

import json
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
        found.weave("launch", "--status-addr=", "--ipalloc-init", "consensus=1")
        yield found


def ask(host: Host, method: str, path: str, lines: str, *words: str) -> tuple[int, str]:
    """One request over the router's socket: (status, body)."""
    file = host.disk / "lines"
    file.write_text(lines)
    socket = host.env["WEAVE_SOCK"]
    out = host.run(
        *("curl", "-sS", "-w", "\n%{http_code}", "-X", method, "--data-binary", f"@{file}", *words),
        *("--unix-socket", socket, f"http://weave{path}"),
    ).stdout
    body, _, status = out.rpartition("\n")
    return int(status), body


def test_a_file_of_names_survives_a_killed_router(host: Host) -> None:
    file = host.disk / "names"
    many = "".join(f"10.40.{number >> 8}.{number & 255} n{number}\n" for number in range(3000))
    file.write_text("# printers\n10.40.99.1 printer printer.floor1.weave.local\n" + many)
    assert host.weave("dns-add", "--from", str(file)).stdout == "3002 added, 0 unchanged\n"
    assert host.weave("dns-add", "--from", str(file)).stdout == "0 added, 3002 unchanged\n"
    host.kill_daemon()
    host.weave("launch", "--status-addr=", "--ipalloc-init", "consensus=1")
    for name, address in (("n0", "10.40.0.0"), ("n2999", "10.40.11.183"), ("printer.floor1", "10.40.99.1")):
        full = f"{name}.weave.local"
        assert host.weave("dns-lookup", full).stdout == f"{address}\n"
    assert host.weave("dns-remove", "--from", str(file)).stdout == "3002 removed, 0 unknown\n"
    assert host.weave("dns-remove", "--from", str(file)).stdout == "0 removed, 3002 unknown\n"
    assert host.weave("dns-lookup", "n0", check=False).returncode == 1


def test_names_of_a_container_go_with_it(host: Host) -> None:
    host.weave("run", "10.9.1.1/24", "--name", "svc1", IMAGE, "svc1")
    lines = "".join(json.dumps({"name": f"alias{n}", "address": "10.9.1.1", "container": "svc1"}) + "\n" for n in "123")
    status, said = ask(host, "POST", "/names", lines)
    assert (status, json.loads(said)) == (200, {"added": 3, "unchanged": 0, "entries": ["added"] * 3})
    assert host.weave("dns-lookup", "alias2").stdout == "10.9.1.1\n"
    host.engine("DELETE", "/containers/svc1?force=1")
    host.run("sh", "-c", f"until ! {sys.executable} -m overlay.cli.main dns-lookup alias2 2>/dev/null; do :; done")


def test_one_bad_line_and_nothing_is_changed(host: Host) -> None:
    before = host.weave("report", "-f", "{{json .DNS}}").stdout
    for lines, found in (
        ("10.40.0.1 good\n10.40.0 bad\n", "line 2: `10.40.0` is no address"),
        ("10.40.0.1 good\n10.40.0.2 b@d\n", "line 2: found the name 'b@d.weave.local.'"),
        ("10.40.0.1 good\n10.40.0.2 x.example.org\n", "line 2: x.example.org is outside of weave.local"),
        ('10.40.0.1 good\n{"name": "x", "address": "10.40.0.2", "container": "nobody"}\n', "nobody"),
    ):
        status, said = ask(host, "POST", "/names", lines)
        assert status in (400, 404) and found in said, said
        assert host.weave("dns-lookup", "good", check=False).returncode == 1
    assert host.weave("report", "-f", "{{json .DNS}}").stdout == before
    status, said = ask(host, "POST", "/names", "x" * (33 << 20))
    assert status == 400 and "32 MiB" in said
    refused = host.weave("dns-add", "--from", "/no/such", check=False)
    assert refused.returncode == 1 and "/no/such cannot be read" in refused.stderr


def test_addresses_are_all_given_or_none(host: Host) -> None:
    lines = "".join(json.dumps({"container": f"own{n}", "subnet": "10.32.7.0/24"}) + "\n" for n in range(200))
    status, said = ask(host, "POST", "/ips", lines)
    given = [entry["addresses"][0] for entry in json.loads(said)["entries"]]
    assert status == 200 and len(set(given)) == 200 and all(each.endswith("/24") for each in given)
    assert ask(host, "POST", "/ips", lines) == (status, said), "the same again"
    clash = '{"container": "other1", "subnet": "10.32.8.0/24"}\n'
    clash += json.dumps({"container": "other2", "address": given[0]}) + "\n"
    status, said = ask(host, "POST", "/ips", clash)
    assert status == 400 and "line 2: other2: " in said and "own0" in said
    held = {entry["containerid"] for entry in json.loads(host.run(*_get(host, "/ip")).stdout)["owned"]}
    assert held == {f"own{n}" for n in range(200)}, "what the first line had been given was released"
    status, said = ask(host, "POST", "/ips", '{"container": "x", "subnet": "10.99.0.0/24"}\n')
    assert status == 400 and "line 1: x: subnet 10.99.0.0/24 is not within" in said
    status, said = ask(host, "DELETE", "/ips", "".join(f'{{"container": "own{n}"}}\n' for n in range(200)))
    assert status == 200 and [entry["addresses"] for entry in json.loads(said)["entries"]] == [[one] for one in given]
    assert json.loads(host.run(*_get(host, "/ip")).stdout)["owned"] == []


def _get(host: Host, path: str) -> list[str]:
    return ["curl", "-sS", "--unix-socket", host.env["WEAVE_SOCK"], f"http://weave{path}"]


def test_over_tcp_a_batch_takes_the_token(host: Host) -> None:
    for method in ("POST", "DELETE"):
        for path in ("/names", "/ips"):
            out = host.run("curl", "-sS", "-X", method, "-d", "10.0.0.1 x", f"http://127.0.0.1:6784{path}").stdout
            assert out.startswith("refused:") and "token" in out


def test_a_file_of_addresses_is_claimed_and_released_or_nothing_is(host: Host) -> None:
    file = host.disk / "owners"
    file.write_text("# machines\nvm1\n\nvm2 net:10.32.9.0/24  # rack 2\nvm3 10.40.0.3/16\n")
    said = host.weave("ip-claim", "--from", str(file)).stdout
    assert [line.split()[0] for line in said.splitlines()] == ["vm1", "vm2", "vm3"]
    assert "vm2 10.32.9." in said and said.endswith("vm3 10.40.0.3/16\n")
    assert host.weave("ip-claim", "--from", str(file)).stdout == said, "the same again"
    for bad, found in (
        ("vm4\nvm5 10.40.0.9 x\n", "line 2: found 3 words, expected CONTAINER"),
        ("vm4\nvm5 10.40.0.9\n", "line 2: `10.40.0.9` lacks its length"),
        ("vm4\nvm5 net:10.40.0.9/16\n", "line 2: `net:10.40.0.9/16` is no subnet"),
        ('vm4\n{"container": "vm5", "address": "net:10.40.0.0/16"}\n', "line 2: found net:10.40.0.0/16 as `address`"),
        ("vm4\nvm5 10.40.0.3/16\n", "line 2: vm5: "),
    ):
        (host.disk / "bad").write_text(bad)
        refused = host.weave("ip-claim", "--from", str(host.disk / "bad"), check=False)
        assert refused.returncode == 1 and found in refused.stderr, refused.stderr
        assert "nothing was changed" in refused.stderr and refused.stdout == ""
        assert _owners(host) == {"vm1", "vm2", "vm3"}
    (host.disk / "bad").write_text("vm1\nvm2 net:10.32.9.0/24\n")
    refused = host.weave("ip-release", "--from", str(host.disk / "bad"), check=False)
    assert refused.returncode == 1 and "line 2: found a subnet" in refused.stderr
    file.write_text(said)
    assert host.weave("ip-release", "--from", str(file)).stdout == "3 released, 0 unknown\n"
    again = host.weave("ip-release", "--from", str(file))
    assert again.stdout == "0 released, 3 unknown\n" and "vm3 has no such address" in again.stderr
    assert _owners(host) == set()
    one = host.weave("ip-claim", "vm7", "10.40.0.7/16").stdout
    assert one == "vm7 10.40.0.7/16\n" and host.weave("ip-release", "vm7").stdout == "1 released, 0 unknown\n"
    for wrong in (["ip-claim"], ["ip-claim", "a", "b", "c"], ["ip-claim", "a\nb"], ["ip-release", "--from"]):
        assert host.weave(*wrong, check=False).returncode == 2
    (host.disk / "bad").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in host.weave("ip-claim", "--from", str(host.disk / "bad"), check=False).stderr
    assert "too large" in host.weave("ip-claim", "--from", "/dev/zero", check=False).stderr


def test_a_client_that_gives_up_in_the_middle_keeps_nothing(host: Host) -> None:
    other = host.underlay.host("macbook", 3)
    other.weave("launch", "--status-addr=", "--ipalloc-init", "consensus=2")
    lines = '{"container": "x", "address": "10.99.0.1/16"}\n{"container": "y"}\n'  # the second waits for a majority
    (other.disk / "lines").write_text(lines)
    ask = f"curl -sS --unix-socket {other.env['WEAVE_SOCK']}"
    other.sh(
        f"{ask} --data-binary @{other.disk}/lines http://weave/ips & asking=$!;"
        f"until {ask} http://weave/ip | grep -q 10.99.0.1; do sleep 0.05; done; kill $asking;"
        f"until {ask} http://weave/ip | grep -q '\"owned\":\\[\\]'; do sleep 0.05; done"
    )


def _owners(host: Host) -> set[str]:
    return {entry["containerid"] for entry in json.loads(host.run(*_get(host, "/ip")).stdout)["owned"]}

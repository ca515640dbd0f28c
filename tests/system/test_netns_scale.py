"""The structure of large labs, counted and not timed: processes and netlink calls for each host."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from itertools import count
from pathlib import Path

import msgspec
import pytest
from lab_processes import family
from netns_labs import held, in_lab, in_namespaces, pings, require_netns, scenario

from lab.backends.netns import NetnsBackend
from lab.backends.netns.backend import NetnsLab
from lab.cuts import complete
from lab.fabric import cut_classes
from lab.fabric.plan import Underlay
from lab.links import Link, Links

HOSTS = 64
_numbers = count(1)


@pytest.fixture(autouse=True)
def _possible() -> None:
    require_netns()


def _forked() -> int:
    """How many processes this pid namespace has had."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def test_a_host_takes_one_process_and_none_else_on_the_way() -> None:
    async def work() -> None:
        before = _forked()
        lab = await NetnsBackend().up(scenario(HOSTS))
        try:
            made = _forked() - before - 1
            # Tools for the fabric's batches, and nothing that grows with the hosts; no engine runs.
            assert HOSTS <= made <= HOSTS + 12, made
            assert await pings(lab, "h1", f"h{HOSTS}")
            assert await pings(lab, f"h{HOSTS}", "h2")
        finally:
            await lab.down()

    in_namespaces(work, name="scale-processes")


def test_an_idle_lab_is_its_own_processes_and_one_for_each_host() -> None:
    with held(f"scale-{os.getpid()}-{next(_numbers)}", 8) as command:
        names = sorted(family(command.pid).values())
    own = ["lab-keeper", "lab-nursery", "lab-runner", "lab-super", "lab-zygote"]
    assert [name for name in names if name.startswith("lab-")] == sorted([*own, *["lab-host"] * 8])


def test_the_engine_starts_at_the_first_connection_and_no_client_is_refused() -> None:
    async def work() -> None:
        lab = await NetnsBackend().up(scenario(2))
        host = lab.hosts["h1"]
        try:
            assert "lab-engine" not in _names()
            asked = await asyncio.gather(*(host.exec(["python3", "-c", _VERSION]) for _ in range(5)))
            assert [one.out.strip() for one in asked] == ["200"] * 5, asked
            assert _names().split().count("lab-engine") == 1
            # Ended before it has started: the next connection is refused, as after kill -9 of a running one.
            other = lab.hosts["h2"]
            await other.end_engine(9, live_restore=False)
            assert "ConnectionRefused" in (await other.exec(["python3", "-c", _VERSION])).err
            await other.start_engine(live_restore=False)
            assert (await other.exec(["python3", "-c", _VERSION])).out.strip() == "200"
            # The socket tells who serves it, so an engine that started late can be ended too.
            await other.end_engine(9, live_restore=False)
            assert "ConnectionRefused" in (await other.exec(["python3", "-c", _VERSION])).err
            assert other.pid
        finally:
            await lab.down()

    in_namespaces(work, name="scale-engines")


_VERSION = """
import socket
with socket.socket(socket.AF_UNIX) as engine:
    engine.connect("/var/run/docker.sock")
    engine.sendall(b"GET /version HTTP/1.0\\r\\nHost: docker\\r\\n\\r\\n")
    print(engine.recv(65536).split()[1].decode())
"""


def _names() -> str:
    """The names of the lab's processes, seen from its runner."""
    found = []
    for comm in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            found.append(comm.read_text().strip())
    return " ".join(found)


def test_commands_start_whatever_number_the_kernel_gives_them() -> None:
    """In a host's namespace a process may have the number that the zygote has in the lab's."""

    async def check(lab: NetnsLab) -> None:
        for _ in range(12):
            result = await lab.hosts["h1"].exec(["sh", "-c", "echo $$"], timeout=20)
            assert result.code == 0, result

    in_lab(scenario(1), check)


def test_bytes_and_text_make_the_same_interfaces() -> None:
    """The init's messages and `ip -batch` of `plan.host_commands`, which other backends use."""
    wide = scenario(5, subnets=("192.168.0.0/24", "fd00:7::/64"))
    impaired = msgspec.structs.replace(wide, links=Links(pairs={("h1", "h2"): Link(mtu=1000)}))

    async def check(lab: NetnsLab) -> None:
        fabric = lab._cables
        for name in ("h1", "h3"):
            host = lab.hosts[name]
            by_bytes = [await _shown(lab, name, what) for what in ("address", "neighbour")]
            for device in ("eth0", "eth1"):
                for words in (["address", "flush"], ["neighbour", "flush", "nud", "permanent"]):
                    await host.exec(["ip", *words, "dev", device])
                await host.exec(["ip", "link", "set", device, "down", "gso_max_segs", "65535"])
            assert "permanent" not in json.dumps(await _shown(lab, name, "neighbour")).lower()
            text = fabric.host_commands(name)
            done = await host.exec(["sh", "-c", f"ip -batch - <<'END'\n{text}END\n"])
            assert done.code == 0, done
            assert [await _shown(lab, name, what) for what in ("address", "neighbour")] == by_bytes

    in_lab(impaired, check)


async def _shown(lab: NetnsLab, host: str, what: str) -> list[str]:
    """What `ip` says of it; without what the kernel adds by itself."""
    listed = json.loads((await lab.hosts[host].exec(["ip", "-d", "-j", what, "show"])).out or "[]")
    found = []
    for one in listed:
        if what == "neighbour":
            if "PERMANENT" in one["state"]:
                found.append(f"{one['dst']} {one['lladdr']} {one['dev']} {one['state']}")
        else:
            addresses = [
                f"{each['local']}/{each['prefixlen']} {each['scope']}"
                for each in one["addr_info"]
                if each["scope"] != "link"
            ]
            found.append(f"{one['ifname']} {one['flags']} {one['gso_max_segs']} {addresses}")
    return sorted(found)


def test_cuts_by_classes_and_by_pairs_stop_the_same_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    """One network and a second one that only some hosts are in; each form follows the other, and itself."""
    hosts = ["h1", "h2", "h3", "h4"]
    cuts = [
        frozenset({("h1", "h3"), ("h2", "h3"), ("h1", "h4"), ("h2", "h4")}),
        frozenset({("h3", "h1"), ("h2", "h1")}),
        frozenset[tuple[str, str]](),
        complete([["h1"], ["h2", "h3"]]),
    ]

    async def check(lab: NetnsLab) -> None:
        for most in (0, cut_classes.MANY, 0):
            monkeypatch.setattr(cut_classes, "MANY", most)
            for cut in cuts:
                await lab.set_cut(cut)
                pairs = [(one, other) for one in hosts for other in hosts if one != other]
                apart = {pair for pair in pairs if pair in cut or pair[::-1] in cut}  # an echo needs both directions
                seen = await asyncio.gather(*(pings(lab, *pair, wait=0.5 if pair in apart else 30) for pair in pairs))
                assert {pair for pair, answered in zip(pairs, seen, strict=True) if not answered} == apart, (most, cut)

    in_lab(scenario(4, subnets=("192.168.0.0/24", "192.168.1.0/24")), check)


def test_a_cut_of_halves_is_one_rule_for_each() -> None:
    names = [f"h{number}" for number in range(1000)]
    underlay = Underlay(
        {"lan": "10.0.0.0/16"}, {name: [("lan", f"10.0.{n >> 8}.{n & 255}")] for n, name in enumerate(names)}
    )
    pairs = complete([names[:500], names[500:]])
    targets = cut_classes.targets(pairs, underlay.all_interfaces())
    text, classes = cut_classes.class_rules(targets, 0)
    assert classes == 2
    assert text.count('"') == 2 * 2 * 1000  # each port once as a sender and once as a receiver
    assert cut_classes.class_rules({}, 2) == (
        "flush map bridge lab cutclasses\n"
        "add chain bridge lab cut0\nflush chain bridge lab cut0\n"
        "add chain bridge lab cut1\nflush chain bridge lab cut1\n",
        2,
    )


_CALLS = """
import sys, socket
sys.path[:0] = sys.argv[2:]
from lab.backends.netns import host_network
from lab.fabric.host_messages import PlannedInterface, neighbour_messages
from lab.fabric.plan import mac_of
sent = 0
class Counted(socket.socket):
    def send(self, data):
        global sent
        sent += 1
        return super().send(data)
    def recv(self, size):
        global sent
        sent += 1
        return super().recv(size)
host_network.socket.socket = Counted
count = int(sys.argv[1])
addresses = (f"10.0.{n >> 8}.{n & 255}" for n in range(count))
table = neighbour_messages((address, mac_of(address)) for address in addresses)
host_network.connect_host([PlannedInterface("lo", "10.0.0.7", 16, True, "table", 7)], {"table": table})
print(sent)
"""


def test_a_thousand_neighbours_take_no_more_calls_than_ten() -> None:
    calls = {}
    for number in (10, 1000):
        script = [sys.executable, "-c", _CALLS, str(number), *sys.path]
        done = subprocess.run(
            ["unshare", "--user", "--map-root-user", "--net", *script], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        calls[number] = int(done.stdout)
    assert calls[10] <= 8
    assert calls[1000] == calls[10]

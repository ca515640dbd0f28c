"""The probe agent on real sockets, in network namespaces made for the test."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from lab.contracts.lab import Probe
from lab.contracts.probe import AgentCommand, encode_command, key_of, phase_of
from lab.kinds.probes import PROBES
from lab.probes.agent import Agent
from lab.probes.kinds.http import HttpTry
from lab.probes.tries import Try
from lab.records.history import Sample, decode

ROOT = Path(__file__).parents[3]
MS = 1_000_000

# Runs in a user and network namespace of its own: loopback up, an HTTP server, a name server and a black hole.
SERVERS = r"""
import socketserver, subprocess, sys, threading
from dnslib import A, DNSRecord, RR, QTYPE, RCODE
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)

class Web(socketserver.StreamRequestHandler):
    def handle(self):
        path = self.rfile.readline().split()[1].decode()
        while self.rfile.readline().strip():
            pass
        if path == "/slow":
            threading.Event().wait(30)
        if path == "/missing":
            self.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        elif path == "/chunked":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
            threading.Event().wait(30)
        else:
            self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\nhello")

class Names(socketserver.BaseRequestHandler):
    def handle(self):
        data, sock = self.request
        query = DNSRecord.parse(data)
        reply = query.reply()
        if str(query.q.qname) == "svc1.weave.local.":
            for last in (9, 2):
                reply.add_answer(RR(query.q.qname, QTYPE.A, rdata=A(f"10.0.1.{last}"), ttl=1))
        else:
            reply.header.rcode = RCODE.NXDOMAIN
        sock.sendto(reply.pack(), self.client_address)

class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

for server in (Server(("127.0.0.1", 8080), Web), socketserver.ThreadingUDPServer(("127.0.0.1", 53), Names)):
    threading.Thread(target=server.serve_forever, daemon=True).start()
print("up", flush=True)
sys.stdin.read()
"""


class Lab:
    """A user namespace with one agent in it, and containers that are network namespaces below it."""

    def __init__(self) -> None:
        self.children: list[subprocess.Popen[bytes]] = []
        self.agent = self._spawn(["unshare", "-rn", sys.executable, "-m", "lab.probes.agent"])

    def _spawn(self, argv: list[str]) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
        self.children.append(child)
        return child

    def container(self) -> subprocess.Popen[bytes]:
        """A process with the servers in a network namespace of its own."""
        enter = ["nsenter", f"--user=/proc/{self.agent.pid}/ns/user", "--preserve-credentials", "unshare", "-n"]
        deadline = time.monotonic() + 60
        # `unshare` becomes the agent once its namespaces are there and mapped.
        agent = f"{sys.executable}\0-m\0lab.probes.agent\0".encode()
        while Path(f"/proc/{self.agent.pid}/cmdline").read_bytes() != agent:
            assert time.monotonic() < deadline
        child = self._spawn([*enter, sys.executable, "-c", SERVERS])
        assert child.stdout is not None and child.stdout.readline() == b"up\n"
        return child

    def tell(self, command: AgentCommand) -> None:
        assert self.agent.stdin is not None
        self.agent.stdin.write(encode_command(command))
        self.agent.stdin.flush()

    def read(self, enough: Callable[[list[Sample]], bool], *, late: bool = False) -> list[Sample]:
        """Samples until there are enough of them; with `late` also those of tries that a busy machine skipped."""
        assert self.agent.stdout is not None
        samples: list[Sample] = []
        while not enough(samples):
            record = decode(self.agent.stdout.readline())
            assert isinstance(record, Sample)
            if late or record.error != "late":
                samples.append(record)
        return samples

    def close(self) -> None:
        for child in reversed(self.children):
            child.kill()
            child.communicate()


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.close()


def probe(kind: str, target: str, container: subprocess.Popen[bytes], **more: object) -> Probe:
    fields: dict[str, object] = {
        "probe": kind,
        "container": "c",
        "source": "c",
        "target": target,
        "address": "127.0.0.1",
        "every": 20 * MS,
        "timeout": 300 * MS,
        "netns": f"/proc/{container.pid}/ns/net",
    }
    return Probe(**(fields | more))  # type: ignore[arg-type]


def test_an_answer_that_is_seen_after_its_deadline_came_too_late() -> None:
    clock = [0]
    agent = Agent(-1, -1, lambda: clock[0])
    asked = Probe(
        probe="http", container="c", source="c", target="t", address="127.0.0.1", every=200 * MS, timeout=300 * MS
    )
    for took, ok, error in ((300 * MS, True, ""), (301 * MS, False, "timeout")):
        clock[0] = 0
        container = agent._container("")
        attempt = HttpTry(asked, 0, 1)
        clock[0] = took
        agent._finish(attempt, container, True, "")
        sample = decode(bytes(agent._samples))
        agent._samples.clear()
        assert isinstance(sample, Sample)
        assert (sample.ok, sample.error, sample.latency) == (ok, error, took if ok else None)


def test_a_machine_that_cannot_keep_up_skips_what_is_overdue() -> None:
    clock = [0]
    agent = Agent(-1, -1, lambda: clock[0])
    for every, timeout, overdue in ((200, 1000, 250), (600, 1000, 600), (2000, 300, 300)):
        asked = Probe(
            probe="http", container="c", source="c", target="t", address="127.0.0.1", port=1, every=every * MS,
            timeout=timeout * MS,
        )  # fmt: skip
        for late, error in ((overdue, "late"), (overdue - 1, "refused")):
            agent._add(asked)
            clock[0] = late * MS
            agent._start(agent._series[key_of(asked)], 0)
            for _ in range(100):
                for fd, _ in agent._epoll.poll(0.1) if not agent._samples else ():
                    agent._ready[fd]()
            sample = decode(bytes(agent._samples))
            agent._samples.clear()
            assert isinstance(sample, Sample) and sample.error == error, (every, late)


def test_a_machine_that_cannot_keep_up_gives_every_probe_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty probes every 200 ms, of which each start costs 15 ms: a third can be run, and it is not always the same."""
    clock = [0]
    turns: Counter[str] = Counter()

    class Costly:
        def __init__(self, probe: Probe, due: int, number: int) -> None:
            self.probe, self.due, self.number, self.over, self.sent = probe, due, number, False, 0

        def start(self, poller: object, done: Callable[..., None]) -> None:
            clock[0] += 15 * MS
            turns[self.probe.target] += 1
            done(self, True, "", ())

        def close(self) -> None:
            pass

    costly = replace(PROBES.get("http"), attempt=lambda probe, due, number, _: Costly(probe, due, number))
    monkeypatch.setitem(PROBES._loaded, "http", costly)
    agent = Agent(-1, -1, lambda: clock[0])
    for number in range(40):
        agent._add(
            Probe(
                probe="http",
                container="c",
                source="c",
                target=f"t{number}",
                address="127.0.0.1",
                every=200 * MS,
                timeout=1000 * MS,
            )
        )
    while clock[0] < 12_000 * MS:
        clock[0] = max(clock[0], agent._due[0][0])
        agent._start_due()
    assert len(turns) == 40
    assert min(turns.values()) * 3 > max(turns.values()), turns
    late = [
        sample.late
        for sample in map(decode, bytes(agent._samples).splitlines())
        if isinstance(sample, Sample) and sample.ok
    ]
    assert max(late) < 750 * MS


def test_a_machine_that_is_behind_overlaps_no_tries() -> None:
    clock = [0]
    agent = Agent(-1, -1, lambda: clock[0])
    asked = Probe(
        probe="dns", container="c", source="c", target="a.test", address="127.0.0.1", port=1, every=200 * MS,
        timeout=1000 * MS,
    )  # fmt: skip
    agent._add(asked)
    series = agent._series[key_of(asked)]
    for due, behind in ((0, 0), (200, 10), (400, 100)):
        clock[0] = (due + behind) * MS
        agent._start(series, due * MS)
    (sample,) = map(decode, bytes(agent._samples).splitlines())
    assert isinstance(sample, Sample)
    assert (sample.t, sample.error) == (400 * MS, "late")
    series.tried.over = True  # type: ignore[union-attr]
    clock[0] = 700 * MS
    agent._start(series, 600 * MS)
    assert len(agent._samples.splitlines()) == 1
    for container in list(agent._containers.values()):
        agent._release(container)


def test_every_kind_succeeds_and_fails_as_it_should(lab: Lab) -> None:
    box = lab.container()
    lab.tell(
        AgentCommand(
            add=(
                probe("http", "eof", box, port=8080),
                probe("http", "chunked", box, port=8080, path="/chunked"),
                probe("http", "missing", box, port=8080, path="/missing"),
                probe("http", "slow", box, port=8080, path="/slow"),
                probe("http", "refused", box, port=8081),
                probe("icmp", "self", box),
                probe("icmp", "six", box, address="::1"),
                probe("icmp", "nowhere", box, address="10.9.9.9"),
                probe("dns", "svc1.weave.local", box),
                probe("dns", "nobody.weave.local", box),
            )
        )
    )
    samples = lab.read(lambda got: len({s.target for s in got}) == 10)
    seen = {s.target: s for s in samples}
    assert {target: (s.ok, s.error) for target, s in seen.items()} == {
        "eof": (True, ""),
        "chunked": (True, ""),
        "missing": (False, "status 404"),
        "slow": (False, "timeout"),
        "refused": (False, "refused"),
        "self": (True, ""),
        "six": (True, ""),
        "nowhere": (False, "network unreachable"),
        "svc1.weave.local": (True, ""),
        "nobody.weave.local": (False, "NXDOMAIN"),
    }
    assert seen["svc1.weave.local"].answers == ("10.0.1.2", "10.0.1.9")
    assert 0 < (seen["self"].latency or 0) < 300 * MS
    assert seen["slow"].latency is None


def test_schedule_keeps_its_grid_while_tries_fail_and_overlap(lab: Lab) -> None:
    box = lab.container()
    slow = probe("http", "slow", box, port=8080, path="/slow", every=10 * MS, timeout=100 * MS)
    fine = probe("icmp", "self", box, every=10 * MS)
    lab.tell(AgentCommand(add=(slow, fine)))
    samples = lab.read(lambda got: sum(s.target == "slow" for s in got) >= 60, late=True)
    # A try that was late is told at once, before those that are under way, on a busy machine: those are left out.
    ended = max(s.t for s in samples) - fine.timeout
    for series, kind in ((slow, "http"), (fine, "icmp")):
        times = sorted(s.t for s in samples if s.probe == kind and s.t <= ended)
        assert len(times) > 10
        assert times == list(range(times[0], times[0] + len(times) * series.every, series.every))
        assert times[0] % series.every == phase_of(series)


def test_a_dead_container_is_gone_at_once_and_comes_back_under_a_new_pid(lab: Lab) -> None:
    box = lab.container()
    lab.tell(AgentCommand(add=(probe("icmp", "self", box), probe("http", "slow", box, port=8080, path="/slow"))))
    lab.read(lambda got: any(s.ok for s in got))
    box.kill()
    box.wait()
    gone = lab.read(lambda got: Counter(s.error for s in got)["gone"] > 20)
    assert {s.probe for s in gone if s.error == "gone"} == {"icmp", "http"}
    # The agent must not keep the dead container's network alive.
    links = [str(fd.readlink()) for fd in Path(f"/proc/{lab.agent.pid}/fd").iterdir()]
    assert not [link for link in links if "socket" in link]
    again = lab.container()
    lab.tell(AgentCommand(add=(probe("icmp", "self", again),)))
    back = lab.read(lambda got: any(s.ok for s in got))
    assert back[-1].probe == "icmp"
    lab.tell(AgentCommand(remove=(("icmp", "c", "self"), ("http", "c", "slow")), stop=True))
    assert lab.agent.wait(60) == 0


def test_bad_commands_are_named_and_survived(lab: Lab) -> None:
    box = lab.container()
    assert lab.agent.stdin is not None
    lab.agent.stdin.write(b"no json\n" + json.dumps({"ad": []}).encode() + b"\n")
    lab.tell(AgentCommand(add=(probe("icmp", "self", box),)))
    assert lab.read(lambda got: len(got) >= 2)[-1].ok
    lab.agent.stdin.close()
    assert lab.agent.wait(60) == 0
    lab.agent.stdin = None


def answering(kind: str, container: subprocess.Popen[bytes], port: int) -> Probe:
    return probe(kind, "", container, port=port, serves=True)


def test_the_agent_answers_what_needs_an_answer(lab: Lab) -> None:
    box = lab.container()
    taken = answering("udp", box, 53)
    lab.tell(
        AgentCommand(
            add=(
                answering("udp", box, 7007),
                answering("jitter", box, 7008),
                answering("throughput", box, 7009),
                replace_source(taken, "other"),
            )
        )
    )
    said = lab.read(lambda got: len(got) >= 4)
    assert sorted((s.probe, s.source, s.target, s.ok, s.error) for s in said) == [
        ("jitter", "c", "", True, ""),
        ("throughput", "c", "", True, ""),
        ("udp", "c", "", True, ""),
        ("udp", "other", "", False, "address already in use"),
    ]
    asked = {"every": 100 * MS, "timeout": 20_000 * MS}
    lab.tell(
        AgentCommand(
            add=(
                probe("udp", "echo", box, port=7007, **asked),
                probe("udp", "six", box, address="::1", port=7007, **asked),
                probe("udp", "nobody", box, port=7010, **asked),
                probe("jitter", "train", box, port=7008, options={"packets": 12, "gap_ms": 1}, **asked),
                probe("throughput", "bulk", box, port=7009, options={"size_kb": 3000}, **asked),
                probe("load", "load", box, port=7007, options={"by": "udp"}, **asked),
            )
        )
    )
    seen = {s.target: s for s in lab.read(lambda got: len({s.target for s in got}) == 6)}
    assert {target: (s.ok, s.error) for target, s in seen.items()} == {
        "echo": (True, ""),
        "six": (True, ""),
        "nobody": (False, "refused"),
        "train": (True, ""),
        "bulk": (True, ""),
        "load": (True, ""),
    }
    train, bulk = seen["train"].measured, seen["bulk"].measured
    assert (train["sent"], train["lost"]) == (12, 0) and train["jitter"] > 0
    assert bulk["throughput"] > 0
    assert (seen["load"].latency or 0) >= seen["load"].late > 0, "the time of a load counts from when it was due"
    lab.tell(AgentCommand(remove=(("udp", "c", ""), ("udp", "c", "echo"), ("udp", "c", "six"))))
    lab.read(lambda got: any(s.error == "refused" and s.probe == "load" for s in got))


def replace_source(one: Probe, source: str) -> Probe:
    return msgspec.structs.replace(one, source=source)


def test_an_open_loop_sends_what_is_late_and_counts_from_when_it_was_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender that stalls for 300 ms must not hide what a client would have waited meanwhile."""
    clock = [0]
    sent: list[int] = []

    class Answered(Try):
        def start(self, poller: object, done: Callable[..., None]) -> None:
            sent.append(self.due)
            done(self, True, "", ())

        def close(self) -> None:
            pass

    at_once = replace(PROBES.get("http"), attempt=lambda asked, due, number, _: Answered(asked, due, number))
    monkeypatch.setitem(PROBES._loaded, "http", at_once)
    agent = Agent(-1, -1, lambda: clock[0])
    fields = {"container": "c", "source": "c", "address": "127.0.0.1", "every": 10 * MS, "first": 10 * MS}
    agent._add(Probe(probe="load", target="t", timeout=200 * MS, options={"by": "http"}, **fields))  # type: ignore[arg-type]
    clock[0] = 310 * MS
    agent._start_due()
    samples = [sample for sample in map(decode, bytes(agent._samples).splitlines()) if isinstance(sample, Sample)]
    assert [sample.t for sample in samples] == list(range(0, 320 * MS, 10 * MS)), "no try is left out"
    assert sent == list(range(120 * MS, 320 * MS, 10 * MS))
    assert {sample.error for sample in samples if not sample.ok} == {"unsent"}
    good = [sample for sample in samples if sample.ok]
    assert [sample.latency for sample in good] == [310 * MS - sample.t for sample in good]


def test_stalls_are_caught_up_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are looked at between: a crowd of overdue tries cannot keep the agent from reading."""
    clock = [0]
    agent = Agent(-1, -1, lambda: clock[0])
    asked = Probe(
        probe="udp", container="c", source="c", target="t", address="127.0.0.1", port=1, every=MS, timeout=50 * MS
    )
    agent._add(asked)
    clock[0] = 1000 * MS
    agent._start_due()
    assert len(agent._samples.splitlines()) == 64
    assert agent._patience() == 0

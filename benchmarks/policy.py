"""Policies in the kernel: a change at 10, 100 and 1,000 rules, and a packet between two containers.

Runs the packet filter's driver alone, in a network namespace with a bridge and two containers that one process holds:
so a figure has neither a daemon nor the scheduler in it. Both ways of keeping flows in turn, round by round.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from ipaddress import IPv4Address, IPv4Network, ip_network

from benchmarks.rows import Row, row
from lab.errors import LabError
from overlay.compiled_policy import CompiledPolicy, FlowRule
from overlay.kernel.kernel_tables import ports_of
from overlay.kernel.netlink import Netlink
from overlay.kernel.netns import inside
from overlay.kernel.policy_filter import CONNTRACK, STATELESS, PolicyFilter

__all__ = ["run"]

SIZES = (10, 100, 1000)
_ENDS = ("10.0.1.1", "10.0.1.2")
_PACKETS = 2000
_OPENED = 300
_STATES = {STATELESS: False, CONNTRACK: True}


def run(rounds: int = 7) -> list[Row]:
    """Milliseconds of a change, microseconds of a round trip, with ratios to a bridge without policies."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    words = [
        "unshare",
        *user,
        "--net",
        "--kill-child",
        "--fork",
        sys.executable,
        "-m",
        "benchmarks.policy",
        str(rounds),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"the policies' benchmark ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    found = json.loads(done.stdout)
    rows = []
    for size in SIZES:
        for state in _STATES:
            values = found[f"change {size} {state}"]
            rows.append(row(f"{size} rules, {state}", "change of one rule", "ms", values))
    rows.append(row("a group of 1000", "one more member", "ms", found["group"]))
    for metric in ("known flow", "new flow"):
        base = row("no policy", metric, "us", found[f"{metric} none"])
        rows.append(base)
        for state in ("elsewhere", *_STATES):
            name = "10 rules that do not concern it" if state == "elsewhere" else f"1000 rules, {state}"
            rows.append(row(name, metric, "us", found[f"{metric} {state}"], against=base))
    return rows


def _host(number: int) -> tuple[IPv4Network, ...]:
    return (IPv4Network(int(IPv4Address("10.32.0.1")) + number),)


def _policy(rules: int, *, to: str = "", turn: int = 0) -> CompiledPolicy:
    """As many rules, of which the last but one opens `to` and the last denies it; `turn` makes it another one."""
    made = [
        FlowRule(
            True, _host(2 * number + turn % 2 * 100_000 * (number == 0)), _host(2 * number + 1), "tcp", ((80, 80),), ""
        )
        for number in range(rules - 2)
    ]
    target = (ip_network(f"{to}/32"),) if to else _host(7)
    made.append(FlowRule(True, (), target, "udp", ((5000, 5000),), ""))
    return CompiledPolicy((*made, FlowRule(False, (), target, None, (), "")))


def _timed(work: Callable[[], object], times: int = 1) -> float:
    """Seconds of one."""
    began = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - began) / times


def _child(rounds: int) -> dict[str, list[float]]:
    with ExitStack() as stack:
        return _measure(_containers(stack), rounds)


def _measure(namespaces: list[int], rounds: int) -> dict[str, list[float]]:
    server, client = (_socket(namespaces[1]), _socket(namespaces[0]))
    server.bind((_ENDS[1], 5000))
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    def exchange(sock: socket.socket) -> None:
        sock.sendto(b"ask", (_ENDS[1], 5000))
        server.sendto(b"answer", server.recvfrom(100)[1])
        sock.recv(100)

    def opened() -> None:
        with _socket(namespaces[0]) as sock:
            exchange(sock)

    with Netlink() as netlink:
        ports = partial(ports_of, netlink, "weave")
        exchange(client)
        for _ in range(rounds):
            for name, state, policy in (
                ("none", False, CompiledPolicy()),
                ("elsewhere", False, _policy(10)),
                *((state, tracks, _policy(1000, to=_ENDS[1])) for state, tracks in _STATES.items()),
            ):
                made = PolicyFilter(ports, tracks=partial(bool, state))
                made.apply(policy)
                exchange(client)
                note(f"known flow {name}", _timed(partial(exchange, client), _PACKETS) * 1e6)
                note(f"new flow {name}", _timed(opened, _OPENED) * 1e6)
                made.remove()
            for size in SIZES:
                for word, tracks in _STATES.items():
                    made = PolicyFilter(ports, tracks=partial(bool, tracks))
                    made.apply(_policy(size))
                    note(f"change {size} {word}", _timed(partial(made.apply, _policy(size, turn=1))) * 1e3)
                    made.remove()
            made = PolicyFilter(ports, tracks=partial(bool, False))
            made.apply(_group(1000))
            note("group", _timed(partial(made.apply, _group(1001))) * 1e3)
            made.remove()
    return found


def _group(members: int) -> CompiledPolicy:
    sources = tuple(_host(number)[0] for number in range(members))
    rules = (
        FlowRule(True, sources, _host(5000), "tcp", ((80, 80),), ""),
        FlowRule(False, (), _host(5000), None, (), ""),
    )
    return CompiledPolicy(rules)


def _containers(stack: ExitStack) -> list[int]:
    """A bridge and two namespaces on it; returns their descriptors."""
    _ip("link add weave type bridge")
    _ip("link set weave up")
    namespaces = []
    for number, address in enumerate(_ENDS):
        holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep infinity"], stdout=subprocess.PIPE)
        stack.callback(holder.wait)
        stack.callback(holder.kill)
        assert holder.stdout is not None
        holder.stdout.readline()
        _ip(f"link add port{number} type veth peer name ethwe netns {holder.pid}")
        _ip(f"link set port{number} master weave up")
        namespaces.append(os.open(f"/proc/{holder.pid}/ns/net", os.O_RDONLY))
        with inside(namespaces[-1]):
            _ip(f"address add {address}/24 dev ethwe")
            _ip("link set ethwe up")
    return namespaces


def _socket(namespace: int) -> socket.socket:
    with inside(namespace):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(10)
    return sock


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True)


if __name__ == "__main__":
    print(json.dumps(_child(int(sys.argv[1]))))

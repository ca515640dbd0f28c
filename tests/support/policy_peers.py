"""Containers that speak and listen, and a process that enforces a policy, for the tests of the packet filter's policy.

Run as a program it is a container's: it answers on some ports, and speaks as it is told. What is forbidden is told from
what is slow by a packet that is allowed and comes after it the same way: when that is answered, the others would be.
"""

import contextlib
import json
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TCP, UDP = (5432, 5433), (5005, 6000, 5999)
LAST = 5999
"""The UDP port that is asked last; every policy of the tests allows it."""
PATIENCE = 60.0

ENFORCER = """
import json, sys
from ipaddress import ip_address, ip_network
from overlay.kernel.kernel_tables import ports_of
from overlay.kernel.netlink import Netlink
from overlay.kernel.policy_filter import PolicyFilter
from overlay.kernel.port_filter import PortFilter
from overlay.compiled_policy import CompiledPolicy, FlowRule

with Netlink() as netlink:
    def addresses():
        return {ip_address(each.partition("/")[0]) for rule in PortFilter().adopt().values() for each in rule.addresses}
    made = PolicyFilter(lambda: ports_of(netlink, "weave"), addresses)
    for line in sys.stdin:
        word, *rest = json.loads(line)
        if word == "apply":
            rules, accept_rest, protected = rest
            made.apply(CompiledPolicy(tuple(
                FlowRule(accept, *(tuple(map(ip_network, side)) for side in sides), protocol,
                         tuple(map(tuple, ports)), "test")
                for accept, *sides, protocol, ports in rules
            ), accept_rest, tuple(map(ip_address, protected))))
        elif word == "look":
            made.look()
        elif word == "mend":
            found = [*made.table.differences(), *made.tracking.differences()]
            made.restore()
            print(json.dumps(found), flush=True)
            continue
        elif word == "remove":
            made.remove()
        print(json.dumps([made.state, made.problem]), flush=True)
"""

Rule = tuple[bool, Sequence[str], Sequence[str], str | None, Sequence[tuple[int, int]]]


class Talker:
    """A process that is told one line of JSON and answers with one."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def tell(self, *words: object) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, self.process.communicate()
        return json.loads(line)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()  # closes its input, by which what it has started ends


class Enforcer(Talker):
    """The policy filter of a host, in a process that can be killed."""

    def __init__(self, host: Any) -> None:
        super().__init__(host.popen(sys.executable, "-c", ENFORCER, stdin=subprocess.PIPE))

    def apply(self, rules: Sequence[Rule], accept_rest: bool = True, protected: Sequence[str] = ()) -> str:
        state, problem = self.tell("apply", rules, accept_rest, protected)
        assert not problem, problem
        return str(state)


class Peer(Talker):
    """A container that speaks and listens."""

    def __init__(self, host: Any, container: str) -> None:
        pid = host.container(container)["State"]["Pid"]
        words = ("nsenter", "--target", str(pid), "--net", sys.executable, str(Path(__file__).resolve()))
        super().__init__(host.popen(*words, stdin=subprocess.PIPE))
        assert self.process.stdout is not None and self.process.stdout.readline() == "ready\n", (
            self.process.communicate()
        )

    def reaches(
        self, address: str, *tries: tuple[str, int] | tuple[str, int, int], expect: Sequence[bool] = ()
    ) -> list[bool]:
        """Which of (protocol, port, size) are answered by this address. Those that are expected are waited for."""
        return list(self.tell("try", address, tries, expect or [False] * len(tries)))

    def hold(self, address: str, protocol: str, port: int, own: int = 0) -> bool:
        """Open a flow that stays, from a port of its own if it is said."""
        return bool(self.tell("hold", address, protocol, port, own))

    def held(self, address: str, expect: Sequence[bool]) -> list[bool]:
        """On which of the flows that are held something is still answered. Those that are expected are waited for."""
        return list(self.tell("again", address, expect))


# --- in the container -------------------------------------------------------------------------------------------------


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _serve() -> None:
    ready: list[socket.socket] = []
    streams: dict[socket.socket, None] = {}
    for family in (socket.AF_INET, socket.AF_INET6):
        for kind, ports in ((socket.SOCK_STREAM, TCP), (socket.SOCK_DGRAM, UDP)):
            for port in ports:
                sock = socket.socket(family, kind)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind(("", port))
                if kind == socket.SOCK_STREAM:
                    sock.listen()
                ready.append(sock)
    while True:
        for sock in select.select([*ready, *streams], [], [])[0]:
            if sock in streams:
                data = b""
                with contextlib.suppress(OSError):
                    data = sock.recv(100)
                if data:
                    sock.send(data)
                else:
                    del streams[sock]
                    sock.close()
            elif sock.type == socket.SOCK_STREAM:
                streams[sock.accept()[0]] = None
            else:
                data, source = sock.recvfrom(70000)
                sock.sendto(data, source)


def _open(address: str, protocol: str, port: int, own: int = 0) -> socket.socket:
    sock = socket.socket(_family(address), socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setblocking(False)
    sock.bind(("", own))
    with contextlib.suppress(BlockingIOError):
        sock.connect((address, port))
    return sock


def _last(address: str) -> None:
    """Wait until what comes behind everything else is answered."""
    with socket.socket(_family(address), socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.5)
        until = time.monotonic() + PATIENCE
        while True:
            try:
                sock.sendto(b"last", (address, LAST))
                sock.recv(100)
                return
            except OSError:
                if time.monotonic() > until:
                    raise


def _try(address: str, tries: list[list[Any]], expected: list[bool]) -> list[bool]:
    opened = []
    for protocol, port, *size in tries:
        sock = _open(address, protocol, port)
        if protocol == "udp":
            sock.send(bytes(size[0] if size else 10))
        opened.append((protocol, sock))
    _last(address)
    found = []
    until = time.monotonic() + PATIENCE
    for (protocol, sock), wanted in sorted(zip(opened, expected, strict=True), key=lambda each: not each[1]):
        wait = max(0.0, until - time.monotonic()) if wanted else 0.05
        if protocol == "tcp":
            answered = bool(select.select([], [sock], [], wait)[1]) and not sock.getsockopt(*_ERROR)
        else:
            answered = bool(select.select([sock], [], [], wait)[0]) and not sock.getsockopt(*_ERROR)
        found.append((sock, answered))
        sock.close()
    return [dict(found)[sock] for _, sock in opened]


_ERROR = (socket.SOL_SOCKET, socket.SO_ERROR)
_held: list[socket.socket] = []


def _exchange(sock: socket.socket, wait: float) -> bool:
    with contextlib.suppress(OSError):
        if select.select([], [sock], [], wait)[1]:
            sock.send(b"more")
            return bool(select.select([sock], [], [], wait)[0] and sock.recv(100))
    return False


def _again(address: str, expected: list[bool]) -> list[bool]:
    for sock in _held:
        with contextlib.suppress(OSError):
            sock.send(b"more")
    _last(address)
    found = []
    for sock, wanted in sorted(zip(_held, expected, strict=True), key=lambda each: not each[1]):
        answered = bool(select.select([sock], [], [], PATIENCE if wanted else 0.05)[0])
        try:
            found.append((sock, answered and bool(sock.recv(4096))))
        except OSError:
            found.append((sock, False))
    return [dict(found)[sock] for sock in _held]


def main() -> None:
    threading.Thread(target=_serve, daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        word, *rest = json.loads(line)
        if word == "try":
            answer: object = _try(*rest)
        elif word == "hold":
            _held.append(_open(*rest))
            answer = _exchange(_held[-1], PATIENCE)
        elif word == "again":
            answer = _again(*rest)
        elif word == "release":
            for sock in _held:
                sock.close()
            _held.clear()
            answer = True
        print(json.dumps(answer), flush=True)


# --- packets by hand --------------------------------------------------------------------------------------------------


def sum16(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) & ~1])) + (data[-1] << 8 if len(data) % 2 else 0)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


def summed(source: str, to: str, protocol: int, octets: bytes) -> bytes:
    """Bytes of TCP, UDP, ICMP or ICMPv6 with their checksum."""
    family = _family(source)
    place = {6: 16, 17: 6, 1: 2, 58: 2}[protocol]
    pseudo = b""
    if protocol != 1:
        addresses = socket.inet_pton(family, source) + socket.inet_pton(family, to)
        pseudo = addresses + struct.pack("!II", len(octets), protocol)
    total = sum16(pseudo + octets) or 0xFFFF
    return octets[:place] + struct.pack("!H", total) + octets[place + 2 :]


def tcp(source: int, to: int, flags: int) -> bytes:
    return struct.pack("!HHIIBBHHH", source, to, 1000, 1000, 0x50, flags, 1000, 0, 0)


def udp(source: int, to: int, size: int = 8) -> bytes:
    return struct.pack("!HHHH", source, to, 8 + size, 0) + bytes(size)


def icmp(kind: int, number: int = 0, rest: bytes = bytes(8)) -> bytes:
    return struct.pack("!BBHHH", kind, 0, 0, number, 1) + rest


if __name__ == "__main__":
    main()
